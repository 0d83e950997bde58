"""The field carries its own ruler: find the red-cell diameter by looking at it coarsely, at few scales or, where that fails, at many.

The shipped detector sees the true size of red cells (within 15 %) that are 0.6 to 1.3 times as wide as those it was trained on, and the
direction of others, so that one or two looks measure a field. Where none is strong, all scales are compared: 17 of 428 fields of seven
sets. The search of the whole field then measures all its red cells, and that is the ruler that is kept (`measured_again`).

Measured against comparing all scales, which shows the detector 1.7 to 3.5 megapixels a field: 0.16 to 0.42, and no field's first estimate
off by more than 15 % where both measure by red cells (95 % of them within 3 to 8 %). Detection is as good at a scale 20 % off (mAP@50
at most 0.008 lower), so the first estimate is enough to search at.
"""

from collections.abc import Generator, Sequence
from itertools import islice

import numpy as np

from smear import boxes
from smear.ruler_looks import EDGE_PX, MEASURE_CONFIDENCE, WHITE_PER_RED, Ruler, Seen, cells, evidence, look, spread_of
from smear.types import UNKNOWN_SCALE, Detections, Detector, Image, Scale, ScaleSource

__all__ = [
    "MEASURE_CONFIDENCE",
    "MIN_CELLS",
    "RED_CELL_UM",
    "WHITE_PER_RED",
    "Ruler",
    "estimate_scale",
    "estimate_scales",
    "given_scale",
    "measured_again",
]

CANDIDATES_PX = tuple(9 * 1.7**i for i in range(7))  # 9 to 217 px: white cells of about 15 to 430 px
N_COARSE, N_FINE = 2, 5  # windows a candidate, and for the measurement
FIRST_PX = (90.0, 30.0, 160.0)  # in this order: red cells of 40-165, 9-40 and up to 230 px are found from them
SURE = 0.5  # score of a cell that speaks for a scale not yet believed
MANY_CELLS, EVEN = 8, 0.3  # so many sure red cells, of so small a spread, measure from afar:
FROM_AFAR = (-0.3, 0.55)  # log of the scale looked at over the one measured; beyond, sizes are off by up to 50 %
CLOSE, STRONG = 0.3, 1.0  # fewer cells measure from near, with so much evidence: texture, magnified, has up to 0.9 at 30 px, 2 at 9 px
MIN_CELLS = 4  # fewer red cells measure nothing
REFINEMENTS = 2
RED_CELL_UM = 7.5  # 7-8 µm

Measuring = Generator[list[Image], list[Detections], Scale]  # yields tiles for the detector, is sent what it found in them


def given_scale(um_per_px: float) -> Scale:
    """The ruler of a field whose pixel size is known."""
    return Scale(RED_CELL_UM / um_per_px, float("nan"), 0, "given")


def estimate_scale(image: Image, detector: Detector, ruler: Ruler) -> Scale:
    """Measure the red-cell diameter of one field; see `estimate_scales`."""
    return estimate_scales([image], detector, ruler)[0]


def estimate_scales(images: Sequence[Image], detector: Detector, ruler: Ruler) -> list[Scale]:
    """Measure the red-cell diameter of each field, in its own pixels; no field depends on another.

    A few windows are shown to the detector as if red cells were 90 px wide, then 30, then 160; the first look that is
    strong, at that scale or at the one it points to, is the measurement. Where none is, the candidate scale at which most
    red cells have the size of training wins, and the median of what is found there, looked at again, is the measurement.
    A field without red cells is measured by its white cells, `WHITE_PER_RED` times larger; one without either is unknown.

    Args:
        images: full-size fields; the windows of all are shown to the detector together.
        detector: classes as in `ruler`.
        ruler: `rbc_px` is the red-cell diameter, pixels, that the detector was trained at.
    """
    found = [UNKNOWN_SCALE] * len(images)
    running = {i: _measure(image, ruler) for i, image in enumerate(images)}
    answers: dict[int, list[Detections] | None] = dict.fromkeys(running)
    while running:
        asked = {}
        for i, measuring in list(running.items()):
            try:
                asked[i] = measuring.send(answers[i])  # type: ignore[arg-type]
            except StopIteration as done:
                found[i] = done.value
                del running[i]
        flat = iter(detector([tile for tiles in asked.values() for tile in tiles]) if asked else [])
        answers = {i: list(islice(flat, len(tiles))) for i, tiles in asked.items()}
    return found


