"""Everything that is said about boxes in one mapping: COCOeval, curves, sizes, and intervals by slide."""

import math
from collections.abc import Sequence
from typing import Any

from smear.metrics.cell_sizes import by_size, true_rulers
from smear.metrics.detection import coco_metrics, pr_curves
from smear.metrics.matching import bootstrap_detection
from smear.metrics.statistics import field_groups
from smear.metrics.whole_cells import whole_cells
from smear.types import Detections, Field, FieldResult, Outcome

RED_CLASS = "RBC"  # the name of red cells in every set that we prepare


def detection_report(
    fields: Sequence[Field],
    truths: Sequence[Detections],
    found: Sequence[Detections],
    outcomes: Sequence[Outcome],
    classes: Sequence[str],
    *,
    confidence: float,
    red_class: str = RED_CLASS,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The detection metrics of F fields; see `coco_metrics`, `pr_curves`, `whole_cells`, `by_size` and `bootstrap_detection`.

    Args:
        truths, found: one a field; labels index `classes`. outcomes: where the found boxes come from, for the size and scale of the field.
        confidence: the operating point. n_resamples: 0 leaves the intervals out.

    Returns:
        What `coco_metrics` returns, and `whole_cells`, `by_size`, `size_rulers` (how many fields were measured by their true red cells, by
        those that were found, or not at all), `intervals`, `pr_curves`.
    """
    groups, unit = field_groups(fields)
    intervals = (
        bootstrap_detection(truths, found, classes, groups, confidence=confidence, n_resamples=n_resamples, seed=seed, unit=unit)
        if n_resamples
        else {}
    )
    shapes = [o.shape_hw if isinstance(o, FieldResult) else None for o in outcomes]
    true = true_rulers(truths, shapes, list(classes).index(red_class) if red_class in classes else None)
    measured = [o.scale.rbc_px if isinstance(o, FieldResult) else math.nan for o in outcomes]
    rulers = [t if math.isfinite(t) else m for t, m in zip(true, measured, strict=True)]
    n_true, n_known = sum(map(math.isfinite, true)), sum(map(math.isfinite, rulers))
    return {
        **coco_metrics(truths, found, classes, confidence=confidence),
        "whole_cells": whole_cells(truths, found, classes, shapes),
        "by_size": by_size(truths, found, classes, rulers),
        "size_rulers": {"true red cells": n_true, "measured scale": n_known - n_true, "unknown": len(rulers) - n_known},
        "intervals": {name: interval.to_json() for name, interval in intervals.items()},
        "pr_curves": pr_curves(truths, found, classes),
    }
