"""The crops that systems are compared on: read and looked at once, what cannot be read dropped by name, each with its group."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.crops import GROUPS, CropTable, label_names, read_checked, read_crops
from classification.folds import choose_rows
from classification.readable import Watch, look_at
from classification.systems import Cells
from smear.errors import AnnotationError, ConfigError
from smear.types import Image

POSITIVE = "ALL"  # comes first among the classes where there is one of this name
FINER = ("patient", "slide", "group", "field")  # what stands in for a group that is not known: the next of these that is
N_TIMED = 32  # crops on which systems are timed


@dataclass(frozen=True)
class Bench:
    """N crops that can be read, and what is known of them.

    groups (N,) str, of kind `unit`: crops of one are not independent. dropped: one entry a crop that was left out, `file` and `error`.
    digest: of names, labels, groups and pixels; another one means other crops. timed (M, S, S, 3): the first `N_TIMED` crops of the
    commonest size, to time systems without reading files.
    """

    table: CropTable
    groups: NDArray[np.str_]
    unit: str
    dropped: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]
    digest: str
    timed: Image

    @property
    def cells(self) -> Cells:
        return Cells.of_table(self.table, self.groups)

    @property
    def files(self) -> list[str]:
        return file_names(self.table)


def read_bench(
    data: Sequence[Path],
    *,
    classes: Sequence[str] = (),
    label_column: str = "label",
    group: str | None = "group",
    split: str | None = None,
    max_cells: int | None = None,
    seed: int = 0,
    watch: Watch = lambda crops, n: crops,
) -> Bench:
    """Read tables and decode every crop once.

    Unless `split` is given, that column of the tables plays no role, so crops of all three are compared on.

    Args:
        classes: in this order, the first is the positive one; none: those of the table, `POSITIVE` first, then by name.
        group: column that says which crops belong together, see `draw`.
        split: use the crops of this one alone. max_cells: at most so many crops, every group keeping its share.
        watch: wraps the n crops that are read, for a progress bar.

    Raises:
        AnnotationError: a table is malformed, has no crop in that split, or no crop can be read.
        ConfigError: there is no such column, or nothing in it.
    """
    table = read_crops(data, classes or _classes(data, label_column), label_column=label_column)
    if not len(table):
        raise AnnotationError(f"{', '.join(map(str, data))}: holds no crops")
    table = table.split(split) if split else table
    drawn = draw(table, group, max_cells=max_cells, seed=seed)
    found = look_at(drawn.table, _look, where=", ".join(map(str, data)), watch=watch)
    table, groups = found.table, drawn.groups[found.rows]
    digests = [digest for _, digest in found.looks]
    told = [*drawn.warnings, *found.warnings, *_twins(digests, table, groups, drawn.unit)]
    timed = _timed(table, [size for size, _ in found.looks])
    return Bench(table, groups, drawn.unit, found.dropped, tuple(told), _digest(table, groups, digests), timed)


@dataclass(frozen=True)
class Drawn:
    """N crops of a table with their groups (N,), of kind `unit`."""

    table: CropTable
    groups: NDArray[np.str_]
    unit: str
    warnings: tuple[str, ...]


def draw(table: CropTable, group: str | None, *, max_cells: int | None, seed: int) -> Drawn:
    """At most so many crops of a table, every group keeping its share; None: all.

    Args:
        group: column that says which crops belong together; where a crop has no value, the next of `FINER` stands in. None: the coarsest
            of `FINER` that is known, else each crop by itself.

    Raises:
        ConfigError: there is no such column, or nothing in it.
    """
    unit = group or next((name for name in FINER if (table.column(name) != "").any()), "file")
    groups, told = crop_groups(table, unit)
    rows = choose_rows(groups, most=max_cells or len(table), seed=seed)
    if len(rows) < len(table):
        told.append(f"{len(rows)} of {len(table)} crops were drawn, seed {seed}")
    return Drawn(table.take(rows), groups[rows], unit, tuple(told))


def file_names(table: CropTable) -> list[str]:
    """A name for each crop: its file as the table has it, behind its source if there are several."""
    sources, files = table.column("source").tolist(), table.column("file").tolist()
    return files if len(set(sources)) < 2 else [f"{source}/{file}" for source, file in zip(sources, files, strict=True)]


def crop_groups(table: CropTable, column: str) -> tuple[NDArray[np.str_], list[str]]:
    """(N,) `source/value` of each crop's group, and warnings.

    Raises:
        ConfigError: the tables have no such column, or nothing in it; the message says which columns would do.
    """
    values = table.column(column)
    known = [name for name in GROUPS if (table.column(name) != "").any()]
    if column not in table.columns:
        raise ConfigError(f"--group: there is no column {column!r}; group by one of {', '.join(known) or 'a column of your own'}")
    if not (values != "").any():
        raise ConfigError(f"--group: column {column!r} is empty; group by one of {', '.join(known) or 'a column of your own'}")
    finer = FINER[FINER.index(column) + 1 :] if column in FINER else FINER[1:]
    named, told = values.astype(object), []
    for name in (*finer, "file"):
        missing = (named == "") & (table.column(name) != "")
        if missing.any():
            told.append(f"{int(missing.sum())} of {len(table)} crops have no {column}; their {name} stands in")
        named[missing] = [f"{name} {value}" for value in table.column(name)[missing]]
    return np.array([f"{source}/{name}" for source, name in zip(table.column("source"), named, strict=True)], np.str_), told


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Classes, `POSITIVE` first, then by name."""
    return tuple(sorted(names, key=lambda name: (name != POSITIVE, name)))


def _look(path: Path) -> tuple[int, bytes]:
    """Side and digest of the pixels."""
    image, digest = read_checked(path)
    return image.shape[0], digest


def _timed(table: CropTable, sizes: Sequence[int]) -> Image:
    size = int(np.bincount(sizes).argmax())
    rows = [i for i, side in enumerate(sizes) if side == size][:N_TIMED]
    return np.stack([read_checked(table.paths[i])[0] for i in rows])


def _twins(digests: Sequence[bytes], table: CropTable, groups: NDArray[np.str_], unit: str) -> list[str]:
    """Warnings about pictures that are there twice, in two groups or under two labels."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(digest, i), i) for i, digest in enumerate(digests)]
    files, told = table.column("file").tolist(), []
    for what, values in ((f"in two {unit}s", groups), ("under two labels", table.labels)):
        found = [(a, b) for a, b in pairs if values[a] != values[b]]
        if found:
            a, b = found[0]
            told.append(f"{len(found)} crops are the same picture as another {what}, {files[a]} and {files[b]} for one")
    return told


def _digest(table: CropTable, groups: NDArray[np.str_], digests: Sequence[bytes]) -> str:
    found = hashlib.sha256(repr((table.classes, table.labels.tolist(), groups.tolist(), table.column("file").tolist())).encode())
    found.update(b"".join(digests))
    return found.hexdigest()


def _classes(data: Sequence[Path], label_column: str) -> tuple[str, ...]:
    names = label_names(data, label_column) - {""}
    if len(names) == 1:
        raise AnnotationError(
            f"{', '.join(map(str, data))}: {label_column}: all crops are {next(iter(names))!r}; systems need two classes to tell apart"
        )
    return in_order(names)
