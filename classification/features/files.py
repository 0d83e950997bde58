"""Features of the crops of a table, measured by several processes; a crop that cannot be read is a row of NaN with its error."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from classification.crops import read_crop
from classification.features.families import compute, feature_names
from classification.features.family import Values
from smear.errors import SmearError

CHUNK = 64  # crops that a process reads and measures at a time
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Measured:
    """N crops by F features, as `Features`; errors (N,): why a crop could not be read, None when it was."""

    names: tuple[str, ...]
    values: Values
    warnings: tuple[tuple[str, ...], ...]
    errors: tuple[str | None, ...]


def measure_files(paths: Sequence[Path], families: str | Sequence[str], *, size: int, workers: int = 0) -> Iterator[Measured]:
    """Measure crops chunk by chunk, in order; joined they are N rows (`join`).

    Args:
        size: side that crops are brought to, pixels.
        workers: processes; 0: this one alone. The values are the same.

    Raises:
        ConfigError: an unknown family.
        MissingExtra: a package that a family needs is not installed.
    """
    feature_names(families)
    work = partial(_measure, families=families, size=size)
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    if workers == 0 or len(chunks) < 2:
        yield from map(work, chunks)
        return
    with _pool(min(workers, len(chunks))) as pool:
        yield from pool.map(work, chunks)


def join(parts: Iterable[Measured], names: tuple[str, ...]) -> Measured:
    """The chunks of `measure_files` as one; there may be none."""
    found = list(parts)
    values = np.concatenate([np.zeros((0, len(names)), np.float32), *(part.values for part in found)])
    return Measured(names, values, *(tuple(x for part in found for x in getattr(part, key)) for key in ("warnings", "errors")))


def _measure(paths: Sequence[Path], *, families: str | Sequence[str], size: int) -> Measured:
    crops = np.zeros((len(paths), size, size, 3), np.uint8)
    errors: list[str | None] = [None] * len(paths)
    for i, path in enumerate(paths):
        try:
            crops[i] = read_crop(path, size=size)
        except SmearError as error:
            errors[i] = str(error)
    readable = np.array([error is None for error in errors], bool)
    found = compute(crops[readable], families)
    values = np.full((len(paths), len(found.names)), np.nan, np.float32)
    values[readable] = found.values
    told = iter(found.warnings)
    return Measured(found.names, values, tuple(next(told) if good else () for good in readable), tuple(errors))


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes of one thread each: a forked one would share locks with threads that it has not got."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read by numpy's libraries when a process starts; two on one core wait for each other
    made = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))
    try:
        yield made
    finally:
        made.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
