"""`python -m smear card BUNDLE`: what a bundle knows about itself as `card.json` and as a page, with two reporting checklists."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smear.checklists import fact_names, fill
from smear.checklists.claim import CLAIM_2024
from smear.checklists.facts import facts, intended_use
from smear.checklists.tripod import TRIPOD_AI
from smear.errors import ConfigError
from smear.files import write_atomic
from smear.models import CARD_JSON, CARD_NAME, CARD_PAGE, ModelCard
from smear.report.records import jsonable

SCHEMA = 1
NOTICE = "Research use only. Not a diagnostic device: nothing here has been validated for the care of patients."
CHECKLISTS = {"claim_2024": CLAIM_2024, "tripod_ai": TRIPOD_AI}
ANSWERABLE = fact_names(tuple(CHECKLISTS.values()))  # what `--answer NAME=TEXT` can answer
COUNTS = ("n", "n_images", "n_fields", "n_truth", "n_found", "n_resamples")
PARAMETERS = ("confidence", "iou", "positive")
LONGEST_LIST = 20  # entries of the statistics that a reader is shown
WORDS = ("split", "note", "stain", "data")
NOT_FOR = (
    "diagnosis, screening, or any decision about a patient",
    "other specimens, stains or species than those under Data, without an evaluation of one's own",
    "counting without a person who looks at the cells marked for review",
)


def write_cards(folder: Path, card: ModelCard, *, out: Path | None = None) -> dict[str, Any]:
    """Write `card.json` and `card.html` beside `model.json`, or into `out`; returns the record. The bundle's files stay as they are.

    Raises:
        OSError: `model.json` cannot be read, or the folder cannot be written.
    """
    from smear.report.card_page import render_card  # on demand: jinja2 is not needed to open a bundle

    digest = hashlib.sha256((folder / CARD_NAME).read_bytes()).hexdigest()
    record = card_record(card, model_json_sha256=digest)
    target = folder if out is None else out
    write_atomic(target / CARD_JSON, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomic(target / CARD_PAGE, render_card(record))
    return record


def card_record(card: ModelCard, *, model_json_sha256: str | None = None) -> dict[str, Any]:
    """The model card as plain JSON values: the same for the same card, with nothing that the card does not say.

    Args:
        model_json_sha256: hash of the `model.json` that it tells of, so that a card left behind can be recognised.

    Returns:
        `notice`, `intended_use`, `not_for`, `model`, `data`, `training`, `evaluations` (see `evaluations`), `other_metrics`,
        `variants` (see `variants_of`), `statistics`, `limits`, `licence` and `checklists` (claim_2024, tripod_ai; every item answered,
        partly, open or not applicable).
    """
    told = evaluations(card.metrics)
    known = facts(card, told)
    return jsonable(
        {
            "schema": SCHEMA,
            "kind": "model card",
            "notice": NOTICE,
            "name": card.name,
            "model_json_sha256": model_json_sha256,
            "intended_use": intended_use(card),
            "not_for": list(NOT_FOR),
            "model": card.model_dump(mode="json", include=set(_MODEL_KEYS)),
            "data": list(card.data),
            "splits": card.training.get("splits") or {},
            "training": {k: v for k, v in card.training.items() if k not in ("data", "answers", "splits")},
            "evaluations": told,
            "operating": {k: v for k, v in (card.metrics.get("operating") or {}).items() if isinstance(v, Mapping)},
            "other_metrics": {k: v for k, v in card.metrics.items() if k not in {e["name"] for e in told}},
            "variants": variants_of(card),
            "statistics": _brief(card.statistics),
            "limits": card.limits,
            "licence": card.licence,
            "checklists": {name: fill(checklist, known) for name, checklist in CHECKLISTS.items()},
        }
    )


def evaluations(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The evaluations that a card holds, in its order; what is no evaluation (a single number, a curve) is left out.

    Returns:
        One dict each: `name`, `n` and its `unit`, `numbers` (rows of `key`, `value`, and `low`, `high`, `n_groups`, `method` where an
        interval is known), `parameters`, `per_class` and `groups` (tables), `confusion` (with `classes`) and `stress` (a list).
    """
    return [_evaluation(name, block) for name, block in metrics.items() if isinstance(block, Mapping) and _is_evaluation(block)]


def variants_of(card: ModelCard) -> list[dict[str, Any]]:
    """The other precisions that the model may run in, in the card's order, with what the parity gate found.

    Returns:
        One dict each: `name`, `file` (its own weights, or None), `accepted`, `judged_on` (of the set that judged: its name, split and
        counts), `checks` (rows of `name`, `value`, `limit`, `at_least`, `n`, `of`, `passed`), `not_judged` (check → why) and `versions`.
    """
    return [
        {
            "name": name,
            "file": variant.file,
            "accepted": variant.accepted,
            "judged_on": variant.parity.get("data") or {},
            "checks": [{"name": check, **row} for check, row in (variant.parity.get("checks") or {}).items()],
            "not_judged": variant.parity.get("not_judged") or {},
            "versions": variant.versions,
        }
        for name, variant in card.variants.items()
    ]


