"""Two bundles on one frozen set: every number's change with its interval, every cell fixed and broken, and whether that is a regression."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import annotations
from smear.annotations import DataSet
from smear.build import Opened, build_analyzer, open_models
from smear.errors import ConfigError, ModelError
from smear.evaluate import FLOOR, shared_boxes
from smear.evaluation import question_of
from smear.evidence import Evidence, Question
from smear.labelled import Labelled, read_labelled
from smear.metrics.compare import CellScores, compare_cells, compare_extras, label_scores
from smear.metrics.matching import match_fields, scores_of
from smear.metrics.paired import Difference, Score, paired_bootstrap
from smear.metrics.pairs import Pair, pair_cells, white_truth
from smear.metrics.statistics import field_groups
from smear.models import ModelCard, open_bundle
from smear.rule import Rule
from smear.settings import AnalyzeSettings
from smear.types import FieldFailure, Image, Outcome, Runtime

SCHEMA = 1
ROLES = {"detect": "detector", "classify": "classifier"}
TRUE_BOXES = "true boxes: "  # the classifier alone, on cells cut by their true boxes
MARKS = {"worse": "  WORSE", "better": "  better"}
SHOWN_CELLS = 10  # broken cells in the printed table; all are in the JSON


@dataclass(frozen=True)
class Frozen:
    """A labelled split and what identifies it: `sha256` over its classes, and the bytes of its pictures and labels."""

    labelled: Labelled
    about: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One side of the comparison: the models, and what they found in every field."""

    opened: Opened
    question: Question
    evidence: tuple[Evidence, ...]


def freeze(data: DataSet, split: str, *, expect: str | None = None) -> Frozen:
    """Read a split and hash what it is made of, so that a result can be compared with one of last year.

    Args:
        expect: the `sha256` that it must have; None takes any.

    Raises:
        AnnotationError, ImageError: the set cannot be read.
        ConfigError: it is not the set that was expected.
    """
    labelled = read_labelled(data, split)
    digest = hashlib.sha256("\n".join(data.classes).encode())
    for field in sorted(labelled.fields, key=lambda f: f.id):
        hashes = (annotations.sha256(path) for path in (field.path, annotations.label_path(field.path)))
        digest.update(f"\n{field.id} {' '.join(hashes)}".encode())
    if expect and digest.hexdigest() != expect:
        raise ConfigError(f"--expect: the {split} split of {data.root.name} has sha256 {digest.hexdigest()}, another set was expected")
    manifest = data.root / "manifest.json"
    about = {
        "name": data.root.name,
        "split": split,
        "sha256": digest.hexdigest(),
        "manifest_sha256": annotations.sha256(manifest) if manifest.is_file() else None,
        "n_fields": len(labelled.fields),
        "n_labels": sum(len(t) for t in labelled.truths),
    }
    return Frozen(labelled, about)


def open_sides(settings: AnalyzeSettings, old: Path, new: Path) -> tuple[str, Opened, Opened]:
    """What the bundles are (detector or classifier), and each in its place; the model of the other task stays that of the settings.

    Raises:
        ModelError: a bundle cannot be opened, or they do not do the same.
    """
    cards = [open_bundle(path).card for path in (old, new)]
    if cards[0].task != cards[1].task:
        raise ModelError(f"{new}: task: is {cards[1].task!r}, {old} is one to {cards[0].task}; compare two bundles of one task")
    if set(cards[0].classes) != set(cards[1].classes):
        raise ModelError(f"{new}: classes: are {list(cards[1].classes)}, those of {old} are {list(cards[0].classes)}")
    role = ROLES[cards[0].task]
    sides = [open_models(settings.model_copy(update={role: path})) for path in (old, new)]
    return role, sides[0], sides[1]


