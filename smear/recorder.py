"""What a network gets to see in an analysis: a runtime that passes every batch on, and keeps some pictures of it for calibration."""

import threading

import numpy as np
from numpy.typing import NDArray

from smear.types import Runtime

MAX_SIDE = 640  # pixels: of a larger window a part is kept; the ranges of its maps are local


class Recorder:
    """Keeps at most `n` pictures of all that it passes on, each with the same chance, drawn by `seed`.

    The choice depends on the order of the batches: the same only where one lane calls.

    Args:
        runtime: opened without `Pixels`: (B, 3, H, W) float32 in.
    """

    takes_pixels = False

    def __init__(self, runtime: Runtime, *, n: int, seed: int) -> None:
        self.name, self.device = f"{runtime.name}-recorded", runtime.device
        self._runtime, self._n, self._random = runtime, n, np.random.default_rng(seed)
        self._n_seen, self._kept, self._lock = 0, [], threading.Lock()  # type: ignore[var-annotated]

    def __call__(self, batch: NDArray) -> tuple[NDArray[np.float32], ...]:
        with self._lock:
            for picture in batch:
                self._consider(picture)
        return self._runtime(batch)

    def batches(self) -> list[NDArray[np.float32]]:
        """The pictures that were kept, (1, 3, H, W) float32 each."""
        return [picture[None].astype(np.float32) for picture in self._kept]

    def _consider(self, picture: NDArray[np.float32]) -> None:
        """Source: reservoir sampling, algorithm R (Vitter, 1985)."""
        self._n_seen += 1
        place = len(self._kept) if len(self._kept) < self._n else int(self._random.integers(self._n_seen))
        if place >= self._n:
            return
        part = picture
        for axis in (1, 2):
            start = int(self._random.integers(part.shape[axis] - MAX_SIDE + 1)) if part.shape[axis] > MAX_SIDE else 0
            part = part.take(range(start, start + min(MAX_SIDE, part.shape[axis])), axis=axis)
        half = part.astype(np.float16)  # 11 bits hold 256 levels, at half the memory
        self._kept[place : place + 1] = [half]
