"""What a detector sees of a field at a coarse glance: a few windows at a chosen scale, and how well that scale explains them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.images import resize
from smear.types import Detections, Image

WINDOW_PX = 384  # side of a window as the detector sees it: 6 to 8 red cells across
NEAR = np.log(1.6)  # a detection votes for the scale at which it has about the size of training
SAME_CELL_IOU = 0.5  # windows overlap; boxes of two windows overlapping more are one cell
MIN_CONTRAST = 15  # grey levels from darkest to lightest: 3-12 in the small windows of painted empty fields, 33-90 with cells
VOTE_POWER = 4  # of the score: texture magnified to the size of cells gives many detections near 0.45, cells few near 0.85
WHITE_PER_RED = 1.75  # diameter of a white cell in red cells: 1.78 in BCCD, 1.4-2.2 elsewhere
MEASURE_CONFIDENCE = 0.25  # lowest score of a cell to measure by; the size of a doubtful cell is as good as any
EDGE_PX = 2  # a cell nearer to the edge of what was seen may be cut by it


@dataclass(frozen=True)
class Ruler:
    """What a detector needs to measure with: its scale of training, which of its classes are which, and the lowest score of a cell."""

    rbc_px: float
    red: int | None
    white: tuple[int, ...]
    confidence: float = MEASURE_CONFIDENCE  # whatever else the detector is asked for, it must measure the same


@dataclass(frozen=True)
class Seen:
    """What the detector found in one window: the whole cells, in pixels of the resized field, and how many pixels it was shown."""

    whole: Detections
    n_pixels: int


Asking = Generator[list[Image], list[Detections], list[Seen]]  # yields tiles for the detector, is sent what it found in them


def look(image: Image, ruler: Ruler, rbc_px: float, n: int, *, whole_field: bool = False) -> Asking:
    """What the detector sees in n windows of a field whose red cells would be `rbc_px` wide.

    Args:
        whole_field: one window of the whole field, where that takes no more pixels than the n windows.
    """
    factor = ruler.rbc_px / rbc_px
    height, width = image.shape[:2]
    fits = whole_field and height * width * factor**2 <= n * WINDOW_PX**2
    side = max(height, width) if fits else round(WINDOW_PX / factor)
    corners = _windows((height, width), side, n)
    tiles = [resize(image[top : top + side, left : left + side], factor) for top, left in corners]
    worth_it = [_has_contrast(tile, ruler.rbc_px) for tile in tiles]
    shown = [tile for tile, worth in zip(tiles, worth_it, strict=True) if worth]
    answers = iter((yield shown) if shown else [])
    seen = []
    for (top, left), tile, worth in zip(corners, tiles, worth_it, strict=True):
        found = next(answers) if worth else Detections.empty()
        is_whole = (found.scores >= ruler.confidence) & ~boxes.touches_edge(found.boxes, tile.shape[:2], margin_px=EDGE_PX)
        seen.append(Seen(found.take(is_whole).shift(left * factor, top * factor), tile.shape[0] * tile.shape[1]))
    return seen


def cells(seen: Sequence[Seen], labels: tuple[int, ...]) -> Detections:
    """The whole cells of those classes, in pixels of the resized field, highest score first; a cell in two windows counts once."""
    found = boxes.suppress(Detections.concat(s.whole for s in seen), iou_above=SAME_CELL_IOU)
    return found.take(np.isin(found.labels, labels))


def evidence(seen: Sequence[Seen], ruler: Ruler, labels: tuple[int, ...], target_px: float) -> float:
    """How well a scale explains what was seen, by the cells of those classes that should be `target_px` wide.

    White cells of the size expected beside red cells of training size speak for a scale too; on their own they are the yardstick.
    """
    by_white = _vote(seen, ruler.white, ruler.rbc_px * WHITE_PER_RED) if labels == (ruler.red,) else 0.0
    return _vote(seen, labels, target_px) + by_white


def spread_of(diameters: NDArray[np.floating]) -> tuple[float, float]:
    """Median and relative interquartile range of at least one diameter."""
    low, middle, high = np.percentile(diameters, (25, 50, 75))
    return float(middle), float((high - low) / middle)


def _has_contrast(tile: Image, rbc_px: float) -> bool:
    """Whether a window shows anything: noise of an empty background, magnified, looks like red cells to a detector."""
    smooth = cv2.GaussianBlur(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), (0, 0), rbc_px / 8)
    low, high = np.percentile(smooth[::2, ::2], (0.5, 99.5))
    return bool(high - low >= MIN_CONTRAST)


def _windows(shape_hw: tuple[int, int], side: int, n: int) -> list[tuple[int, int]]:
    """Top left corners of n square windows of `side` pixels: the centre, then spread evenly; one when it covers the field."""
    height, width = shape_hw
    if height <= side and width <= side:
        return [(0, 0)]
    spots = [(0.5, 0.5), (0.2, 0.2), (0.8, 0.8), (0.2, 0.8), (0.8, 0.2), (0.5, 0.1)][:n]
    return sorted({(round(max(height - side, 0) * v), round(max(width - side, 0) * u)) for v, u in spots})


def _vote(seen: Sequence[Seen], labels: tuple[int, ...], target_px: float) -> float:
    """Sure cells of about the expected size, per window area, less those far from it."""
    area = sum(s.n_pixels for s in seen) / WINDOW_PX**2
    total = 0.0
    for s in seen:
        found = s.whole.take(np.isin(s.whole.labels, labels))
        off = np.abs(np.log(np.maximum(boxes.diameters(found.boxes), 1e-3) / target_px))
        total += float((found.scores**VOTE_POWER * np.where(off < NEAR, 1 - off / NEAR, -0.25)).sum())
    return total / max(area, 0.15)  # a window of a few cells must not win by its smallness
