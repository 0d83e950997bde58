"""ultralytics' own numbers for the same boxes, and where they part from COCOeval's: measured, not supposed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smear.metrics.coco import IOUS, mean_of_known
from smear.metrics.matching import interpolated, match_fields, scores_of
from smear.types import Detections

if TYPE_CHECKING:
    from detection.yolo import Hits

WHY = {
    "matching": "which detections count as hits, and how equal scores are ordered",
    "interpolation": "how the area is read off the curve: COCO takes the best precision at each of 101 recalls, ultralytics draws straight "
    "lines between the points and integrates by trapezoids",
    "precision and recall": "ultralytics reads them at the confidence where its smoothed F1, averaged over classes, is best, and averages "
    "the classes; ours are at the operating point of the card, all cells together",
}
SAME = 5e-4  # smaller differences do not show in the table


def beside(truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, Any]:
    """ultralytics' map50, map50_95, precision and recall, AP by class, and `difference` to COCOeval on the same boxes.

    Returns:
        `difference` splits ultralytics minus COCO, for map50 and map50_95, into `matching` (its hits on COCO's curve) and
        `interpolation` (the rest); the parts add up to `total`. `why` says what the parts are; `reason` is one sentence for people.
    """
    from detection import yolo  # on demand: it loads torch and ultralytics

    hits = yolo.own_hits(truths, found)
    own = yolo.score_hits(hits, classes)
    ours = scores_of(match_fields(truths, found, len(classes)), np.ones(len(truths), np.int64), classes)
    on_our_curve = _coco_of(hits, len(classes))  # (C, 10)
    mixed = {"map50": mean_of_known(on_our_curve[:, 0]), "map50_95": mean_of_known(on_our_curve.mean(axis=1))}
    difference = {
        key: {"total": own[key] - ours[key], "matching": mixed[key] - ours[key], "interpolation": own[key] - mixed[key]} for key in mixed
    }
    return {**own, "version": yolo.VERSION, "difference": difference, "why": WHY, "reason": _reason(difference["map50"])}


def _coco_of(hits: "Hits", n_classes: int) -> np.ndarray:
    """(C, 10) average precision by COCO's curve over ultralytics' hits; NaN for a class without a true cell."""
    found = np.full((n_classes, len(IOUS)), np.nan)
    order = np.argsort(-hits.scores, kind="stable")
    correct, labels = hits.correct[order], hits.labels[order]
    for k in np.unique(hits.true_labels):
        mine = correct[labels == k]
        for t in range(len(IOUS)):
            at = np.flatnonzero(mine[:, t])
            found[k, t] = interpolated(np.arange(1, len(at) + 1), at + 1, int((hits.true_labels == k).sum()))
    return found


def _reason(parts: dict[str, float]) -> str:
    total = parts["total"]
    if not np.isfinite(total):
        return "no difference to explain: nothing is true"
    if abs(total) < SAME:
        return f"mAP@50 agrees within {SAME:g}"
    causes = ", ".join(f"{parts[name]:+.4f} from {name}" for name in ("matching", "interpolation") if abs(parts[name]) >= SAME / 5)
    return f"mAP@50 differs by {total:+.4f}: {causes}"
