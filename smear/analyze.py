"""From fields to results: decode, measure the scale, tile, detect, crop, classify; tiles and crops are batched across fields."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from dataclasses import field as member
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.drift import judge
from smear.errors import ImageError
from smear.images import crop, decode, read_bytes, resize
from smear.plan import Plan
from smear.quality import measure_quality
from smear.scale import WHITE_PER_RED, estimate_scale, given_scale
from smear.settings import NORMAL_RBC_PX
from smear.tiles import merge, plan_tiles
from smear.types import UNKNOWN_SCALE, Classifier, Detections, Detector, Field, FieldFailure, FieldResult, Image, Outcome, Scale

UNSURE_SPREAD = 0.35  # relative interquartile range of the red cells above which the ruler is called unsure
FEW_RED_CELLS = 8
SAME_OBJECT_IOU = 0.8  # boxes of two classes overlapping more are one object, named by the higher score
MAX_GROWTH = 8.0  # a field is enlarged at most this much: below, a cell has too few pixels to be found
MAX_RESIZED_PIXELS = 2**28  # a resized field takes at most 0.8 GB, and so do all that are searched together
NO_RULER = "scale unknown: neither red nor white cells to measure by; the field was searched at its longest side"
BY_WHITE_CELLS = "scale estimated from white cells: no red cells found"
UNSURE_SCALE = "scale unsure: few red cells, or of very different sizes"
TOO_SMALL = "cells too small to be enlarged to the detector's scale: some may be missed"
NO_CONTRACT_SCALE = "cell cropped by its box: the field's scale is unknown"


@dataclass
class _Work:
    """A field on its way through the stages."""

    field: Field
    image: Image
    scale: Scale = UNKNOWN_SCALE
    found: Detections = member(default_factory=Detections.empty)
    warnings: list[str] = member(default_factory=list)
    seconds: dict[str, float] = member(default_factory=dict)
    quality: dict[str, float] = member(default_factory=dict)
    failure: FieldFailure | None = None


class Analyzer:
    """Analyses fields with a detector and, when given, a classifier.

    Args:
        white: indices of the detector's white-cell classes. recall: a result computed before, by the field and its bytes, or None.
        keep: called with every fresh outcome and its image (None when it could not be decoded), before it is yielded.
    """

    def __init__(
        self,
        detector: Detector,
        classifier: Classifier | None,
        plan: Plan,
        *,
        white: Sequence[int],
        recall: Callable[[Field, bytes], Outcome | None] | None = None,
        keep: Callable[[Outcome, Image | None], None] | None = None,
    ) -> None:
        self._detector, self._classifier, self._plan, self._white = detector, classifier, plan, tuple(white)
        self._recall, self._keep = recall, keep

    def __call__(self, fields: Iterable[Field]) -> Iterator[Outcome]:
        """One outcome a field, in order; a field that cannot be read is a FieldFailure, a bug is a traceback."""
        for some in _batches(fields, self._plan.fields_per_batch):
            opened = [self._open(f) for f in some]
            fresh = [w for w in opened if isinstance(w, _Work)]
            self._measure([w for w in fresh if not w.failure])
            self._detect([w for w in fresh if not w.failure])
            results = iter(self._label([w for w in fresh if not w.failure]))
            for work in opened:
                outcome: Outcome = work if not isinstance(work, _Work) else work.failure or next(results)
                if self._keep and isinstance(work, _Work):
                    self._keep(outcome, None if work.failure else work.image)
                yield outcome

    @property
    def confidence(self) -> float:
        """The operating point: white detections that score at least this are cells."""
        return self._plan.confidence

    def find_cells(self, image: Image, um_per_px: float | None = None) -> tuple[Detections, Scale]:
        """The white cells of one decoded image, in its pixels, and its scale."""
        work = _Work(Field("image", path=None, um_per_px=um_per_px), image)  # type: ignore[arg-type]
        self._measure([work])
        self._detect([work])
        found = work.found
        return found.take(np.isin(found.labels, self._white) & (found.scores >= self._plan.confidence)), work.scale

    def _open(self, one: Field) -> _Work | Outcome:
        started, stage = time.perf_counter(), "read"
        try:
            data = read_bytes(one)
            known = self._recall(one, data) if self._recall else None
            if known is not None:
                return known
            stage = "decode"
            image = decode(data, name=one.id, page=one.page)
        except ImageError as error:
            return _Work(one, np.zeros((0, 0, 3), np.uint8), failure=FieldFailure(one, stage, str(error)))
        return _Work(one, image, warnings=list(self._plan.warnings), seconds={"decode": time.perf_counter() - started})

    def _measure(self, works: Sequence[_Work]) -> None:
        for work in works:
            um_per_px = work.field.um_per_px or self._plan.um_per_px
            with _timed(work, "scale"):
                if um_per_px is not None:
                    work.scale = given_scale(um_per_px)
                elif self._plan.ruler is not None:
                    work.scale = estimate_scale(work.image, self._detector, self._plan.ruler)
            work.warnings += _scale_warnings(work.scale) if self._plan.ruler else []

    def _detect(self, works: Sequence[_Work]) -> None:
        """Search all fields, as many together as fit `MAX_RESIZED_PIXELS`."""
        together: list[_Work] = []
        n_pixels = 0.0
        for work in works:
            n_more = work.image.shape[0] * work.image.shape[1] * self._factor(work) ** 2
            if together and n_pixels + n_more > MAX_RESIZED_PIXELS:
                self._search(together)
                together, n_pixels = [], 0.0
            together.append(work)
            n_pixels += n_more
        self._search(together)

    def _search(self, works: Sequence[_Work]) -> None:
        started = time.perf_counter()
        plans = []
        for work in works:
            resized = resize(work.image, self._factor(work))
            self._judge(work, resized)
            plans.append((resized, plan_tiles(resized.shape[:2], tile_px=self._plan.tile_px, overlap_px=self._plan.overlap_px)))
        views = [resized[y0:y1, x0:x1] for resized, tiles in plans for x0, y0, x1, y1 in (t.view for t in tiles)]
        found = iter(self._detector(views))
        for work, (resized, tiles) in zip(works, plans, strict=True):
            kept = [d.take(d.scores >= self._plan.floor) for d in islice(found, len(tiles))]
            merged = merge(tiles, kept, iou=self._plan.iou)
            shape = work.image.shape[:2]
            in_field = merged.rescale((shape[1] / resized.shape[1], shape[0] / resized.shape[0]))
            clipped = replace(in_field, boxes=boxes.clip(in_field.boxes, shape))
            work.found = boxes.suppress(clipped, iou_above=SAME_OBJECT_IOU, across_classes=True)
        _share(works, "detect", time.perf_counter() - started - sum(w.seconds["quality"] for w in works))

    def _judge(self, work: _Work, resized: Image) -> None:
        """What the field looks like to the detector, and how far that is from what it was trained on."""
        plan = self._plan
        with _timed(work, "quality"):
            measured = measure_quality(resized, rbc_px=plan.ruler.rbc_px if plan.ruler else NORMAL_RBC_PX)
            if work.scale.is_known:
                measured |= {"rbc_px": work.scale.rbc_px, "resized": self._factor(work)}
            work.quality, warnings = judge(measured, plan.reference)
            work.warnings += warnings

    def _factor(self, work: _Work) -> float:
        """How much a field is resized for the detector."""
        height, width = work.image.shape[:2]
        largest = min(MAX_GROWTH, (MAX_RESIZED_PIXELS / (height * width)) ** 0.5)
        if self._plan.ruler is None or not work.scale.is_known:
            return min(self._plan.letterbox_px / max(height, width), largest)
        wanted = self._plan.ruler.rbc_px / work.scale.rbc_px
        if wanted > largest and TOO_SMALL not in work.warnings:
            work.warnings.append(TOO_SMALL)
        return min(wanted, largest)

    def _label(self, works: Sequence[_Work]) -> list[FieldResult]:
        started = time.perf_counter()
        rows = [np.isin(w.found.labels, self._white) & (w.found.scores >= self._plan.confidence) for w in works]
        cut = [self._crops(w.image, w.found.boxes[white], w.scale) for w, white in zip(works, rows, strict=True)]
        classes = self._classifier.classes if self._classifier else ()
        labelled = self._classify([c for crops, _ in cut for c in crops])
        _share(works, "classify", time.perf_counter() - started)
        results, start = [], 0
        for work, is_white, (crops, notes) in zip(works, rows, cut, strict=True):
            probabilities = np.full((len(work.found), len(classes)), np.nan, np.float32)
            if len(crops):
                probabilities[is_white] = labelled[start : start + len(crops)]
            start += len(crops)
            results.append(self._result(work, is_white, probabilities, notes))
        return results

    def label_boxes(self, image: Image, corners: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
        """(N, C) probabilities of cells whose (N, 4) boxes are known, cut at the field's scale; an evaluation's true boxes."""
        return self._classify(self._crops(image, corners, scale)[0])

    def _classify(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        if self._classifier is None or not crops:
            return np.zeros((0, len(self._classifier.classes) if self._classifier else 0), np.float32)
        return self._classifier(np.stack(crops))

    def _crops(self, image: Image, corners: NDArray[np.float32], scale: Scale) -> tuple[list[Image], list[tuple[str, ...]]]:
        """One crop a box by the classifier's contract, and the warnings of each."""
        contract = self._plan.contract
        if self._classifier is None or contract is None:
            return [], [()] * len(corners)
        by_box = contract.unit == "rbc" and not scale.is_known
        if by_box:
            contract = contract.model_copy(update={"unit": "box", "width": contract.width / WHITE_PER_RED})
        cut = [crop(image, box, contract, rbc_px=scale.rbc_px, out_px=self._plan.crop_px) for box in corners]
        return [picture for picture, _ in cut], [(*notes, *((NO_CONTRACT_SCALE,) if by_box else ())) for _, notes in cut]

    def _result(
        self, work: _Work, is_white: NDArray[np.bool_], probabilities: NDArray[np.float32], notes: Sequence[tuple[str, ...]]
    ) -> FieldResult:
        height, width = work.image.shape[:2]
        of_row = dict(zip(np.flatnonzero(is_white).tolist(), notes, strict=True))
        return FieldResult(
            field=work.field,
            shape_hw=(height, width),
            detections=work.found,
            detector_classes=self._detector.classes,
            is_white=is_white,
            probabilities=probabilities,
            classes=self._classifier.classes if self._classifier else (),
            review_below=self._plan.review_below,
            scale=work.scale,
            warnings=tuple(work.warnings),
            cell_warnings=tuple(of_row.get(i, ()) for i in range(len(work.found))),
            seconds=work.seconds,
            quality=work.quality,
        )


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


def _scale_warnings(scale: Scale) -> list[str]:
    if not scale.is_known:
        return [NO_RULER]
    if scale.source == "white cells":
        return [BY_WHITE_CELLS]
    if scale.source == "red cells" and (scale.n < FEW_RED_CELLS or scale.spread > UNSURE_SPREAD):
        return [UNSURE_SCALE]
    return []


def _batches(fields: Iterable[Field], size: int) -> Iterator[list[Field]]:
    rest = iter(fields)
    while some := list(islice(rest, size)):
        yield some


@contextmanager
def _timed(work: _Work, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    work.seconds[stage] = time.perf_counter() - started


def _share(works: Sequence[_Work], stage: str, seconds: float) -> None:
    for work in works:
        work.seconds[stage] = seconds / len(works)