def measured_again(found: Detections, shape_hw: tuple[int, int], scale: Scale, ruler: Ruler) -> Scale:
    """The ruler by all whole cells that the search of the field has found, instead of those of a few windows.

    Args:
        found: all cells of at least `ruler.confidence`, in pixels of the field.
        shape_hw: of the field.
        scale: the one searched at; it stays where it was given, is unknown, or too few cells of its kind were found.
    """
    for source, labels, ratio in _yardsticks(ruler):
        if source == scale.source:
            margin_px = EDGE_PX * scale.rbc_px / ruler.rbc_px
            kept = (found.scores >= ruler.confidence) & np.isin(found.labels, labels)
            kept &= ~boxes.touches_edge(found.boxes, shape_hw, margin_px=margin_px)
            if kept.sum() >= _fewest(source):
                return _scale(boxes.diameters(found.boxes[kept]) / ratio, source)
    return scale


def _measure(image: Image, ruler: Ruler) -> Measuring:
    if ruler.red is not None:
        for px in FIRST_PX:
            scale = yield from _glance(image, ruler, px)
            if scale.is_known:
                return scale
    return (yield from _search(image, ruler))


def _glance(image: Image, ruler: Ruler, px: float) -> Measuring:
    """The scale by one look, or by a second where the first points to; unknown where neither is strong."""
    n_windows = N_COARSE
    for is_last in (False, True):
        seen = yield from look(image, ruler, px, n_windows, whole_field=True)
        red = cells(seen, (ruler.red,))  # type: ignore[arg-type]
        sure = boxes.diameters(red.boxes[red.scores >= SURE]) * (px / ruler.rbc_px)
        if len(sure) < MIN_CELLS:
            break
        scale = _scale(sure, "red cells")
        off = np.log(px / scale.rbc_px)
        if len(sure) >= MANY_CELLS and scale.spread <= EVEN and FROM_AFAR[0] < off < FROM_AFAR[1]:
            return scale
        if abs(off) < CLOSE and evidence(seen, ruler, (ruler.red,), ruler.rbc_px) >= STRONG:  # type: ignore[arg-type]
            return scale
        if is_last:
            break
        px, n_windows = _within(scale.rbc_px), N_COARSE if len(sure) >= 2 * MANY_CELLS else N_FINE  # few cells may be far between
    return UNKNOWN_SCALE


def _search(image: Image, ruler: Ruler) -> Measuring:
    """The scale by all candidates."""
    looks: list[tuple[float, list[Seen]]] = []
    for px in CANDIDATES_PX:
        looks.append((px, (yield from look(image, ruler, px, N_COARSE))))
    for source, labels, ratio in _yardsticks(ruler):
        strength, candidate = max((evidence(seen, ruler, labels, ruler.rbc_px * ratio), px) for px, seen in looks)
        if strength <= 0:
            continue
        scale = yield from _refine(image, ruler, candidate, labels=labels, ratio=ratio, source=source)
        if scale.n >= _fewest(source):
            return scale
    return UNKNOWN_SCALE


def _refine(image: Image, ruler: Ruler, rbc_px: float, *, labels: tuple[int, ...], ratio: float, source: ScaleSource) -> Measuring:
    scale = UNKNOWN_SCALE
    for _ in range(REFINEMENTS):
        seen = yield from look(image, ruler, rbc_px, N_FINE)
        diameters = boxes.diameters(cells(seen, labels).boxes) * (rbc_px / ruler.rbc_px)
        if not len(diameters):
            break
        scale = _scale(diameters / ratio, source)
        rbc_px = _within(scale.rbc_px)
    return scale


def _yardsticks(ruler: Ruler) -> Sequence[tuple[ScaleSource, tuple[int, ...], float]]:
    red = [("red cells", (ruler.red,), 1.0)] if ruler.red is not None else []
    return [*red, ("white cells", ruler.white, WHITE_PER_RED)]  # type: ignore[list-item]


def _fewest(source: ScaleSource) -> int:
    return MIN_CELLS if source == "red cells" else 1


def _scale(diameters: np.ndarray, source: ScaleSource) -> Scale:
    middle, spread = spread_of(diameters)
    return Scale(middle, spread, len(diameters), source)


def _within(rbc_px: float) -> float:
    """A measured scale that is not believed yet, kept from running away."""
    return float(np.clip(rbc_px, CANDIDATES_PX[0] / 2, CANDIDATES_PX[-1] * 2))
