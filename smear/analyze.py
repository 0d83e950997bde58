"""From fields to results: read and decode ahead, find and label in batches across fields, keep behind; each stage in its own threads."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import ImageError
from smear.files import Content
from smear.finder import Finder
from smear.images import MAX_PIXELS, decode, read_bytes
from smear.labeller import Labeller
from smear.large import LargeFields
from smear.line import Pace, ahead
from smear.optics import HostOptics, Optics
from smear.plan import Plan
from smear.regions import Region, is_region, open_region
from smear.types import Classifier, Detections, Detector, Field, FieldFailure, FieldResult, Image, Outcome, Scale
from smear.work import Work


class Analyzer:
    """Analyses fields with a detector and, when given, a classifier.

    Args:
        looker: the detector that measures the scale, where that is another: small differences in what it sees would move whole fields.
        white: indices of the detector's white-cell classes. recall: a result computed before, by the field and its bytes, or None.
        keep: called with every fresh outcome and its image (None when it could not be decoded), or its Region, before it is yielded.
        pace: how many threads do what; with more than one of a kind, the models and both hooks are called by several at once.
            Results and their order do not depend on it.
        optics: where fields are resized and cut; another than the host's where the networks run on another device.
        whole_pixels: a TIFF of more pixels is a Region, of which no more than a few windows are in memory at once.
    """

    def __init__(
        self,
        detector: Detector,
        classifier: Classifier | None,
        plan: Plan,
        *,
        white: Sequence[int],
        looker: Detector | None = None,
        recall: Callable[[Field, Content], Outcome | None] | None = None,
        keep: Callable[[Outcome, Any], None] | None = None,
        pace: Pace = Pace(),  # noqa: B008 - a frozen value
        optics: Optics = HostOptics(),  # noqa: B008 - it has no state
        whole_pixels: int = MAX_PIXELS,
    ) -> None:
        self._plan, self._recall, self._keep, self._pace = plan, recall, keep, pace
        self._finder = Finder(detector, plan, optics, looker=looker)
        self._labeller = Labeller(classifier, plan, detector_classes=detector.classes, white=white, optics=optics)
        self._large = LargeFields(self._finder, self._labeller, plan, pace)
        self._is_large = partial(is_region, above_pixels=whole_pixels)

    def __call__(self, fields: Iterable[Field]) -> Iterator[Outcome]:
        """One outcome a field, in order; a field that cannot be read is a FieldFailure, a bug is a traceback."""
        for is_large, some in groupby(fields, self._is_large):
            analyse = self._regions if is_large else self._line
            yield from analyse(some)

    def _line(self, fields: Iterable[Field]) -> Iterator[Outcome]:
        opened = ahead(self._open, fields, threads=self._pace.readers)
        batches = _batches(opened, self._plan.fields_per_batch, self._plan.pixels_per_batch)
        analysed = ahead(self._analyse, batches, threads=self._pace.lanes)
        return ahead(self._finish, (pair for batch in analysed for pair in batch), threads=self._pace.writers)

    @property
    def confidence(self) -> float:
        """The operating point: white detections that score at least this are cells."""
        return self._plan.confidence

    def find_cells(self, image: Image, um_per_px: float | None = None) -> tuple[Detections, Scale]:
        """The white cells of one decoded image, in its pixels, and its scale."""
        work = Work(Field("image", path=None, um_per_px=um_per_px), image)  # type: ignore[arg-type]
        self._finder.measure([work])
        self._finder.find([work])
        return work.found.take(self._labeller.is_cell(work)), work.scale

    def label_boxes(self, image: Image, corners: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
        """(N, C) probabilities of cells whose (N, 4) boxes are known, cut at the field's scale; an evaluation's true boxes."""
        return self._labeller.label_boxes(image, corners, scale)

    def _open(self, one: Field) -> Work | Outcome:
        """The decoded field, or its outcome where an earlier run knows it."""
        started, stage = time.perf_counter(), "read"
        try:
            data = read_bytes(one)
            known = self._recall(one, data) if self._recall else None
            if known is not None:
                return known
            stage = "decode"
            image = decode(data, name=one.id, page=one.page)
        except ImageError as error:
            return Work.failed(FieldFailure(one, stage, str(error)))
        return Work(one, image, warnings=list(self._plan.warnings), seconds={"decode": time.perf_counter() - started})

    def _analyse(self, batch: Sequence[Work | Outcome]) -> list[tuple[Work | None, Outcome]]:
        """Each outcome of a batch, beside the work that is to be kept with it."""
        works = [w for w in batch if isinstance(w, Work) and not w.failure]
        self._finder.measure(works)
        self._finder.find(works)
        results = iter(self._labeller.label(works))
        return [(w, w.failure or next(results)) if isinstance(w, Work) else (None, w) for w in batch]

    def _regions(self, fields: Iterable[Field]) -> Iterator[Outcome]:
        return map(self._analyse_region, fields)

    def _analyse_region(self, one: Field) -> Outcome:
        """A field that is read window by window, by all threads."""
        image: Region | None = None
        try:
            region = open_region(one.path, name=one.id, page=one.page)
            known = self._recall(one, region.content) if self._recall else None
            if known is not None:
                return known
            outcome: Outcome = self._large(one, region)
            image = region
        except ImageError as error:
            outcome = FieldFailure(one, "decode", str(error))
        if self._keep:
            self._keep(outcome, image)
        return outcome

    def _finish(self, pair: tuple[Work | None, Outcome]) -> Outcome:
        work, outcome = pair
        if self._keep and work:
            self._keep(outcome, None if work.failure else work.image)
        return outcome


def at_confidence(result: FieldResult, confidence: float) -> FieldResult:
    """The result without the detections below the operating point, which an evaluation keeps for its curves."""
    kept = result.detections.scores >= confidence
    return replace(
        result,
        detections=result.detections.take(kept),
        is_white=result.is_white[kept],
        probabilities=result.probabilities[kept],
        cell_warnings=tuple(w for w, k in zip(result.cell_warnings, kept, strict=True) if k),
    )


def _batches(opened: Iterable[Work | Outcome], most: int, most_pixels: int) -> Iterator[list[Work | Outcome]]:
    """Fields that follow each other, at most so many, and so many pixels, together; never none."""
    batch: list[Work | Outcome] = []
    n_pixels = 0
    for one in opened:
        n_more = one.n_pixels if isinstance(one, Work) else 0
        if batch and (len(batch) >= most or n_pixels + n_more > most_pixels):
            yield batch
            batch, n_pixels = [], 0
        batch.append(one)
        n_pixels += n_more
    if batch:
        yield batch