def gather(opened: Opened, labelled: Labelled, *, progress: Callable[..., Any], networks: Mapping[str, Runtime] | None = None) -> Run:
    """Analyse every field of the set with one side's models; `networks` as for `build_analyzer`."""
    question = question_of(opened, labelled)
    truths = {f.id: t for f, t in zip(labelled.fields, labelled.truths, strict=True)}
    found: dict[str, Evidence] = {}

    def keep(outcome: Outcome, image: Image | None) -> None:
        found[outcome.field.id] = question.gather(outcome, image, truths[outcome.field.id], analyzer.label_boxes)

    analyzer = build_analyzer(opened, floor=FLOOR, networks=networks or {}, keep=keep)
    for _ in progress(analyzer(labelled.fields)):
        pass
    return Run(opened, question, tuple(found[f.id] for f in labelled.fields))


def compare(frozen: Frozen, old: Run, new: Run, *, role: str, rule: Rule) -> dict[str, Any]:
    """All that changed, as plain values.

    Returns:
        `set` (see `freeze`), `rule`, `role`; `old` and `new` (name, hashes, thresholds, the model `beside` it that stayed, failed
        fields); `metrics`: name → old, new, change, low, high, n_groups, method, certain, verdict; `regressions`, the names of those
        that are worse; `cells` and `extras` (see `smear.metrics.compare`).

    Raises:
        AnnotationError: set and detector share no class.
    """
    labelled, classes = frozen.labelled, old.question.classes
    sides = (_pairs(labelled, old, classes), _pairs(labelled, new, classes))
    scorers = [_score(labelled, run, pairs, classes, role) for run, pairs in zip((old, new), sides, strict=True)]
    groups, unit = field_groups(labelled.fields)
    differences = paired_bootstrap(groups, *scorers, n_resamples=rule.n_resamples, seed=rule.seed, unit=unit)
    metrics = {name: _judged(difference, rule) for name, difference in differences.items()}
    names = [f.id for f in labelled.fields]
    return {
        "schema": SCHEMA,
        "set": frozen.about,
        "rule": {**vars(rule), "text": rule.text},
        "role": role,
        "old": _about(old, role),
        "new": _about(new, role),
        "metrics": metrics,
        "regressions": [name for name, row in metrics.items() if row["verdict"] == "worse"],
        "cells": compare_cells(*sides, names, classes or ("",)),
        "extras": compare_extras(*sides, names),
    }


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The result for the eye: a table of numbers, the cells in a line each kind, the verdict last."""
    about, counts, cells = result["set"], result["cells"]["counts"], result["cells"]
    lines = [
        f"{result['role']}: {result['old']['name']} → {result['new']['name']}, on {about['name']} {about['split']}, "
        f"{about['n_fields']} fields (sha256 {about['sha256'][:16]}…)",
        f"{'':<24}{'old':>8}{'new':>8}{'change':>9}   95 % interval",
    ]
    for name, row in result["metrics"].items():
        ends = f"{_signed(row['low'])} to {_signed(row['high'])}"
        mark = MARKS.get(row["verdict"], "") + ("" if row["certain"] or row["verdict"] not in MARKS else ", perhaps by chance")
        lines.append(f"{name:<24}{_shown(row['old']):>8}{_shown(row['new']):>8}{_signed(row['change']):>9}   {ends:<17}{mark}")
    for what, row in counts.items():
        if any(row[key] for key in ("both", "neither", "fixed", "broken")):
            lines.append(f"{what}: {row['fixed']} cells fixed, {row['broken']} broken (McNemar p = {row['p']:.3g})")
    lines.append(f"extra detections: {len(result['extras']['gone'])} gone, {len(result['extras']['new'])} new")
    lines += [f"broken: {_told(row)}" for row in cells["broken"][:SHOWN_CELLS]]
    if len(cells["broken"]) > SHOWN_CELLS:
        lines.append(f"broken: {len(cells['broken']) - SHOWN_CELLS} more in regress.json")
    lines.append(f"rule: {result['rule']['text']}")
    lines.append(f"regression: {', '.join(result['regressions'])}" if result["regressions"] else "no regression")
    return lines


def _pairs(labelled: Labelled, run: Run, classes: Sequence[str]) -> tuple[Pair, ...]:
    return tuple(
        pair_cells(
            labelled.truths,
            [e.cells for e in run.evidence],
            classes,
            truth_classes=labelled.classes,
            white_classes=run.question.white_classes,
            ignored_classes=labelled.ignored_classes,
            stained=[e.stained for e in run.evidence],
        )
    )


def _score(labelled: Labelled, run: Run, pairs: Sequence[Pair], classes: Sequence[str], role: str) -> Score:
    """Every number that is compared, on any choice of fields; what a classifier cannot change is left out."""
    positive = classes.index("ALL") if "ALL" in classes else 0
    cells = CellScores.of(pairs, len(labelled.fields), positive=positive)
    field, kind, p = labels_on_truth(labelled, run, classes)
    boxes = _box_score(labelled, run) if role == "detector" else lambda _: {}

    def score(fields: NDArray[np.int64]) -> dict[str, float]:
        times = np.bincount(fields, minlength=len(labelled.fields))
        found = {**boxes(times), **cells.score(times)}
        if role == "detector" or not len(kind):
            return found
        alone = label_scores(kind, p.argmax(axis=1), p[:, positive], times[field], positive)
        return found | {f"{TRUE_BOXES}{name}": value for name, value in alone.items()}

    return score


def _box_score(labelled: Labelled, run: Run) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """COCO's numbers when field f counts `times[f]` times."""
    card = run.opened.detector.card
    outcomes = [e.outcome for e in run.evidence]
    truths, found, shared = shared_boxes(labelled, outcomes, white_class=card.white_classes[0], detector_classes=card.classes)
    matched = match_fields(truths, found, len(shared), confidence=run.question.confidence)
    wanted = ("map50", "map50_95", *(f"ap50.{name}" for name in shared))
    return lambda times: {name: value for name, value in scores_of(matched, times, shared).items() if name in wanted}


