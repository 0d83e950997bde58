"""Label the white cells of fields that were searched: cut each by the crop contract, classify all together."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smear.optics import HostOptics, Optics, Picture
from smear.plan import Plan
from smear.scale import WHITE_PER_RED
from smear.types import Classifier, FieldResult, Image, Scale
from smear.work import Work, share

NO_CONTRACT_SCALE = "cell cropped by its box: the field's scale is unknown"


class Labeller:
    """Labels white cells with a classifier, by a plan; without a classifier cells stay without a label.

    Args:
        detector_classes: names of the detector's classes. white: indices of those that are white cells.
    """

    def __init__(
        self,
        classifier: Classifier | None,
        plan: Plan,
        *,
        detector_classes: Sequence[str],
        white: Sequence[int],
        optics: Optics = HostOptics(),  # noqa: B008 - it has no state
    ) -> None:
        self._classifier, self._plan, self._optics = classifier, plan, optics
        self._detector_classes, self._white = tuple(detector_classes), tuple(white)

    def label(self, works: Sequence[Work]) -> list[FieldResult]:
        """The results of these fields, in their order."""
        started = time.perf_counter()
        rows = [self.is_cell(work) for work in works]
        cut = [self._crops(self._picture(w), w.found.boxes[white], w.scale) for w, white in zip(works, rows, strict=True)]
        classes = self._classifier.classes if self._classifier else ()
        labelled = self._classify([c for crops, _ in cut for c in crops])
        share(works, "classify", time.perf_counter() - started)
        results, start = [], 0
        for work, is_white, (crops, notes) in zip(works, rows, cut, strict=True):
            probabilities = np.full((len(work.found), len(classes)), np.nan, np.float32)
            if len(crops):
                probabilities[is_white] = labelled[start : start + len(crops)]
            start += len(crops)
            results.append(self._result(work, is_white, probabilities, notes))
            work.picture = None
        return results

    def is_cell(self, work: Work) -> NDArray[np.bool_]:
        """(N,) which detections are white cells: of a white class, and sure enough."""
        return np.isin(work.found.labels, self._white) & (work.found.scores >= self._plan.confidence)

    def label_boxes(self, image: Image, corners: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
        """(N, C) probabilities of cells whose (N, 4) boxes are known, cut at the field's scale; an evaluation's true boxes."""
        return self._classify(self._crops(self._optics.place(image), corners, scale)[0])

    def _picture(self, work: Work) -> Picture:
        return self._optics.place(work.image) if work.picture is None else work.picture

    def _classify(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        if self._classifier is None or not crops:
            return np.zeros((0, len(self._classifier.classes) if self._classifier else 0), np.float32)
        return self._classifier(self._optics.stack(crops))

    def _crops(self, picture: Picture, corners: NDArray[np.float32], scale: Scale) -> tuple[list[Picture], list[tuple[str, ...]]]:
        """One crop a box by the classifier's contract, and the warnings of each."""
        contract = self._plan.contract
        if self._classifier is None or contract is None:
            return [], [()] * len(corners)
        by_box = contract.unit == "rbc" and not scale.is_known
        if by_box:
            contract = contract.model_copy(update={"unit": "box", "width": contract.width / WHITE_PER_RED})
        views, notes = self._optics.cut(picture, corners, contract, rbc_px=scale.rbc_px, out_px=self._plan.crop_px)
        return views, [(*some, *((NO_CONTRACT_SCALE,) if by_box else ())) for some in notes]

    def _result(
        self, work: Work, is_white: NDArray[np.bool_], probabilities: NDArray[np.float32], notes: Sequence[tuple[str, ...]]
    ) -> FieldResult:
        height, width = work.image.shape[:2]
        of_row = dict(zip(np.flatnonzero(is_white).tolist(), notes, strict=True))
        return FieldResult(
            field=work.field,
            shape_hw=(height, width),
            detections=work.found,
            detector_classes=self._detector_classes,
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
