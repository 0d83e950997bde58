"""Find the cells of decoded fields: measure the scale, resize to the detector's, tile, detect, merge."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from smear import boxes
from smear.drift import judge
from smear.optics import HostOptics, Optics
from smear.plan import Plan
from smear.quality import measure_quality
from smear.scale import estimate_scales, given_scale, measured_again
from smear.settings import NORMAL_RBC_PX
from smear.tiles import merge, plan_tiles
from smear.types import Detector, Image, Scale
from smear.work import Work, share, timed

UNSURE_SPREAD = 0.35  # relative interquartile range of the red cells above which the ruler is called unsure
FEW_RED_CELLS = 8
SAME_OBJECT_IOU = 0.8  # boxes of two classes overlapping more are one object, named by the higher score
MAX_GROWTH = 8.0  # a field is enlarged at most this much: below, a cell has too few pixels to be found
MAX_RESIZED_PIXELS = 2**28  # a resized field takes at most 0.8 GB, and so do all that are searched together
SEARCH_TOLERANCE = 1.2  # a field searched at a scale wrong by more is searched again
NO_RULER = "scale unknown: neither red nor white cells to measure by; the field was searched at its longest side"
BY_WHITE_CELLS = "scale estimated from white cells: no red cells found"
UNSURE_SCALE = "scale unsure: few red cells, or of very different sizes"
TOO_SMALL = "cells too small to be enlarged to the detector's scale: some may be missed"


class Finder:
    """Finds cells with a detector, by a plan; fields are searched together, and each as if it were alone. `looker` measures the scale."""

    def __init__(
        self,
        detector: Detector,
        plan: Plan,
        optics: Optics = HostOptics(),  # noqa: B008 - it has no state
        *,
        looker: Detector | None = None,
    ) -> None:
        self._detector, self._plan, self._optics, self._looker = detector, plan, optics, looker or detector

    def measure(self, works: Sequence[Work]) -> None:
        """Set the scale of fields: given, or as a few windows of each show it."""
        ruler, started, unknown = self._plan.ruler, time.perf_counter(), []
        for work in works:
            um_per_px = work.field.um_per_px or self._plan.um_per_px
            if um_per_px is not None:
                work.scale = given_scale(um_per_px)
            elif ruler is not None:
                unknown.append(work)
        if ruler is not None:
            for work, scale in zip(unknown, estimate_scales([w.image for w in unknown], self._looker, ruler), strict=True):
                work.scale = scale
        share(works, "scale", time.perf_counter() - started)

    def scale_warnings(self, scale: Scale) -> list[str]:
        """What is to be said of a scale; nothing where the detector has none."""
        return _scale_warnings(scale) if self._plan.ruler else []

    def find(self, works: Sequence[Work], *, measures: bool = True) -> None:
        """Set what is found in measured fields, in their pixels, and what is to be said of them.

        Args:
            measures: the cells found become the ruler of their field, and a field that was searched at quite another scale is searched
                once more; otherwise its scale stays, as that of a part of a field must.
        """
        self._search(works)
        if measures:
            mistaken = [w for w in works if self._measure_again(w)]
            self._search(mistaken)
            for work in mistaken:
                self._measure_again(work)
            for work in works:
                work.warnings += self.scale_warnings(work.scale)
        for work in works:
            work.found = work.found.take(work.found.scores >= self._plan.floor)
            if work.scale.is_known and self._wanted(work) > _largest(work):
                work.warnings.append(TOO_SMALL)
            self._judge(work)

    def _measure_again(self, work: Work) -> bool:
        """Whether the scale by all cells of a field is far from the one it was searched at."""
        if self._plan.ruler is None:
            return False
        before, work.scale = work.scale, measured_again(work.found, work.image.shape[:2], work.scale, self._plan.ruler)
        return bool(abs(np.log(work.scale.rbc_px / before.rbc_px)) > np.log(SEARCH_TOLERANCE))  # False where the scale is unknown

    def _search(self, works: Sequence[Work]) -> None:
        """Search fields, as many together as fit `MAX_RESIZED_PIXELS`."""
        together: list[Work] = []
        n_pixels = 0.0
        for work in works:
            n_more = work.n_pixels * self._factor(work) ** 2
            if together and n_pixels + n_more > MAX_RESIZED_PIXELS:
                self.search(together)
                together, n_pixels = [], 0.0
            together.append(work)
            n_pixels += n_more
        if together:
            self.search(together)

    def search(self, works: Sequence[Work]) -> None:
        """One pass of the detector over all tiles of these fields."""
        started, judged = time.perf_counter(), sum(w.seconds.get("quality", 0.0) for w in works)
        plans = []
        for work in works:
            work.picture = self._optics.place(work.image) if work.picture is None else work.picture  # it may be searched twice
            resized = self._optics.resize(work.picture, self._factor(work))
            self._measure_quality(work, self._optics.fetch(resized))
            tiles = plan_tiles(resized.shape[:2], tile_px=self._plan.tile_px, overlap_px=self._plan.overlap_px, snug=True)
            plans.append((resized, tiles))
        views = [resized[y0:y1, x0:x1] for resized, tiles in plans for x0, y0, x1, y1 in (t.view for t in tiles)]
        found = iter(self._detector(views))
        for work, (resized, tiles) in zip(works, plans, strict=True):
            kept = [d.take(d.scores >= self._plan.lowest_score) for d in islice(found, len(tiles))]
            merged = merge(tiles, kept, iou=self._plan.iou)
            shape = work.image.shape[:2]
            in_field = merged.rescale((shape[1] / resized.shape[1], shape[0] / resized.shape[0]))
            clipped = replace(in_field, boxes=boxes.clip(in_field.boxes, shape))
            work.found = boxes.suppress(clipped, iou_above=SAME_OBJECT_IOU, across_classes=True)
        share(works, "detect", time.perf_counter() - started - (sum(w.seconds["quality"] for w in works) - judged))

    def _measure_quality(self, work: Work, resized: Image) -> None:
        """What the field looks like to the detector."""
        ruler = self._plan.ruler
        with timed(work, "quality"):
            work.quality = measure_quality(resized, rbc_px=ruler.rbc_px if ruler else NORMAL_RBC_PX)
            if work.scale.is_known:
                work.quality["resized"] = self._factor(work)

    def _judge(self, work: Work) -> None:
        """Say how far a field is from what the detector was trained on."""
        with timed(work, "quality"):
            if work.scale.is_known:
                work.quality["rbc_px"] = work.scale.rbc_px
            work.quality, warnings = judge(work.quality, self._plan.reference)
            work.warnings += warnings

    def _factor(self, work: Work) -> float:
        """How much a field is resized for the detector."""
        return min(self._wanted(work), _largest(work))

    def _wanted(self, work: Work) -> float:
        if self._plan.ruler is None or not work.scale.is_known:
            return self._plan.letterbox_px / max(work.image.shape[:2])
        return self._plan.ruler.rbc_px / work.scale.rbc_px


def _largest(work: Work) -> float:
    return float(min(MAX_GROWTH, (MAX_RESIZED_PIXELS / work.n_pixels) ** 0.5))


def _scale_warnings(scale: Scale) -> list[str]:
    if not scale.is_known:
        return [NO_RULER]
    if scale.source == "white cells":
        return [BY_WHITE_CELLS]
    if scale.source == "red cells" and (scale.n < FEW_RED_CELLS or scale.spread > UNSURE_SPREAD):
        return [UNSURE_SCALE]
    return []
