"""Find the cells of decoded fields: measure the scale, resize to the detector's, tile, detect, merge."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from smear import boxes
from smear.drift import judge
from smear.optics import HostOptics, Optics
from smear.plan import Plan
from smear.quality import measure_quality
from smear.scale import estimate_scale, given_scale
from smear.settings import NORMAL_RBC_PX
from smear.tiles import merge, plan_tiles
from smear.types import Detector, Image, Scale
from smear.work import Work, share, timed

UNSURE_SPREAD = 0.35  # relative interquartile range of the red cells above which the ruler is called unsure
FEW_RED_CELLS = 8
SAME_OBJECT_IOU = 0.8  # boxes of two classes overlapping more are one object, named by the higher score
MAX_GROWTH = 8.0  # a field is enlarged at most this much: below, a cell has too few pixels to be found
MAX_RESIZED_PIXELS = 2**28  # a resized field takes at most 0.8 GB, and so do all that are searched together
NO_RULER = "scale unknown: neither red nor white cells to measure by; the field was searched at its longest side"
BY_WHITE_CELLS = "scale estimated from white cells: no red cells found"
UNSURE_SCALE = "scale unsure: few red cells, or of very different sizes"
TOO_SMALL = "cells too small to be enlarged to the detector's scale: some may be missed"


class Finder:
    """Finds cells with a detector, by a plan; fields are searched together, and each as if it were alone."""

    def __init__(self, detector: Detector, plan: Plan, optics: Optics = HostOptics()) -> None:  # noqa: B008 - it has no state
        self._detector, self._plan, self._optics = detector, plan, optics

    def measure(self, work: Work) -> None:
        """Set the scale of a field, and what is to be said of it."""
        um_per_px = work.field.um_per_px or self._plan.um_per_px
        with timed(work, "scale"):
            if um_per_px is not None:
                work.scale = given_scale(um_per_px)
            elif self._plan.ruler is not None:
                work.scale = estimate_scale(work.image, self._detector, self._plan.ruler)
        work.warnings += self.scale_warnings(work.scale)

    def scale_warnings(self, scale: Scale) -> list[str]:
        """What is to be said of a scale; nothing where the detector has none."""
        return _scale_warnings(scale) if self._plan.ruler else []

    def find(self, works: Sequence[Work]) -> None:
        """Set what is found in measured fields, in their pixels; as many are searched together as fit `MAX_RESIZED_PIXELS`."""
        together: list[Work] = []
        n_pixels = 0.0
        for work in works:
            n_more = work.n_pixels * self._factor(work) ** 2
            if together and n_pixels + n_more > MAX_RESIZED_PIXELS:
                self.search(together)
                together, n_pixels = [], 0.0
            together.append(work)
            n_pixels += n_more
        self.search(together)

    def search(self, works: Sequence[Work]) -> None:
        """One pass of the detector over all tiles of these fields."""
        started = time.perf_counter()
        plans = []
        for work in works:
            work.picture = self._optics.place(work.image)
            resized = self._optics.resize(work.picture, self._factor(work))
            self._judge(work, self._optics.fetch(resized))
            tiles = plan_tiles(resized.shape[:2], tile_px=self._plan.tile_px, overlap_px=self._plan.overlap_px, snug=True)
            plans.append((resized, tiles))
        views = [resized[y0:y1, x0:x1] for resized, tiles in plans for x0, y0, x1, y1 in (t.view for t in tiles)]
        found = iter(self._detector(views))
        for work, (resized, tiles) in zip(works, plans, strict=True):
            kept = [d.take(d.scores >= self._plan.floor) for d in islice(found, len(tiles))]
            merged = merge(tiles, kept, iou=self._plan.iou)
            shape = work.image.shape[:2]
            in_field = merged.rescale((shape[1] / resized.shape[1], shape[0] / resized.shape[0]))
            clipped = replace(in_field, boxes=boxes.clip(in_field.boxes, shape))
            work.found = boxes.suppress(clipped, iou_above=SAME_OBJECT_IOU, across_classes=True)
        share(works, "detect", time.perf_counter() - started - sum(w.seconds["quality"] for w in works))

    def _judge(self, work: Work, resized: Image) -> None:
        """What the field looks like to the detector, and how far that is from what it was trained on."""
        plan = self._plan
        with timed(work, "quality"):
            measured = measure_quality(resized, rbc_px=plan.ruler.rbc_px if plan.ruler else NORMAL_RBC_PX)
            if work.scale.is_known:
                measured |= {"rbc_px": work.scale.rbc_px, "resized": self._factor(work)}
            work.quality, warnings = judge(measured, plan.reference)
            work.warnings += warnings

    def _factor(self, work: Work) -> float:
        """How much a field is resized for the detector."""
        height, width = work.image.shape[:2]
        largest = min(MAX_GROWTH, (MAX_RESIZED_PIXELS / (height * width)) ** 0.5)
        if self._plan.ruler is None or not work.scale.is_known:
            return min(self._plan.letterbox_px / max(height, width), largest)
        wanted = self._plan.ruler.rbc_px / work.scale.rbc_px
        if wanted > largest and TOO_SMALL not in work.warnings:
            work.warnings.append(TOO_SMALL)
        return min(wanted, largest)


def _scale_warnings(scale: Scale) -> list[str]:
    if not scale.is_known:
        return [NO_RULER]
    if scale.source == "white cells":
        return [BY_WHITE_CELLS]
    if scale.source == "red cells" and (scale.n < FEW_RED_CELLS or scale.spread > UNSURE_SPREAD):
        return [UNSURE_SCALE]
    return []
