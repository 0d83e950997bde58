"""The frozen, array-shaped values that every room speaks; they depend on numpy alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from dataclasses import field as member
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # RGB (H, W, 3)
ScaleSource = Literal["given", "red cells", "white cells", "unknown"]


@dataclass(frozen=True)
class Field:
    """One microscope field, not decoded yet: cheap and picklable.

    `id` is the posix path relative to the analysed folder (plus `#page` in a multi-page file);
    `slide` and `patient` group the splits and the counts; an unknown scale is None.
    """

    id: str
    path: Path
    slide: str = ""
    patient: str | None = None
    um_per_px: float | None = None
    page: int = 0


@dataclass(frozen=True)
class Tile:
    """A window on a field, in int pixels x0 y0 x1 y1: `view` is what is seen, `core` what is owned."""

    view: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


@dataclass(frozen=True)
class Detections:
    """N boxes with scores and class indices; arrays are checked once and then read-only.

    boxes (N, 4) float32, x0 y0 x1 y1 in pixels, half-open, x0 <= x1, y0 <= y1;
    scores (N,) float32 in [0, 1]; labels (N,) int64, 0 or more. N may be 0.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        boxes = _frozen(self.boxes, np.float32).reshape(-1, 4)
        scores, labels = _frozen(self.scores, np.float32).reshape(-1), _frozen(self.labels, np.int64).reshape(-1)
        if not len(boxes) == len(scores) == len(labels):
            raise ValueError(f"boxes, scores and labels differ in length: {len(boxes)}, {len(scores)}, {len(labels)}")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError("boxes and scores must be finite")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError("a box ends before it begins (x1 < x0 or y1 < y0)")
        if ((scores < 0) | (scores > 1)).any():
            raise ValueError(f"scores must be in [0, 1], got {scores.min():g} to {scores.max():g}")
        if (labels < 0).any():
            raise ValueError(f"labels must be 0 or more, got {labels.min()}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def __reduce__(self) -> tuple[type[Self], tuple[NDArray, ...]]:
        return type(self), (self.boxes, self.scores, self.labels)  # a plain copy would arrive writable in another process

    @classmethod
    def empty(cls) -> Self:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def concat(cls, parts: Iterable["Detections"]) -> Self:
        parts = [cls.empty(), *parts]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("boxes", "scores", "labels")))

    def take(self, index: NDArray) -> Self:
        """The rows that `index` (integers or booleans) selects, in that order."""
        return type(self)(self.boxes[index], self.scores[index], self.labels[index])

    def shift(self, dx: float, dy: float) -> Self:
        return type(self)(self.boxes + np.array([dx, dy, dx, dy], np.float32), self.scores, self.labels)

    def rescale(self, factor_xy: tuple[float, float]) -> Self:
        """The same boxes on an image resized by `factor_xy`."""
        return type(self)(self.boxes * np.array(factor_xy * 2, np.float32), self.scores, self.labels)


@dataclass(frozen=True)
class Scale:
    """The field's own ruler: the diameter of a red cell (7-8 µm) in pixels of the full-size field.

    `spread` is the relative interquartile range of the n cells measured (0.1 = 10 %), NaN when unknown;
    `rbc_px` is NaN when nothing could be measured.
    """

    rbc_px: float
    spread: float
    n: int
    source: ScaleSource

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    @property
    def is_known(self) -> bool:
        return bool(np.isfinite(self.rbc_px))


UNKNOWN_SCALE = Scale(float("nan"), float("nan"), 0, "unknown")


@dataclass(frozen=True)
class Cell:
    """One white cell: a row of a FieldResult. `probabilities` (C,) float32 sums to 1, or is NaN without a classifier."""

    index: int
    box: NDArray[np.float32]
    detected_as: str
    detection_score: float
    label: str
    probabilities: NDArray[np.float32]
    needs_review: bool
    warnings: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return _same(self, other)


