"""The features of cells as one matrix, computed once for each file and shared by all systems and folds of a run."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.classical import deep
from classification.features import choose, compute, feature_names
from classification.pictures import Pictures
from classification.recipes import Classical
from smear.errors import TrainingError
from smear.line import n_cores
from smear.types import Image

DEFAULT_PX = 224  # side of the crops that are measured where a recipe does not say
CHUNK = 128  # crops between two looks at the clock
MOST_BYTES = 1 << 30  # of features that are kept; the oldest go first

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Measure:
    """What is measured of a crop, by families of `classification.features` and by ResNet50.

    size: side, pixels, that crops are brought to. grey, blur: as in the recipe. key: two of the same key give the same numbers.
    """

    families: tuple[str, ...]
    size: int
    grey: bool
    blur: int
    extractor: deep.Extractor | None = field(repr=False)

    @classmethod
    def of(cls, recipe: Classical, *, imgsz: int | None, weights: str) -> "Measure":
        """imgsz: at most; raises as `deep.open_extractor`."""
        extractor = deep.open_extractor(weights) if deep.FAMILY in recipe.features else None
        wanted = recipe.imgsz or DEFAULT_PX
        size = max(min(wanted, imgsz or wanted), deep.MIN_PX if extractor else 0)
        families = tuple(name for name in recipe.features if name != deep.FAMILY)
        return cls(families, size, recipe.grey, recipe.blur, extractor)

    @property
    def key(self) -> str:
        return repr((self.families, self.size, self.grey, self.blur, self.extractor and self.extractor.digest))

    @property
    def names(self) -> tuple[str, ...]:
        """F names, of the columns of `__call__`."""
        own = feature_names(self.families) if self.families else ()
        learned = tuple(f"{deep.FAMILY}_{i}" for i in range(deep.N_FEATURES)) if self.extractor else ()
        return (*own, *learned)

    @property
    def may_miss(self) -> bool:
        """Whether there are crops of which something cannot be measured."""
        return any(family.needs_nucleus for family in choose(self.families or "raw_pixels"))

    def __call__(self, crops: Image, *, device: str) -> Values:
        """(N, size, size, 3) uint8, N ≥ 1 → (N, F); NaN where a crop has no cell or nucleus."""
        prepared = self._prepared(crops)
        parts = [compute(prepared, self.families, threads=n_cores()).values] if self.families else []
        if self.extractor:
            parts.append(self.extractor(prepared, device))
        values = np.concatenate(parts, axis=1)
        return np.where(np.isfinite(values), values, np.float32(np.nan))

    def _prepared(self, crops: Image) -> Image:
        if self.blur:
            crops = np.stack([cv2.medianBlur(crop, self.blur) for crop in crops])
        if self.grey:
            crops = np.stack([cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for crop in crops])
        return crops


class Store:
    """Rows of features by measure and file; crops that are in memory only are measured each time."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._rows: OrderedDict[tuple[str, str], tuple[Values, float]] = OrderedDict()
        self._bytes, self._most = 0, most_bytes

    def get(self, pictures: Pictures, measure: Measure, *, device: str = "cpu", deadline: float | None = None) -> tuple[Values, float]:
        """(N, F) float32, and the seconds that it took, or had taken, to measure these crops.

        Raises:
            ImageError, AnnotationError: a crop cannot be read.
            TrainingError: the deadline came first; what was measured by then is kept.
        """
        keys = [(measure.key, _digest(path)) if path != Path() else None for path in pictures.paths]
        found = {i: self._rows[key] for i, key in enumerate(keys) if key is not None and key in self._rows}
        missing = np.array([i for i in range(len(pictures)) if i not in found], np.int64)
        for start in range(0, len(missing), CHUNK):
            if deadline is not None and time.monotonic() >= deadline:
                raise TrainingError(
                    f"the time was up when {len(found)} of {len(pictures)} crops were measured; what there is is kept for the next fit"
                )
            rows = missing[start : start + CHUNK]
            began = time.monotonic()
            values = measure(pictures.part(rows).at(measure.size)[:], device=device)
            each = (time.monotonic() - began) / len(rows)
            for i, row in zip(rows.tolist(), values, strict=True):
                found[i] = (row, each)
                self._keep(keys[i], row, each)
        if not found:
            return np.zeros((0, len(measure.names)), np.float32), 0.0
        return np.stack([found[i][0] for i in range(len(pictures))]), sum(found[i][1] for i in range(len(pictures)))

    def _keep(self, key: tuple[str, str] | None, row: Values, seconds: float) -> None:
        if key is None or key in self._rows:
            return
        self._rows[key] = (row.copy(), seconds)  # a view would keep its whole chunk
        self._bytes += row.nbytes
        while self._bytes > self._most:
            _, (old, _) = self._rows.popitem(last=False)
            self._bytes -= old.nbytes


STORE = Store()  # of this process


def matrix(values: Values, *, flag: bool) -> NDArray[np.float64]:
    """(N, F) float32 → (N, F) float64, or (N, F + 1) with a last column that says whether one of the others is NaN."""
    wide = values.astype(np.float64)
    return np.concatenate([wide, np.isnan(wide).any(axis=1, keepdims=True)], axis=1) if flag else wide


def _digest(path: Path) -> str:
    """SHA-256 of a file; "" for one that is gone, which says so when it is read."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return _hashed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 18)
def _hashed(path: Path, changed: int, size: int) -> str:
    del changed, size  # the same file is not read twice, another one under its name is
    return hashlib.sha256(path.read_bytes()).hexdigest()
