"""Find the field that a crop was cut from: normalised cross-correlation, coarse on all fields, fine on the best few.

Source: Lewis, "Fast normalized cross-correlation", Vision Interface 1995 (as cv2.matchTemplate computes it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.bars import track
from smear import images
from smear.types import Image

SAME = 0.9  # a cut-out, even compressed again, correlates above 0.95 with its place; two cells of one stain stay below 0.8
COARSE_PX = 24  # shorter side of a crop in the coarse search: enough to tell cells and neighbours apart, little to compute
N_BEST = 4  # fields searched finely
SLACK_COARSE = 2  # coarse pixels around the coarse place that the fine search covers


@dataclass(frozen=True)
class Place:
    """Where a crop lies: its field, the top left corner there in pixels, and the correlation in [-1, 1]."""

    field: Path
    x: int
    y: int
    correlation: float


def locate_crops(crops: Sequence[Path], fields: Sequence[Path], *, same: float = SAME, progress: bool = False) -> dict[Path, Place]:
    """The place of each crop that has one; a crop that correlates with no field above `same` is left out.

    Raises:
        ImageError: a file is not a readable image.
    """
    if not crops:
        return {}
    templates = {path: _grey(images.read_image(path)) for path in crops}
    factor = min(1.0, COARSE_PX / min(min(t.shape) for t in templates.values()))
    small = {path: _shrink(template, factor) for path, template in templates.items()}
    coarse: dict[Path, list[Place]] = {path: [] for path in crops}
    for field in track(fields, "search fields", shown=progress):
        view = _shrink(_grey(images.read_image(field)), factor)
        for path, template in small.items():
            place = _best(view, template, field)
            if place:
                coarse[path] = sorted([*coarse[path], place], key=lambda p: -p.correlation)[:N_BEST]
    wanted: dict[Path, list[tuple[Path, Place]]] = {}
    for path, places in coarse.items():
        for place in places:
            wanted.setdefault(place.field, []).append((path, place))
    found: dict[Path, Place] = {}
    for field in track([f for f in fields if f in wanted], "place crops", shown=progress):
        view = _grey(images.read_image(field))
        for path, rough in wanted[field]:
            place = _refine(view, templates[path], rough, factor)
            if place and place.correlation >= same and (path not in found or place.correlation > found[path].correlation):
                found[path] = place
    return {path: found[path] for path in crops if path in found}


def _refine(view: NDArray[np.uint8], template: NDArray[np.uint8], rough: Place, factor: float) -> Place | None:
    """The best full-size place near a coarse one."""
    slack = int(np.ceil(SLACK_COARSE / factor))
    x0, y0 = max(0, round(rough.x / factor) - slack), max(0, round(rough.y / factor) - slack)
    height, width = template.shape
    place = _best(view[y0 : y0 + height + 2 * slack, x0 : x0 + width + 2 * slack], template, rough.field)
    return Place(place.field, place.x + x0, place.y + y0, place.correlation) if place else None


def _best(view: NDArray[np.uint8], template: NDArray[np.uint8], field: Path) -> Place | None:
    """The best place of a template in a view; None when it does not fit in or has no texture to compare."""
    if template.shape[0] > view.shape[0] or template.shape[1] > view.shape[1] or not template.std():
        return None
    correlation = cv2.matchTemplate(view, template, cv2.TM_CCOEFF_NORMED)
    correlation[~np.isfinite(correlation)] = -1  # windows of one colour
    _, value, _, (x, y) = cv2.minMaxLoc(correlation)
    return Place(field, x, y, float(min(value, 1.0)))


def _grey(image: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _shrink(grey: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
