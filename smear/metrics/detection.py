"""How well boxes were found: COCO average precision, and precision and recall at one operating confidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.metrics import coco
from smear.metrics.coco import mean_of_known
from smear.types import Detections

OPERATING_IOU = 0.5


@dataclass(frozen=True)
class Counts:
    """Cells of one class at the operating confidence: how many are true, found, and both."""

    n_truth: int
    n_found: int
    n_hits: int

    @property
    def precision(self) -> float:
        """Hits among what was found, in [0, 1]; NaN when nothing was found."""
        return self.n_hits / self.n_found if self.n_found else math.nan

    @property
    def recall(self) -> float:
        """Hits among what is true, in [0, 1]; NaN when nothing is true."""
        return self.n_hits / self.n_truth if self.n_truth else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both, in [0, 1]; NaN when nothing is true and nothing found."""
        return 2 * self.n_hits / (self.n_truth + self.n_found) if self.n_truth + self.n_found else math.nan

    def to_json(self) -> dict[str, float]:
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**shares, "n_truth": self.n_truth, "n_found": self.n_found, "n_hits": self.n_hits}


def coco_metrics(
    truths: Sequence[Detections],
    found: Sequence[Detections],
    classes: Sequence[str],
    *,
    confidence: float = 0.25,
    shapes_hw: Sequence[tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """Detection metrics of a set of fields; all are shares in [0, 1], higher is better.

    `map50` and `map50_95` are COCO's: 101-point interpolated average precision over *all* detections (none is dropped,
    where COCO keeps 100 a picture), averaged over the classes that occur in the truth; an absent class is NaN in `ap50` and is left out.
    `precision` and `recall` pool all classes (micro average) at the operating confidence and IoU 0.5; `operating` has them by class too.
    `ar` holds average recalls over COCO's ten IoU and the classes: `ar1`, `ar10`, `ar100` of the best 1, 10, 100 detections of each class
    in a field, `ar` of all, `per_class` of all.

    Args:
        truths: one per field; `labels` index `classes`, scores are ignored.
        found: one per field, in the same order and pixels; equal scores rank in the given order, as in COCO.
        classes: names of the C classes.
        confidence: detections below this score do not count for precision and recall.
        shapes_hw: (height, width) of each field; when given, found boxes are clipped to the field first, as truth is.

    Returns:
        Plain floats and ints; what is undefined is NaN (an empty truth leaves every average precision NaN).

    Raises:
        ValueError: the sequences differ in length, or a label is outside `classes`.

    Source: Lin et al., Microsoft COCO (2014); computed by faster-coco-eval.
    """
    found = checked(truths, found, len(classes), shapes_hw)
    curves = coco.evaluate(truths, found, len(classes))
    precision = curves.precision[..., 0]  # (10, 101, C), NaN for absent classes
    ap50, ap50_95 = precision[0].mean(axis=0), precision.mean(axis=(0, 1))  # (C,)
    counts = operating_counts(truths, found, len(classes), confidence=confidence)
    pooled = Counts(*(sum(getattr(c, name) for c in counts) for name in ("n_truth", "n_found", "n_hits")))
    return {
        "map50": mean_of_known(ap50),
        "map50_95": mean_of_known(ap50_95),
        "precision": pooled.precision,
        "recall": pooled.recall,
        "ap50": {name: float(v) for name, v in zip(classes, ap50, strict=True)},
        "ap50_95": {name: float(v) for name, v in zip(classes, ap50_95, strict=True)},
        "ar": _average_recalls(curves, classes),
        "per_class": {name: {k: v for k, v in c.to_json().items() if k != "f1"} for name, c in zip(classes, counts, strict=True)},
        "operating": {
            "confidence": confidence,
            "iou": OPERATING_IOU,
            **pooled.to_json(),
            "per_class": {name: c.to_json() for name, c in zip(classes, counts, strict=True)},
        },
        "confidence": confidence,
        "iou": OPERATING_IOU,
        "n_truth": pooled.n_truth,
        "n_found": pooled.n_found,
        "n_images": len(truths),
    }


def _average_recalls(curves: coco.CocoCurves, classes: Sequence[str]) -> dict[str, Any]:
    recall = curves.recall[:, :, 0].mean(axis=0)  # (C, D), NaN for absent classes
    return {
        **{f"ar{k}": mean_of_known(recall[:, curves.max_detections.index(k)]) for k in (1, 10, coco.COCO_MAX_DETECTIONS)},
        "ar": mean_of_known(recall[:, -1]),
        "per_class": {name: float(v) for name, v in zip(classes, recall[:, -1], strict=True)},
    }


def pr_curves(truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, list[float]]:
    """Interpolated precision at recall 0, 0.01, … 1 and IoU 0.5 of every class that occurs in the truth; each list has 101 shares."""
    found = checked(truths, found, len(classes), None)
    at50 = coco.evaluate(truths, found, len(classes)).precision[0, :, :, 0]  # (101, C)
    return {name: [float(v) for v in at50[:, k]] for k, name in enumerate(classes) if not np.isnan(at50[0, k])}


def match(
    truth_boxes: NDArray[np.float32],
    found_boxes: NDArray[np.float32],
    iou: float = OPERATING_IOU,
    *,
    scores: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Pair found with true boxes one to one: each found box, best score first, takes the free true box it overlaps most.

    Args:
        truth_boxes: (N, 4).
        found_boxes: (M, 4), highest score first unless `scores` (M,) says otherwise.
        iou: a pair overlaps at least this much, in [0, 1].

    Returns:
        (K, 2) int64: index of the true box, index of the found box; K may be 0.

    Source: the matching rule of COCOeval, without crowds.
    """
    overlap = boxes.iou(found_boxes, truth_boxes)  # (M, N)
    order = range(len(found_boxes)) if scores is None else np.argsort(-scores, kind="stable")
    pairs = []
    for i in order if len(truth_boxes) else ():
        best = int(overlap[i].argmax())
        if overlap[i, best] >= max(iou, np.finfo(np.float32).tiny):
            pairs.append((best, int(i)))
            overlap[:, best] = -1  # taken
    return np.array(pairs, np.int64).reshape(-1, 2)


def operating_counts(
    truths: Sequence[Detections], found: Sequence[Detections], n_classes: int, *, confidence: float, iou: float = OPERATING_IOU
) -> tuple[Counts, ...]:
    """Per class: cells that are true, found with at least `confidence`, and matched at `iou`, over all fields."""
    totals = np.zeros((n_classes, 3), np.int64)
    for truth, detections in zip(truths, found, strict=True):
        kept = detections.take(detections.scores >= confidence)
        for label in range(n_classes):
            true, seen = truth.take(truth.labels == label), kept.take(kept.labels == label)
            hits = len(match(true.boxes, seen.boxes, iou, scores=seen.scores))
            totals[label] += (len(true), len(seen), hits)
    return tuple(Counts(*map(int, row)) for row in totals)


def checked(
    truths: Sequence[Detections], found: Sequence[Detections], n_classes: int, shapes_hw: Sequence[tuple[int, int]] | None
) -> list[Detections]:
    """The found boxes, clipped to their fields when the shapes are known.

    Raises:
        ValueError: the sequences differ in length, or a label is outside the classes.
    """
    if len(truths) != len(found) or (shapes_hw is not None and len(shapes_hw) != len(found)):
        raise ValueError(f"{len(truths)} truths, {len(found)} results{'' if shapes_hw is None else f', {len(shapes_hw)} shapes'}")
    highest = max((int(d.labels.max()) for d in (*truths, *found) if len(d)), default=-1)
    if highest >= n_classes:
        raise ValueError(f"label {highest} is outside the {n_classes} classes")
    if shapes_hw is None:
        return list(found)
    return [Detections(boxes.clip(d.boxes, shape), d.scores, d.labels) for d, shape in zip(found, shapes_hw, strict=True)]
