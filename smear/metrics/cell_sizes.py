"""Detection by the size of the cell, in red cells: COCO's pixels mean nothing where the magnification is anybody's."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.metrics import coco
from smear.metrics.detection import checked
from smear.scale import RED_CELL_UM
from smear.types import Detections

# Diameters in red cells of 7-8 µm: platelets have 2-3 µm (0.3-0.4), small lymphocytes 7-10 (0.9-1.3), most white cells and
# blasts 10-15 (1.3-2), monocytes, large blasts and clumps more.
BINS = (("platelet-sized", 0.0, 0.6), ("red-cell-sized", 0.6, 1.3), ("white-cell-sized", 1.3, 2.0), ("larger", 2.0, math.inf))
MIN_RED_CELLS = 4  # fewer whole ones in a field measure nothing
UNIT_PX = 100.0  # a red cell in the boxes that COCOeval sees


def by_size(
    truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str], rulers_px: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """COCO's average precision and recall of the cells of each size bin; all shares in [0, 1].

    A cell's diameter is the root of its box area. As in COCO, true cells of other sizes are ignored, and so are detections that match
    none or one of these. A bin's mean is weighted by the true cells of each class: one platelet among white cells must not be half of it.

    Args:
        rulers_px: the red-cell diameter of each field, pixels; NaN when unknown, and the field is left out.

    Returns:
        One entry a bin: `ap50`, `ap50_95`, `ar` (NaN when empty), `n_truth`, `low_rbc`, `high_rbc`, `low_um`, `high_um` (no end: NaN), and
        `per_class` with `ap50`, `ap50_95`, `ar` and `n_truth` of the classes that occur. No entry when no ruler is known.

    Raises:
        ValueError: the sequences differ in length, or a label is outside the classes.
    """
    found = checked(truths, found, len(classes), None)
    if len(rulers_px) != len(truths):
        raise ValueError(f"{len(truths)} truths, {len(rulers_px)} rulers")
    known = [i for i, px in enumerate(rulers_px) if math.isfinite(px) and px > 0]
    if not known:
        return {}
    true, seen = ([d[i].rescale((UNIT_PX / rulers_px[i],) * 2) for i in known] for d in (truths, found))
    areas = [((low * UNIT_PX) ** 2, float(np.nextafter(min((high * UNIT_PX) ** 2, 1e10), 0))) for _, low, high in BINS]
    curves = coco.evaluate(true, seen, len(classes), areas=areas)
    n_truth = _count(true, len(classes), areas)  # (bins, C)
    return {
        name: {
            **_bin(curves.precision[..., a], curves.recall[:, :, a, -1], n_truth[a], classes),
            "low_rbc": low,
            "high_rbc": high if math.isfinite(high) else math.nan,
            "low_um": low * RED_CELL_UM,
            "high_um": high * RED_CELL_UM if math.isfinite(high) else math.nan,
        }
        for a, (name, low, high) in enumerate(BINS)
    }


def true_rulers(truths: Sequence[Detections], shapes_hw: Sequence[tuple[int, int] | None], red: int | None) -> list[float]:
    """The red-cell diameter of each field by its own labels, pixels: the median of whole ones, NaN with fewer than `MIN_RED_CELLS`.

    Args:
        shapes_hw: of the fields, to leave out cells that the border cuts; None keeps them. red: their label, None if they have none.
    """
    rulers = []
    for truth, shape in zip(truths, shapes_hw, strict=True):
        cells = truth.boxes[truth.labels == red] if red is not None else truth.boxes[:0]
        whole = cells[~boxes.touches_edge(cells, shape)] if shape else cells
        rulers.append(float(np.median(np.sqrt(boxes.area(whole)))) if len(whole) >= MIN_RED_CELLS else math.nan)
    return rulers


def _bin(precision: NDArray[np.float64], recall: NDArray[np.float64], n_truth: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Averages of one bin from (10, 101, C) precision and (10, C) recall."""
    ap50, ap50_95, ar = precision[0].mean(axis=0), precision.mean(axis=(0, 1)), recall.mean(axis=0)  # (C,)
    return {
        **{key: _weighted(values, n_truth) for key, values in (("ap50", ap50), ("ap50_95", ap50_95), ("ar", ar))},
        "n_truth": int(n_truth.sum()),
        "per_class": {
            name: {"ap50": float(ap50[k]), "ap50_95": float(ap50_95[k]), "ar": float(ar[k]), "n_truth": int(n_truth[k])}
            for k, name in enumerate(classes)
            if n_truth[k]
        },
    }


def _weighted(values: NDArray[np.float64], n_truth: NDArray[np.int64]) -> float:
    there = n_truth > 0
    return float(np.average(values[there], weights=n_truth[there])) if there.any() else math.nan


def _count(truths: Sequence[Detections], n_classes: int, areas: Sequence[tuple[float, float]]) -> NDArray[np.int64]:
    every = Detections.concat(truths)
    size = boxes.area(every.boxes).astype(np.float64)
    return np.array([np.bincount(every.labels[(low <= size) & (size <= high)], minlength=n_classes) for low, high in areas])
