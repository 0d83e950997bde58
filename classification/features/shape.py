"""Shape of the cell and of its nucleus: sizes in crop widths, and ratios that no scale changes.

Sources: A. K. Jain, Fundamentals of Digital Image Processing (1989), ch. 9, for form factor, solidity, convexity and moments;
the formula of Cauchy and Crofton with four directions for perimeters (G. Lehmann, D. Legland, Insight Journal 2012, 852).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import AREA, NONE, RATIO, SHARE, WIDTH, Family, Mask, Values, boxed
from smear.types import Image

UNITS = {
    "area": AREA,
    "perimeter": WIDTH,
    "form_factor": RATIO,  # 4 pi area / perimeter²: 1 for a disc, less for all others
    "compactness": RATIO,  # perimeter² / area: 4 pi for a disc
    "equivalent_diameter": WIDTH,
    "major_axis": WIDTH,
    "minor_axis": WIDTH,
    "eccentricity": RATIO,
    "elongation": RATIO,  # 1 - minor / major axis
    "solidity": RATIO,  # area / area of the convex hull
    "convexity": RATIO,  # perimeter of the convex hull / perimeter
    "extent": RATIO,  # area / area of the upright bounding box
    "feret_diameter": WIDTH,  # the longest distance of two points
    "parts": NONE,  # how many pieces: the lobes of a nucleus
}


def of_cells(_crops: Image, cell: Mask, nucleus: Mask) -> Values:
    """(N, F): the shape of the cells, then how their nuclei lie in them."""
    areas, whole = nucleus.sum(axis=(1, 2)), cell.sum(axis=(1, 2))
    away = np.hypot(*(_moments(nucleus)[:, :2] - _moments(cell)[:, :2]).T)
    relative = [areas / whole, (whole - areas) / areas, away / np.sqrt(whole / np.pi)]
    return np.column_stack([describe(cell), *relative]).astype(np.float32)


def of_nuclei(_crops: Image, _cell: Mask, nucleus: Mask) -> Values:
    """(N, F): the shape of the nuclei."""
    return describe(nucleus)


def describe(mask: Mask) -> Values:
    """(N, F) in the order of `UNITS`, of masks (N, S, S) of which none is empty."""
    side = mask.shape[1]
    area, around = mask.sum(axis=(1, 2)), perimeters(mask)
    hulls = np.array([_hull(each) for each in mask])  # (N, 5)
    _, _, xx, yy, xy = _moments(mask).T
    spread = np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    major, minor = (4 * np.sqrt(np.maximum((xx + yy) / 2 + sign * spread, 0)) for sign in (1, -1))
    columns = (
        area / side**2,
        around / side,
        4 * np.pi * area / around**2,
        around**2 / area,
        np.sqrt(4 * area / np.pi) / side,
        major / side,
        minor / side,
        np.sqrt(np.maximum(1 - (minor / major) ** 2, 0)),
        1 - minor / major,
        area / hulls[:, 0],
        hulls[:, 1] / around,
        area / hulls[:, 2],
        hulls[:, 3] / side,
        hulls[:, 4],
    )
    return np.column_stack(columns).astype(np.float32)


def perimeters(mask: Mask) -> NDArray[np.float64]:
    """(N,) lengths of the outlines of masks (N, S, S), pixels, holes and the border of the crop included.

    Lines in four directions are counted where they cross the outline; half the mean count times the spacing times pi is its length.
    """
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    straight = (padded[:, 1:] != padded[:, :-1]).sum(axis=(1, 2)) + (padded[:, :, 1:] != padded[:, :, :-1]).sum(axis=(1, 2))
    slanted = (padded[:, 1:, 1:] != padded[:, :-1, :-1]).sum(axis=(1, 2)) + (padded[:, 1:, :-1] != padded[:, :-1, 1:]).sum(axis=(1, 2))
    return np.asarray(np.pi / 8 * (straight + slanted / np.sqrt(2)), np.float64)


def _moments(mask: Mask) -> NDArray[np.float64]:
    """(N, 5): mean x and y, pixels, and the variances xx, yy and xy; a pixel is a square, whose own variance is 1/12."""
    n, side = mask.shape[:2]
    at = np.arange(side, dtype=np.float64)
    rows, columns = mask.sum(axis=2).astype(np.float64), mask.sum(axis=1).astype(np.float64)  # (N, S)
    area = rows.sum(axis=1)
    x, y = columns @ at / area, rows @ at / area
    xx, yy = columns @ at**2 / area - x**2 + 1 / 12, rows @ at**2 / area - y**2 + 1 / 12
    xy = (mask.reshape(n * side, side) @ at.astype(np.float32)).reshape(n, side).astype(np.float64) @ at / area - x * y
    return np.column_stack([x, y, xx, yy, xy])


def _hull(mask: Mask) -> tuple[float, float, float, float, float]:
    """Area and perimeter of the convex hull, area of the upright box, longest distance, pixels; and the number of pieces."""
    box = boxed(mask)
    piece = np.ascontiguousarray(mask[box]).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(outlines))
    filled = cv2.fillConvexPoly(np.zeros_like(piece), hull, 1)
    corners = hull[:, 0].astype(np.float64)
    longest = np.linalg.norm(corners[:, None] - corners, axis=2).max() + 1  # from pixel edge to pixel edge
    around = cv2.arcLength(hull, True) + np.pi  # the hull of centres, moved outwards by half a pixel
    return float(filled.sum()), float(around), float(piece.size), float(longest), float(len(outlines))


_SOURCE = "Jain 1989, chapter 9; Crofton perimeter"
CELL = Family(
    "shape",
    "shape of the cell, and how its nucleus lies in it",
    {f"cell_{name}": unit for name, unit in UNITS.items()}
    | {"nucleus_to_cell_area": SHARE, "cytoplasm_to_nucleus_area": RATIO, "nucleus_offset": "cell radii"},
    _SOURCE,
    True,
    of_cells,
)
NUCLEUS = Family("nucleus_shape", "shape of the nucleus", {f"nucleus_{n}": unit for n, unit in UNITS.items()}, _SOURCE, True, of_nuclei)