def labels_on_truth(
    labelled: Labelled, run: Run, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Field (K,), true class (K,) and probabilities (K, C), columns as `classes`, of every true cell of known kind on its true box."""
    field, kind, p = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, len(classes)))]
    columns = [run.question.classes.index(c) for c in classes]
    for i, (truth, evidence) in enumerate(zip(labelled.truths, run.evidence, strict=True)):
        if not len(evidence.on_truth):
            continue
        white = white_truth(truth, classes, truth_classes=labelled.classes, white_classes=run.question.white_classes)
        known = white.kinds[white.kinds >= 0]
        field.append(np.full(len(known), i))
        kind.append(known)
        p.append(np.asarray(evidence.on_truth, np.float64)[:, columns])
    return np.concatenate(field), np.concatenate(kind), np.concatenate(p)


def _judged(difference: Difference, rule: Rule) -> dict[str, Any]:
    return {**difference.to_json(), "verdict": difference.verdict(rule.tolerance, certain=rule.certain)}


def _about(run: Run, role: str) -> dict[str, Any]:
    cards: dict[str, ModelCard | None] = {
        "detector": run.opened.detector.card,
        "classifier": run.opened.classifier.card if run.opened.classifier else None,
    }
    mine, other = cards[role], cards["classifier" if role == "detector" else "detector"]
    assert mine is not None
    beside = None if other is None else {"name": other.name, "files": dict(other.files)}
    failed = [e.outcome.field.id for e in run.evidence if isinstance(e.outcome, FieldFailure)]
    return {"name": mine.name, "files": dict(mine.files), "thresholds": dict(mine.thresholds), "beside": beside, "failed": failed}


def _told(row: Mapping[str, Any]) -> str:
    place = ", ".join(f"{v:.0f}" for v in row["box"])
    ends = [side["owner"] + (f" ({side['label']} {side['p']:.2f})" if side["p"] is not None else "") for side in (row["old"], row["new"])]
    return f"{row['field']} [{place}]{' ' + row['truth'] if row['truth'] else ''}: {ends[0]} → {ends[1]}"


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _signed(value: float) -> str:
    return "-" if value != value else f"{value:+.4f}"
