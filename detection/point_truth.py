"""A detector against points: white cells of a point set such as ALL-IDB1, scored by hits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smear.errors import AnnotationError
from smear.metrics.points import point_intervals, point_metrics
from smear.metrics.statistics import field_groups
from smear.models import ModelCard
from smear.plan import white_labels
from smear.point_sets import PointSet, read_points
from smear.types import Detections, FieldFailure, FieldResult, Outcome

RULE = "a hit is a detected white cell whose box holds the point, one to one, best score first"


def read(table: Path, split: str, card: ModelCard) -> PointSet:
    """The fields and points of a split, all of them on white cells of any kind.

    Raises:
        AnnotationError: as `read_points`, or a point is on a class of the detector that is no white cell.
    """
    truth = read_points(table, split)
    others = sorted({label for labels in truth.labels for label in labels} & set(card.classes) - set(card.white_classes))
    if others:
        raise AnnotationError(f"{table}: label: {others[0]!r} is no white cell; only white cells are scored by points")
    return truth


def score(truth: PointSet, outcomes: Sequence[Outcome], card: ModelCard, *, confidence: float) -> dict[str, Any]:
    """`point_metrics` of white cells with `intervals`; a field that failed hits no point.

    White cells without a point are no errors: point sets mark the blasts alone, so there is a recall and no precision.
    """
    white = white_labels(card)
    found = [_of(o.detections, white) if isinstance(o, FieldResult) else Detections.empty() for o in outcomes]
    groups, unit = field_groups(truth.fields)
    intervals = point_intervals(truth.points, found, groups, confidence=confidence, unit=unit)
    return {
        "kind": "points",
        "rule": RULE,
        **point_metrics(truth.points, found, confidence=confidence),
        "n_failed_fields": sum(isinstance(o, FieldFailure) for o in outcomes),
        "intervals": {"recall": intervals["recall"].to_json()},
    }


def describe(metrics: dict[str, Any]) -> str:
    """The numbers in words; `metrics` as `score` returns them."""
    interval = metrics["intervals"]["recall"]
    counts, low, high = f"{metrics['n_hits']} of {metrics['n_points']} points", interval["low"], interval["high"]
    return "\n".join(
        (
            f"\n{RULE}",
            f"recall {metrics['recall']:.4f} ({counts}), {low:.4f} to {high:.4f}; {interval['method']}",
            f"found {metrics['n_found']} white cells at confidence {metrics['confidence']:.2f}: {metrics['n_hits']} on a point, "
            f"{metrics['n_doubled']} double, {metrics['n_without_point']} without a point (no error: only some cells carry one)",
            f"centre of the box from the point: {metrics['offset']:.3f} of its half side (median)",
            f"fields: {metrics['n_fields']}, {metrics['n_fields_with_points']} with points, {metrics['n_failed_fields']} failed",
        )
    )


def _of(detections: Detections, labels: Sequence[int]) -> Detections:
    return detections.take(np.isin(detections.labels, labels))
