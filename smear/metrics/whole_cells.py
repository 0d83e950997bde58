"""Detection of the cells that a field shows whole: those that its border cuts are set aside, since a part of a cell can hardly be named.

Data sets differ in what they label there: BCCD leaves many cut red cells without a box and TXL-PBC draws them, so that average precision
over all boxes measures this habit too. Both numbers are told, this one beside COCO's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.metrics import coco
from smear.types import Detections

BORDER_PX = 2.0  # from the border: boxes drawn by hand end a pixel or two inside


def whole_cells(
    truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str], shapes_hw: Sequence[tuple[int, int] | None]
) -> dict[str, Any]:
    """COCO's average precision of true cells that the border does not cut; a cut one counts neither as missed nor, found, as wrong.

    Args:
        truths, found: one a field; labels index `classes`. shapes_hw: of the fields; None: not known, and none of its cells is cut.

    Returns:
        `map50`, `map50_95` (means over the classes that occur; NaN without any), `ap50` and `n_truth` by class, and `n_cut`, the true cells
        set aside.
    """
    aside = tuple([_cut(d, shape) for d, shape in zip(rows, shapes_hw, strict=True)] for rows in (truths, found))
    curves = coco.evaluate(truths, found, len(classes), aside=(aside[0], aside[1]))
    precision = curves.precision[..., 0]  # (10, 101, C)
    whole = [truth.labels[~cut] for truth, cut in zip(truths, aside[0], strict=True)]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *whole]), minlength=len(classes))
    return {
        "map50": coco.mean_of_known(precision[0].mean(axis=0)),
        "map50_95": coco.mean_of_known(precision.mean(axis=(0, 1))),
        "ap50": {name: float(value) for name, value in zip(classes, precision[0].mean(axis=0), strict=True)},
        "n_truth": {name: int(n) for name, n in zip(classes, counts, strict=True)},
        "n_cut": int(sum(cut.sum() for cut in aside[0])),
    }


def _cut(detections: Detections, shape_hw: tuple[int, int] | None) -> NDArray[np.bool_]:
    if shape_hw is None:
        return np.zeros(len(detections), bool)
    return boxes.touches_edge(detections.boxes, shape_hw, margin_px=BORDER_PX)
