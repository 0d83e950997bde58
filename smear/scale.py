"""The field carries its own ruler: find the red-cell diameter by looking at it coarsely, at many scales."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from smear import boxes
from smear.images import resize
from smear.types import UNKNOWN_SCALE, Detections, Detector, Image, Scale, ScaleSource

CANDIDATES_PX = tuple(9 * 1.7**i for i in range(7))  # 9 to 217 px: white cells of about 15 to 430 px
WINDOW_PX = 384  # side of a window as the detector sees it: about 8 red cells across
N_COARSE, N_FINE = 2, 5  # windows a candidate, and for the measurement
NEAR = np.log(1.6)  # a detection votes for the scale at which it has about the size of training
SAME_CELL_IOU = 0.5  # windows overlap; boxes of two windows overlapping more are one cell
MIN_CONTRAST = 15  # grey levels from darkest to lightest: 3-12 in the small windows of painted empty fields, 33-90 with cells
VOTE_POWER = 4  # of the score: texture magnified to the size of cells gives many detections near 0.45, cells few near 0.85
MIN_CELLS = 4  # fewer red cells measure nothing
WHITE_PER_RED = 1.75  # diameter of a white cell in red cells: 1.78 in BCCD, 1.4-2.2 elsewhere
REFINEMENTS = 2
MEASURE_CONFIDENCE = 0.25  # lowest score of a cell to measure by; the size of a doubtful cell is as good as any
RED_CELL_UM = 7.5  # 7-8 µm


@dataclass(frozen=True)
class Ruler:
    """What a detector needs to measure with: its scale of training, which of its classes are which, and the lowest score of a cell."""

    rbc_px: float
    red: int | None
    white: tuple[int, ...]
    confidence: float = MEASURE_CONFIDENCE  # whatever else the detector is asked for, it must measure the same


def given_scale(um_per_px: float) -> Scale:
    """The ruler of a field whose pixel size is known."""
    return Scale(RED_CELL_UM / um_per_px, float("nan"), 0, "given")


def estimate_scale(image: Image, detector: Detector, ruler: Ruler) -> Scale:
    """Measure the red-cell diameter of a field, in its own pixels.

    A few windows are shown to the detector at each candidate scale; the one at which most red cells have the size of
    training wins, and the median of what is found there, looked at again at that scale, is the measurement.
    A field without red cells is measured by its white cells, `WHITE_PER_RED` times larger; one without either is unknown.

    Args:
        image: the full-size field.
        detector: classes as in `ruler`.
        ruler: `rbc_px` is the red-cell diameter, pixels, that the detector was trained at.
    """
    looks = [(px, _look(image, detector, ruler, px, N_COARSE)) for px in CANDIDATES_PX]
    for source, labels, ratio in _yardsticks(ruler):
        target = ruler.rbc_px * ratio
        coarse = [(_vote(seen, labels, target) + _white_vote(seen, ruler, source), px) for px, seen in looks]
        evidence, candidate = max(coarse)
        if evidence <= 0:
            continue
        scale = _refine(image, detector, ruler, candidate, labels=labels, ratio=ratio, source=source)
        if scale.n >= (MIN_CELLS if source == "red cells" else 1):
            return scale
    return UNKNOWN_SCALE


def _yardsticks(ruler: Ruler) -> Sequence[tuple[ScaleSource, tuple[int, ...], float]]:
    red = [("red cells", (ruler.red,), 1.0)] if ruler.red is not None else []
    return [*red, ("white cells", ruler.white, WHITE_PER_RED)]  # type: ignore[list-item]


def _refine(
    image: Image, detector: Detector, ruler: Ruler, rbc_px: float, *, labels: tuple[int, ...], ratio: float, source: ScaleSource
) -> Scale:
    scale = UNKNOWN_SCALE
    for _ in range(REFINEMENTS):
        diameters = _diameters(_look(image, detector, ruler, rbc_px, N_FINE), labels) * (rbc_px / ruler.rbc_px)
        if not len(diameters):
            break
        low, middle, high = np.percentile(diameters, (25, 50, 75)) / ratio
        scale = Scale(float(middle), float((high - low) / middle), len(diameters), source)
        rbc_px = float(np.clip(middle, CANDIDATES_PX[0] / 2, CANDIDATES_PX[-1] * 2))
    return scale


@dataclass(frozen=True)
class _Seen:
    """What the detector found in one window: the whole cells, in pixels of the resized field, and how many pixels it was shown."""

    whole: Detections
    n_pixels: int


def _look(image: Image, detector: Detector, ruler: Ruler, rbc_px: float, n: int) -> list[_Seen]:
    """What the detector sees in n windows of a field whose red cells would be `rbc_px` wide."""
    factor = ruler.rbc_px / rbc_px
    side = round(WINDOW_PX / factor)
    corners = _windows(image.shape[:2], side, n)
    tiles = [resize(image[top : top + side, left : left + side], factor) for top, left in corners]
    worth_it = [_has_contrast(tile, ruler.rbc_px) for tile in tiles]
    answers = iter(detector([tile for tile, worth in zip(tiles, worth_it, strict=True) if worth]))
    seen = []
    for (top, left), tile, worth in zip(corners, tiles, worth_it, strict=True):
        found = next(answers) if worth else Detections.empty()
        is_whole = (found.scores >= ruler.confidence) & ~boxes.touches_edge(found.boxes, tile.shape[:2], margin_px=2)
        seen.append(_Seen(found.take(is_whole).shift(left * factor, top * factor), tile.shape[0] * tile.shape[1]))
    return seen


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


def _white_vote(seen: Sequence[_Seen], ruler: Ruler, source: ScaleSource) -> float:
    """White cells of the size expected beside red cells of training size speak for a scale too; on their own they are the yardstick."""
    return _vote(seen, ruler.white, ruler.rbc_px * WHITE_PER_RED) if source == "red cells" else 0.0


def _diameters(seen: Sequence[_Seen], labels: tuple[int, ...]) -> np.ndarray:
    """Diameters of the whole cells of those classes, in pixels of the resized field; a cell in two windows counts once."""
    cells = boxes.suppress(Detections.concat(s.whole for s in seen), iou_above=SAME_CELL_IOU)
    return boxes.diameters(cells.boxes[np.isin(cells.labels, labels)])


def _vote(seen: Sequence[_Seen], labels: tuple[int, ...], target_px: float) -> float:
    """How well a scale explains what was seen: sure cells of about the expected size, per window area, less those far from it."""
    area = sum(s.n_pixels for s in seen) / WINDOW_PX**2
    total = 0.0
    for s in seen:
        cells = s.whole.take(np.isin(s.whole.labels, labels))
        off = np.abs(np.log(np.maximum(boxes.diameters(cells.boxes), 1e-3) / target_px))
        total += float((cells.scores**VOTE_POWER * np.where(off < NEAR, 1 - off / NEAR, -0.25)).sum())
    return total / max(area, 0.15)  # a window of a few cells must not win by its smallness