def count_splits(files: Iterable[tuple[str, str | None, str | None]]) -> dict[str, dict[str, int]]:
    """What is in each split, for `training["splits"]`: `files`, known `slides` and `patients`, and `files without a patient`.

    Args:
        files: split, slide and patient of each file or crop; unknown is None or "".
    """
    counts: dict[str, dict[str, int]] = {}
    rows = list(files)
    for split in dict.fromkeys(row[0] for row in rows):
        slides, patients = ([row[i] for row in rows if row[0] == split] for i in (1, 2))
        known = {"slides": len(set(filter(None, slides))), "patients": len(set(filter(None, patients)))}
        counts[split] = {"files": len(slides), **known, "files without a patient": sum(not p for p in patients)}
    return counts


def for_cards(metrics: Mapping[str, Any], **about: str) -> dict[str, dict[str, Any]]:
    """What an evaluation of the whole analysis tells the card of each model, by task; the classifier's only where kinds are known.

    detect: the numbers of the boxes and of the white cells. classify: the labels on true boxes, and `end_to_end`, those of all true cells.
    Both: `stress` where it was run, and what is in `about`. Curves and single errors stay in the report.
    """
    left_out = ("errors", "n_errors", "errors_per_owner", "pr_curves", "cells_on_truth", "end_to_end")
    told = {"detect": {**{k: v for k, v in metrics.items() if k not in left_out}, **about}}
    if metrics.get("cells_on_truth"):
        stress = {"stress": metrics["stress"]} if metrics.get("stress") else {}
        told["classify"] = {**metrics["cells_on_truth"], "end_to_end": metrics["end_to_end"]["all"], **stress, **about}
    return told


def parse_answers(given: Sequence[str]) -> dict[str, str]:
    """`NAME=TEXT` as typed, by name.

    Raises:
        ConfigError: no `=`, or a name that no item asks for; the message suggests one.
    """
    answers = {}
    for one in given:
        name, sign, text = one.partition("=")
        if not sign or name not in ANSWERABLE:
            close = difflib.get_close_matches(name, ANSWERABLE, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; the names are {', '.join(ANSWERABLE)}"
            raise ConfigError(f"--answer: {one!r} is not NAME=TEXT with the name of an item{hint if sign else ''}")
        answers[name] = text.strip()
    return answers


def _evaluation(name: str, block: Mapping[str, Any]) -> dict[str, Any]:
    n_cells = block.get("n", block.get("n_truth"))
    stress = block.get("stress") or {}
    return {
        "name": name,
        "split": block.get("split"),
        "n": n_cells or 0,
        "unit": "labelled cells",
        "n_fields": block.get("n_images", block.get("n_fields")),
        "numbers": [{"key": key, **value} for key, value in _numbers(block)],
        "parameters": {key: block[key] for key in PARAMETERS if key in block},
        "note": block.get("note"),
        "per_class": _per_class(block),
        "groups": {k: v for k, v in (block.get("per_stain") or {}).items() if isinstance(v, Mapping)},
        "confusion": {"matrix": block["confusion_matrix"], "classes": block["classes"]} if "confusion_matrix" in block else None,
        "stress": [{"name": "as it is", "level": None, "metrics": stress["baseline"]}, *stress["conditions"]] if stress else [],
    }


def _is_evaluation(block: Mapping[str, Any]) -> bool:
    return any(key in block for key in ("map50", "accuracy", "roc_auc")) and any(key in block for key in COUNTS)


def _numbers(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every share of an evaluation with its interval, and those one level down (`ultralytics`, `per_field`, …) by a dotted name."""
    intervals = block.get("intervals") or {}
    for key, value in block.items():
        if (value is None or isinstance(value, float)) and key not in (*COUNTS, *PARAMETERS, *WORDS):
            known = intervals.get(key) or {}
            yield prefix + key, {"value": value, **{k: known.get(k) for k in ("low", "high", "n_groups", "method")}}
    if not prefix:
        for name in ("ultralytics", "per_field", "end_to_end"):
            yield from _numbers(block.get(name) or {}, f"{name}.")


def _per_class(block: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for key in ("ap50", "ap50_95"):
        for name, value in (block.get(key) or {}).items():
            rows.setdefault(name, {})[key] = value
    for name, counts in (block.get("per_class") or {}).items():
        rows.setdefault(name, {}).update(counts)
    return rows


def _brief(value: Any) -> Any:
    """The same, with `{"n": …}` in the place of a list too long to be read; `model.json` has it."""
    if isinstance(value, Mapping):
        return {key: _brief(part) for key, part in value.items()}
    return {"n": len(value)} if isinstance(value, list | tuple) and len(value) > LONGEST_LIST else value


_MODEL_KEYS = (
    "task", "architecture", "classes", "white_classes", "red_class", "files", "input_px", "normalise", "head", "crop", "rbc_px",
    "thresholds", "temperature",
)  # fmt: skip
