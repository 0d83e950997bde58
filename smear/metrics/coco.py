"""COCOeval, the one gold number of detection: the only file that imports faster-coco-eval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from smear.types import Detections

IOUS = np.linspace(0.5, 0.95, 10)  # COCO's ten thresholds
RECALLS = np.linspace(0, 1, 101)  # where COCO reads a curve
COCO_MAX_DETECTIONS = 100  # COCO keeps 100 a picture; a smear field can hold 300 red cells, so we raise it to the fullest field
EVERY_AREA = ((0.0, 1e10),)
NO_AREA = 1e12  # beyond every range: COCOeval ignores such a true box, and such a detection unless it matches one that counts

Aside = Sequence[NDArray[np.bool_]]  # one (N,) a field: the boxes that do not count


@dataclass(frozen=True)
class CocoCurves:
    """What COCOeval accumulates, NaN where nothing is true.

    precision: (10 IoU, 101 recalls, C classes, A area ranges) interpolated, over all detections.
    recall: (10 IoU, C, A, D) of the best `max_detections[d]` detections of each class in each field; the last one is all of them.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    max_detections: tuple[int, ...]


def evaluate(
    truths: Sequence[Detections],
    found: Sequence[Detections],
    n_classes: int,
    *,
    areas: Sequence[tuple[float, float]] = EVERY_AREA,
    aside: tuple[Aside, Aside] | None = None,
) -> CocoCurves:
    """Run COCOeval on boxes, one `Detections` a field each; labels are below `n_classes`.

    Args:
        areas: (low, high) box areas in square pixels, both ends included; true boxes outside are ignored, and so are
            unmatched detections outside.
        aside: true boxes that are ignored, and detections that are unless they match a true box that is not.

    Source: Lin et al., Microsoft COCO (2014).
    """
    fullest = max((COCO_MAX_DETECTIONS, *(len(d) for d in found)))
    kept = tuple(sorted({1, 10, COCO_MAX_DETECTIONS, fullest}))
    if not any(len(t) for t in truths):
        shape = (len(IOUS), len(RECALLS), n_classes, len(areas))
        return CocoCurves(np.full(shape, math.nan), np.full((len(IOUS), n_classes, len(areas), len(kept)), math.nan), kept)
    data_set = {
        "images": [{"id": i} for i in range(len(truths))],
        "categories": [{"id": k, "name": str(k)} for k in range(n_classes)],
    }
    true_aside, found_aside = aside or ([np.zeros(len(d), bool) for d in rows] for rows in (truths, found))
    evaluation = COCOeval_faster(_coco(data_set, truths, true_aside), _coco(data_set, found, found_aside), iouType="bbox")
    evaluation.params.maxDets = list(kept)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(a) for a in areas], [str(a) for a in areas]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = (np.asarray(evaluation.eval[key], np.float64) for key in ("precision", "recall"))  # -1 where nothing is true
    precision = precision[..., -1]  # (10, 101, C, A)
    return CocoCurves(np.where(precision < 0, math.nan, precision), np.where(recall < 0, math.nan, recall), kept)


def mean_of_known(values: NDArray[np.float64]) -> float:
    """The mean without NaN; NaN when nothing is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _coco(data_set: dict[str, Any], rows: Sequence[Detections], aside: Aside) -> COCO:
    annotations: list[dict[str, Any]] = []
    for image_id, (detections, left_out) in enumerate(zip(rows, aside, strict=True)):
        for (x0, y0, x1, y1), score, label, is_out in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), left_out.tolist(), strict=True
        ):
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {
                    "id": len(annotations) + 1,  # id 0 reads as "unmatched" in COCOeval
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": NO_AREA if is_out else box[2] * box[3],
                    "score": score,
                    "iscrowd": 0,
                }
            )
    return COCO({**data_set, "annotations": annotations})
