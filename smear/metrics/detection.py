"""How well boxes were found: COCO average precision, and precision and recall at one operating confidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from smear import boxes
from smear.types import Detections

COCO_MAX_DETECTIONS = 100  # COCO keeps 100 a picture; a smear field can hold 300 red cells, so we raise it to the fullest field
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
    `precision` and `recall` pool all classes (micro average) at the operating confidence and IoU 0.5.

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
    found = _checked(truths, found, len(classes), shapes_hw)
    precision = _coco_precision(truths, found, len(classes))  # (10, 101, C), NaN for absent classes
    ap50, ap50_95 = precision[0].mean(axis=0), precision.mean(axis=(0, 1))  # (C,)
    counts = operating_counts(truths, found, len(classes), confidence=confidence)
    pooled = Counts(*(sum(getattr(c, name) for c in counts) for name in ("n_truth", "n_found", "n_hits")))
    return {
        "map50": _mean_of_known(ap50),
        "map50_95": _mean_of_known(ap50_95),
        "precision": pooled.precision,
        "recall": pooled.recall,
        "ap50": {name: float(v) for name, v in zip(classes, ap50, strict=True)},
        "ap50_95": {name: float(v) for name, v in zip(classes, ap50_95, strict=True)},
        "per_class": {
            name: {"precision": c.precision, "recall": c.recall, "n_truth": c.n_truth, "n_found": c.n_found, "n_hits": c.n_hits}
            for name, c in zip(classes, counts, strict=True)
        },
        "confidence": confidence,
        "iou": OPERATING_IOU,
        "n_truth": pooled.n_truth,
        "n_found": pooled.n_found,
        "n_images": len(truths),
    }


def pr_curves(truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, list[float]]:
    """Interpolated precision at recall 0, 0.01, … 1 and IoU 0.5 of every class that occurs in the truth; each list has 101 shares."""
    found = _checked(truths, found, len(classes), None)
    at50 = _coco_precision(truths, found, len(classes))[0]  # (101, C)
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


def _checked(
    truths: Sequence[Detections], found: Sequence[Detections], n_classes: int, shapes_hw: Sequence[tuple[int, int]] | None
) -> list[Detections]:
    if len(truths) != len(found) or (shapes_hw is not None and len(shapes_hw) != len(found)):
        raise ValueError(f"{len(truths)} truths, {len(found)} results{'' if shapes_hw is None else f', {len(shapes_hw)} shapes'}")
    highest = max((int(d.labels.max()) for d in (*truths, *found) if len(d)), default=-1)
    if highest >= n_classes:
        raise ValueError(f"label {highest} is outside the {n_classes} classes")
    if shapes_hw is None:
        return list(found)
    return [Detections(boxes.clip(d.boxes, shape), d.scores, d.labels) for d, shape in zip(found, shapes_hw, strict=True)]


def _coco_precision(truths: Sequence[Detections], found: Sequence[Detections], n_classes: int) -> NDArray[np.float64]:
    """(10 IoU, 101 recall, C) interpolated precision; a class without truth is NaN throughout."""
    if not any(len(t) for t in truths):
        return np.full((10, 101, n_classes), math.nan)
    data_set = {
        "images": [{"id": i} for i in range(len(truths))],
        "categories": [{"id": k, "name": str(k)} for k in range(n_classes)],
    }
    fullest = max(COCO_MAX_DETECTIONS, *(len(d) for d in found))
    evaluation = COCOeval_faster(_coco(data_set, truths), _coco(data_set, found), iouType="bbox")
    evaluation.params.maxDets = [1, 10, fullest]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], np.float64)[:, :, :, 0, -1]  # (10, 101, C); -1 for absent classes
    return np.where(precision < 0, math.nan, precision)


def _coco(data_set: dict[str, Any], rows: Sequence[Detections]) -> COCO:
    annotations: list[dict[str, Any]] = []
    for image_id, detections in enumerate(rows):
        for (x0, y0, x1, y1), score, label in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
        ):
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {
                    "id": len(annotations) + 1,  # id 0 reads as "unmatched" in COCOeval
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "score": score,
                    "iscrowd": 0,
                }
            )
    return COCO({**data_set, "annotations": annotations})


def _mean_of_known(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
