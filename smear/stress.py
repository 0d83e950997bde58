"""What breaks when the pictures are worse: the evaluation again, under each named condition.

    metrics["stress"] = run_stress(analyzer, labelled, score, n_fields=50, seed=0, progress=bar)

where `score(labelled, outcomes)` is the evaluation itself, so that every number of the table means what it means without stress.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np

from smear.conditions import CONDITIONS, Condition
from smear.images import read_image, write_image
from smear.labelled import Labelled
from smear.types import Field, FieldResult, Outcome

SCORES = ("map50", "white_recall", "white_precision", "accuracy", "roc_auc")  # shares in [0, 1], higher is better
SHARES = ("n_review_share", "n_warned_share")  # of the cells that need a review, of the fields with a warning
BREAKS = 0.05  # a score that falls by more is called broken: more than the interval of most of our test sets
FALLBACK_RBC_SHARE = 0.1  # of the longer side: the red-cell diameter taken for a field whose scale could not be measured

Analyze = Callable[[Iterable[Field]], Iterable[Outcome]]
Score = Callable[[Labelled, Sequence[Outcome]], Mapping[str, Any]]


def run_stress(
    analyze: Analyze,
    labelled: Labelled,
    score: Score,
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    seed: int = 0,
    n_fields: int | None = None,
    um_per_px: float | None = None,
    progress: Callable[[Sequence[Condition]], Iterable[Condition]] = iter,
) -> dict[str, Any]:
    """Analyse and score the fields as they are, then once under each condition.

    The changed fields are written, losslessly, to a temporary folder that is emptied after each condition. The result depends on the
    fields, conditions and seed alone; each field draws from a generator of its own.

    Args:
        analyze: fields to outcomes in their order, with the detections that `score` needs; an `Analyzer`. It must neither recall
            nor keep: the changed fields have the ids of the true ones.
        score: metrics of labelled fields and their outcomes; of these `SCORES` are shown, a missing one is NaN.
        n_fields: at most so many fields, drawn by `seed`; None: all.
        um_per_px: size of a pixel in fields that do not know theirs, when the analysis was given one; a condition that enlarges
            the field changes it.
        progress: wraps the conditions, to draw a bar.

    Returns:
        baseline: {score: value}; conditions: [{name, level, metrics, change (minus the baseline), breaks (names of the scores that fall
        by more than `BREAKS`)}] in the order given; worst: {name, level, metric, change} of the deepest fall of any score, None when
        none falls; n_fields, n_labelled_fields, seed, breaks_above. Shares in [0, 1], NaN where undefined.
    """
    chosen = choose_fields(labelled, n_fields, seed=seed)
    chosen = replace(chosen, fields=tuple(replace(f, um_per_px=f.um_per_px or um_per_px) for f in chosen.fields))
    outcomes = list(analyze(chosen.fields))
    baseline = _numbers(score(chosen, outcomes), outcomes)
    sizes = [o.scale.rbc_px if isinstance(o, FieldResult) else math.nan for o in outcomes]
    rows = []
    for condition in progress(conditions):
        with TemporaryDirectory(prefix="stress-") as folder:
            changed = _changed(chosen, condition, Path(folder), sizes, seed)
            found = list(analyze(changed.fields))
            metrics = _numbers(score(changed, found), found)
        change = {key: metrics[key] - baseline[key] for key in baseline}
        broken = [key for key in SCORES if change[key] < -BREAKS]
        rows.append({"name": condition.name, "level": condition.level, "metrics": metrics, "change": change, "breaks": broken})
    about = {"n_fields": len(chosen.fields), "n_labelled_fields": len(labelled.fields), "seed": seed, "breaks_above": BREAKS}
    return {"baseline": baseline, "conditions": rows, "worst": _worst(rows), **about}


def choose_fields(labelled: Labelled, n_fields: int | None, *, seed: int = 0) -> Labelled:
    """At most `n_fields` of the fields, in their order, drawn by `seed`; slides take turns, so that small ones are heard too."""
    if n_fields is None or n_fields >= len(labelled.fields):
        return labelled
    order = np.random.default_rng(seed).permutation(len(labelled.fields)).tolist()
    seen: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for i in order:
        slide = labelled.fields[i].slide
        turns.append((seen.get(slide, 0), len(turns), i))
        seen[slide] = seen.get(slide, 0) + 1
    chosen = sorted(i for _, _, i in sorted(turns)[: max(0, n_fields)])
    return replace(labelled, fields=tuple(labelled.fields[i] for i in chosen), truths=tuple(labelled.truths[i] for i in chosen))


def stress_lines(stress: Mapping[str, Any]) -> list[str]:
    """The table of `run_stress` as lines of text: each score under each condition, its change in brackets, `-` where undefined."""
    columns = [key for key in (*SCORES, *SHARES) if not math.isnan(_known(stress["baseline"].get(key)))]
    head = f"{'':<42}" + "".join(f"{key.removeprefix('n_'):>18}" for key in columns)
    lines = [head, f"{'as it is':<42}" + "".join(f"{_known(stress['baseline'][key]):>10.3f}{'':8}" for key in columns)]
    for row in stress["conditions"]:
        cells = [(_known(row["metrics"][key]), _known(row["change"][key])) for key in columns]
        text = "".join(f"{'-':>18}" if math.isnan(value) else f"{value:>10.3f} ({change:+.2f})"[:18].ljust(18) for value, change in cells)
        lines.append(f"{row['name'] + ', ' + row['level']:<42}{text}{'  breaks' if row['breaks'] else ''}")
    worst = stress["worst"]
    if worst:
        lines.append(f"worst: {worst['name']}, {worst['level']}: {worst['metric']} {worst['change']:+.3f}")
    return lines


def _changed(labelled: Labelled, condition: Condition, folder: Path, sizes: Sequence[float], seed: int) -> Labelled:
    """The fields under a condition, written to `folder`, and their truth."""
    fields, truths = [], []
    for index, (field, truth, rbc_px) in enumerate(zip(labelled.fields, labelled.truths, sizes, strict=True)):
        image = read_image(field.path, page=field.page)
        rng = np.random.default_rng([seed, crc32(condition.name.encode()), crc32(field.id.encode())])
        rbc_px = rbc_px if math.isfinite(rbc_px) else FALLBACK_RBC_SHARE * max(image.shape[:2])
        after = condition.change(rng, image, rbc_px)
        path = folder / f"{index}.png"
        write_image(path, after)
        um_per_px = field.um_per_px / condition.factor if field.um_per_px else None
        fields.append(replace(field, path=path, page=0, um_per_px=um_per_px))
        truths.append(truth.rescale((after.shape[1] / image.shape[1], after.shape[0] / image.shape[0])))
    return replace(labelled, fields=tuple(fields), truths=tuple(truths))


def _numbers(metrics: Mapping[str, Any], outcomes: Sequence[Outcome]) -> dict[str, float]:
    results = [o for o in outcomes if isinstance(o, FieldResult)]
    labelled = [cell.needs_review for o in results if o.classes for cell in o.cells()]
    return {
        **{key: _known(metrics.get(key)) for key in SCORES},
        "n_review_share": sum(labelled) / len(labelled) if labelled else math.nan,
        "n_warned_share": sum(bool(o.warnings) for o in results) / len(results) if results else math.nan,
    }


def _worst(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    falls = [(row["change"][key], i, key) for i, row in enumerate(rows) for key in SCORES if row["change"][key] < 0]
    if not falls:
        return None
    change, i, key = min(falls)
    return {"name": rows[i]["name"], "level": rows[i]["level"], "metric": key, "change": change}


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)
