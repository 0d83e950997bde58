"""How large a red cell is in each labelled image: the ruler that brings images of every magnification to one scale."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smear import boxes
from smear.types import Detections

MIN_CELLS = 3  # the median of fewer red cells is a guess
MIN_IMAGES = 5  # a group measured in fewer images borrows from the whole set
MAX_SPREAD = 0.15  # relative interquartile range up to which the median of a group stands for all of its images

Origin = Literal["red cells", "white cells", "group", "exact", "unknown"]


@dataclass(frozen=True)
class Ruler:
    """The red-cell diameter of one image in pixels, and what it was taken from; NaN when unknown."""

    rbc_px: float
    origin: Origin


UNKNOWN = Ruler(float("nan"), "unknown")


def median_diameter(truth: Detections, label: int, shape_hw: tuple[int, int], *, at_least: int) -> float:
    """Median diameter, pixels, of the boxes of one class that the border does not cut; NaN for fewer than `at_least`."""
    of_class = truth.boxes[truth.labels == label]
    whole = of_class[~boxes.touches_edge(of_class, shape_hw)]
    return float(np.median(boxes.diameters(whole))) if len(whole) >= at_least else float("nan")


def measure(
    truths: Sequence[Detections], shapes_hw: Sequence[tuple[int, int]], groups: Sequence[str], *, white: int, red: int
) -> list[Ruler]:
    """The ruler of each of N images of one set.

    Red cells speak first (three or more, not cut by the border); then the white cells, through the WBC to RBC size ratio of
    their group; then the median of the group, if its images agree. A group with too few measured images uses the whole set.

    Args:
        groups: N names; images of one group come from one laboratory. white, red: the class indices.
    """
    direct = np.array([median_diameter(t, red, s, at_least=MIN_CELLS) for t, s in zip(truths, shapes_hw, strict=True)])
    whites = np.array([median_diameter(t, white, s, at_least=1) for t, s in zip(truths, shapes_hw, strict=True)])
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    found: list[Ruler] = []
    for i, group in enumerate(groups):
        if np.isfinite(direct[i]):
            found.append(Ruler(float(direct[i]), "red cells"))
            continue
        own = direct[members[group]]
        index = members[group] if np.isfinite(own).sum() >= MIN_IMAGES else list(range(len(groups)))
        found.append(_borrow(float(whites[i]), whites[index], direct[index]))
    return found


def _borrow(white: float, whites: np.ndarray, direct: np.ndarray) -> Ruler:
    both = np.isfinite(whites) & np.isfinite(direct)
    if np.isfinite(white) and both.any():
        return Ruler(white / float(np.median(whites[both] / direct[both])), "white cells")
    known = direct[np.isfinite(direct)]
    if len(known):
        low, middle, high = np.percentile(known, [25, 50, 75])
        if (high - low) / middle <= MAX_SPREAD:
            return Ruler(float(middle), "group")
    return UNKNOWN
