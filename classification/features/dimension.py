"""Box-counting dimension (an upper bound of Hausdorff's) of outlines and of chromatin: how much finer boxes find more of them.

Source: B. B. Mandelbrot, The Fractal Geometry of Nature (1982); for nuclei of blasts, S. Mohapatra et al., Neural Computing and
Applications 24 (2014), 1887.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import NONE, Family, Mask, Values, boxed
from smear.types import Image

_SHIFTS = ((0, 0), (1, 0), (0, 1), (1, 1))  # of the grid, in half boxes: the mean of four grids hangs less on where the cell lies


def dimensions(mask: Mask, *, sides: Sequence[int] | None = None) -> NDArray[np.float64]:
    """(N,) slope of log(number of boxes that are met) over -log(side of the box), masks (N, S, S); NaN of an empty mask.

    A curve must be connected by the edges of its pixels, as `outlines` are, or small boxes miss its slanted parts.

    Args:
        sides: of the boxes, pixels; default: 1, 2, 4, … up to a fourteenth of S, at least 4.
    """
    n, side = mask.shape[:2]
    chosen = np.array(sides or 2 ** np.arange(int(np.log2(max(4, side // 14))) + 1))
    points = np.nonzero(mask)  # three times (P,): which mask, row, column
    counts = np.stack([_count(points, n, side, int(box)) for box in chosen], axis=1)  # (N, K)
    x = np.log(chosen).mean() - np.log(chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(counts) @ x / (x @ x), np.float64)


def outlines(mask: Mask) -> Mask:
    """The pixels of masks (N, S, S) that touch what is outside them, by edge or corner, or the border of the crop."""
    element, lines = np.ones((3, 3), np.uint8), np.empty_like(mask)
    for line, each in zip(lines, mask, strict=True):
        line[:] = each & (cv2.erode(each.astype(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0) == 0)
    return lines


def measure(crops: Image, cell: Mask, nucleus: Mask) -> Values:
    """(N, 3): outline of the cell, outline of the nucleus, the darker half of the chromatin."""
    dark = np.zeros_like(nucleus)
    for i, (crop, mask) in enumerate(zip(crops, nucleus, strict=True)):
        box = boxed(mask)
        grey = cv2.cvtColor(np.ascontiguousarray(crop[box]), cv2.COLOR_RGB2GRAY)
        dark[i][box] = mask[box] & (grey <= np.median(grey[mask[box]]))
    return np.column_stack([dimensions(outlines(cell)), dimensions(outlines(nucleus)), dimensions(dark)]).astype(np.float32)


def _count(points: tuple[NDArray[np.intp], ...], n: int, side: int, box: int) -> NDArray[np.float64]:
    """(N,) boxes of that side that hold a point, the mean over shifted grids."""
    which, rows, columns = points
    wide = side // box + 2
    shifts = _SHIFTS if box > 1 else _SHIFTS[:1]
    total = np.zeros(n)
    for down, right in shifts:
        met = np.zeros(n * wide * wide, bool)
        met[(which * wide + (rows + down * box // 2) // box) * wide + (columns + right * box // 2) // box] = True
        total += met.reshape(n, -1).sum(axis=1)
    return total / len(shifts)


HAUSDORFF = Family(
    "hausdorff",
    "box-counting dimension of outlines and chromatin",
    {"cell_outline_dimension": NONE, "nucleus_outline_dimension": NONE, "chromatin_dimension": NONE},
    "Mandelbrot 1982",
    True,
    measure,
)