@dataclass(frozen=True)
class FieldResult:
    """All that was found in one field.

    detections: N boxes of every class, in full-size field pixels, highest score first.
    detector_classes: names that `detections.labels` index. probabilities: (N, C) float32, rows sum to 1 for
    white cells (`is_white`) and are NaN for the rest. review_below: cells whose best probability is lower need a review.
    quality: what the field looks like (`smear.quality`), finite numbers by name; what could not be measured is left out.
    """

    field: Field
    shape_hw: tuple[int, int]
    detections: Detections
    detector_classes: tuple[str, ...]
    is_white: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    review_below: float
    scale: Scale
    warnings: tuple[str, ...] = ()
    cell_warnings: tuple[tuple[str, ...], ...] = ()
    seconds: dict[str, float] = member(default_factory=dict)
    quality: dict[str, float] = member(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return _same(self, other)

    def cells(self) -> Iterator[Cell]:
        """The white cells, numbered from 0 in reading order of `detections`."""
        for index, row in enumerate(np.flatnonzero(self.is_white)):
            p = self.probabilities[row]
            known = bool(len(p)) and bool(np.isfinite(p).all())
            yield Cell(
                index=index,
                box=self.detections.boxes[row],
                detected_as=self.detector_classes[self.detections.labels[row]],
                detection_score=float(self.detections.scores[row]),
                label=self.classes[int(p.argmax())] if known else "",
                probabilities=p,
                needs_review=not known or float(p.max()) < self.review_below,
                warnings=self.cell_warnings[row] if self.cell_warnings else (),
            )

    def count(self, detector_class: str) -> int:
        """How many detections carry that detector class; 0 for a class the detector does not know."""
        if detector_class not in self.detector_classes:
            return 0
        return int((self.detections.labels == self.detector_classes.index(detector_class)).sum())


@dataclass(frozen=True)
class FieldFailure:
    """A field that could not be analysed; the run went on. `stage` is read, decode, detect, classify or write."""

    field: Field
    stage: str
    error: str


Outcome = FieldResult | FieldFailure


@dataclass(frozen=True)
class Pixels:
    """What a network does with uint8 pixels before anything else: (x - mean) / std, per channel R, G, B, in levels of 0 to 255."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)


class Runtime(Protocol):
    """A loaded network, which any number of threads may call at once: a batch in, float32 arrays out that stay valid; B may be 0.

    The batch is (B, H, W, 3) uint8 RGB where the runtime was opened with `Pixels`, else (B, 3, H, W) float32, normalised.
    `name` as in `smear.runtimes` ("openvino-bf16"); `device` is "cpu" or "cuda:0"; `takes_pixels`: it was opened with `Pixels`.
    """

    @property
    def takes_pixels(self) -> bool: ...

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    def __call__(self, batch: NDArray) -> tuple[NDArray[np.float32], ...]: ...


class Detector(Protocol):
    """Finds cells: T uint8 (h, w, 3) tiles in, one Detections per tile in tile pixels out."""

    classes: tuple[str, ...]

    def __call__(self, tiles: Sequence[Image]) -> list[Detections]: ...


class Classifier(Protocol):
    """Labels crops: (N, S, S, 3) uint8 in, calibrated (N, C) float32 out, rows sum to 1; N may be 0."""

    classes: tuple[str, ...]

    def __call__(self, crops: Image) -> NDArray[np.float32]: ...


class Engine(Protocol):
    """Where the work runs: each worker builds its own analyser; ids join the results, not their order."""

    def __call__(
        self, make: Callable[[], Callable[[Iterable[Field]], Iterator[Outcome]]], fields: Sequence[Field]
    ) -> Iterator[Outcome]: ...


def _same(a: Any, b: Any) -> bool:
    """Equality of two values of one type by their members; arrays element by element, and unknown (NaN) equals unknown."""
    if type(a) is not type(b):
        return False
    return all(_same_member(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def _same_member(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray | float):
        return bool(np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind == "f"))
    return bool(x == y)


def _frozen(values: object, dtype: type) -> NDArray:
    array: NDArray = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
