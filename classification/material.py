"""What a training works on, read and checked before the first step: pictures, labels, stains, and who is in which part."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.calibration import require_disjoint
from classification.crops import CropTable, read_crops
from classification.pictures import Pictures, load_pictures
from classification.settings import TrainSettings
from smear.cards import count_splits
from smear.errors import AnnotationError, ConfigError
from smear.memory import free_bytes


@dataclass(frozen=True)
class Material:
    """N crops, their table and stains (N,), and the rows to train on, validate on, and hold out."""

    table: CropTable
    pictures: Pictures
    stains: NDArray[np.str_]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.table.labels

    def groups(self) -> dict[str, dict[str, int]]:
        """Crops, slides and patients of the parts to train and to validate on; those of two sources are never the same."""
        used = self.table.take(np.concatenate([self.train, self.val]))
        source, split, slide, patient = (used.column(name).tolist() for name in ("source", "split", "slide", "patient"))
        rows = zip(split, source, slide, patient, strict=True)
        return count_splits((part, s and f"{where}/{s}", p and f"{where}/{p}") for part, where, s, p in rows)


def prepare(settings: TrainSettings, data: Sequence[Path]) -> Material:
    """Read the crops, load the pictures that fit in memory, set the held-out stain aside.

    Raises:
        AnnotationError, ImageError: the tables, their splits or their pictures are wrong.
        ConfigError: no such stain, or a choice that these splits cannot support.
    """
    table = read_crops(data, settings.classes, label_column=settings.label_column)
    stains, splits = stain_names(table, settings.stain_column), table.column("split")
    held_out = np.zeros(len(table), bool)
    if settings.holdout.stain is not None:
        held_out = stains == settings.holdout.stain
        if not held_out.any():
            raise ConfigError(
                f"holdout.stain: no crop has {settings.stain_column} {settings.holdout.stain!r}; it is one of {_named(stains)}"
            )
    train, val = (np.flatnonzero((splits == name) & ~held_out) for name in ("train", "val"))
    for name, rows in (("train", train), ("val", val)):
        missing = [c for i, c in enumerate(table.classes) if not (table.labels[rows] == i).any()]
        if missing:
            raise AnnotationError(f"{', '.join(map(str, data))}: split {name!r} has no crop of class {missing[0]!r}")
    require_disjoint(table, val, train)
    by_stain = settings.select != "val_auc" or settings.balance.by == "class_stain"
    if by_stain and not (stains[np.concatenate([train, val])] != "").all():
        raise ConfigError(
            f"stain_column: select {settings.select!r} and balance.by {settings.balance.by!r} need a stain for every crop, "
            f"but column {settings.stain_column!r} is missing or has empty values"
        )
    rows = (train, val, np.flatnonzero(held_out))
    wanted = np.concatenate(rows) if settings.cache else np.zeros(0, np.int64)
    free = free_bytes()
    most = None if free is None else int(free * settings.cache)
    return Material(table, load_pictures(table, size=settings.imgsz, wanted=wanted, most_bytes=most), stains, *rows)


def stain_names(table: CropTable, column: str) -> NDArray[np.str_]:
    """The stain of every crop, (N,): the column's value; with several sources `source/value`, or the source where it is empty.

    Two sources may both number their stains from 0; and a laboratory whose slides were not told apart is one stain.
    """
    sources, stains = table.column("source"), table.column(column)
    if len(set(sources.tolist())) < 2:
        return stains
    return np.array([f"{source}/{stain}" if stain else source for source, stain in zip(sources, stains, strict=True)], dtype=np.str_)


def _named(stains: NDArray[np.str_]) -> str:
    return ", ".join(sorted(set(stains.tolist()) - {""})) or "none at all"
