"""The crops of a table that can be read: each is looked at once, what cannot be read is left out by name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from classification.crops import CropTable
from smear.errors import AnnotationError, SmearError
from smear.line import ahead, n_cores

T = TypeVar("T")

Watch = Callable[[Iterable[Any], int], Iterable[Any]]  # (n items, n) → the same items, perhaps with a progress bar


@dataclass(frozen=True)
class Readable(Generic[T]):
    """N of the M crops of a table.

    rows (N,): theirs in that table. looks (N): what was seen of each. dropped: one entry a crop that was left out, `file` and `error`.
    """

    table: CropTable
    rows: NDArray[np.int64]
    looks: tuple[T, ...]
    dropped: tuple[dict[str, str], ...]

    @property
    def warnings(self) -> list[str]:
        if not self.dropped:
            return []
        n_all = len(self.table) + len(self.dropped)
        return [f"{len(self.dropped)} of {n_all} crops cannot be read and were left out, the first: {self.dropped[0]['error']}"]


def bar(what: str, *, shown: bool, unit: str = "it") -> Watch:
    """A bar on stderr while the items pass, if it is to be shown; gone when they have."""
    from tqdm import tqdm  # not needed to say --help

    return lambda items, n: tqdm(items, total=n, desc=what, unit=unit, leave=False, dynamic_ncols=True, disable=not shown)


def look_at(table: CropTable, look: Callable[[Path], T], *, where: str, watch: Watch = lambda crops, n: crops) -> Readable[T]:
    """Look at M crops, a few side by side, in order.

    Args:
        look: what is wanted of a file; may raise SmearError. where: the tables, for messages. watch: wraps the M looks.

    Raises:
        AnnotationError: none of them can be read.
    """
    looked = list(watch(ahead(partial(_try, look), table.paths, threads=n_cores()), len(table)))
    files = table.column("file").tolist()
    dropped = tuple({"file": file, "error": str(error)} for file, (_, error) in zip(files, looked, strict=True) if error is not None)
    rows = np.array([i for i, (_, error) in enumerate(looked) if error is None], np.int64)
    if not len(rows):
        raise AnnotationError(f"{where}: no crop can be read; the first: {dropped[0]['error']}")
    return Readable(table.take(rows), rows, tuple(looked[i][0] for i in rows), dropped)


def _try(look: Callable[[Path], T], path: Path) -> tuple[T | None, SmearError | None]:
    try:
        return look(path), None
    except SmearError as error:
        return None, error
