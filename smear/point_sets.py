"""Sets whose truth is one point a cell: `points.csv` and `fields.csv`, as `python -m datasets.all_idb1` writes them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smear import annotations
from smear.errors import AnnotationError
from smear.types import Field

POINTS, FIELDS = "points.csv", "fields.csv"


@dataclass(frozen=True)
class PointSet:
    """Fields with the points of their cells: `points[i]` is (N, 2) x y in pixels of field i, N may be 0; `labels[i]` names them."""

    fields: tuple[Field, ...]
    points: tuple[NDArray[np.float64], ...]
    labels: tuple[tuple[str, ...], ...]


def read_points(path: Path, split: str) -> PointSet:
    """The fields and points of one split; slide and patient come from the manifest when there is one.

    Args:
        path: `points.csv` (field, x, y, label) with `fields.csv` (file, split, …) beside it, which also lists fields without a point.

    Raises:
        AnnotationError: a table is missing or malformed, a point belongs to no field, or the split has no field.
    """
    root = path.parent
    known = {entry["file"]: entry for entry in (annotations.read_manifest(root) or {}).get("files", [])}
    fields = []
    for _, row in _rows(root / FIELDS, ("file", "split")):
        entry = known.get(row["file"], {})
        if row["split"] == split:
            fields.append(Field(row["file"], root / row["file"], slide=entry.get("slide") or "", patient=entry.get("patient")))
    if not fields:
        raise AnnotationError(f"{root / FIELDS}: no field in split {split!r}")
    listed = {row["file"] for _, row in _rows(root / FIELDS, ("file",))}
    found: dict[str, list[tuple[float, float, str]]] = {}
    for line, row in _rows(path, ("field", "x", "y", "label")):
        if row["field"] not in listed:
            raise AnnotationError(f"{path}:{line}: field: {row['field']!r} is not in {FIELDS}")
        found.setdefault(row["field"], []).append((*_place(row, f"{path}:{line}"), row["label"]))
    cells = [found.get(f.id, []) for f in fields]
    points = tuple(np.array([cell[:2] for cell in some], np.float64).reshape(-1, 2) for some in cells)
    return PointSet(tuple(fields), points, tuple(tuple(cell[2] for cell in some) for some in cells))


def _place(row: dict[str, str], where: str) -> tuple[float, float]:
    try:
        x, y = float(row["x"]), float(row["y"])
    except ValueError as error:
        raise AnnotationError(f"{where}: x, y: expected two numbers, got {row['x']!r}, {row['y']!r}") from error
    if not (np.isfinite(x) and np.isfinite(y) and min(x, y) >= 0):
        raise AnnotationError(f"{where}: x, y: must be pixels from 0 on, got {row['x']}, {row['y']}")
    return x, y


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a table that has the wanted columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in wanted if name not in (reader.fieldnames or ())]
            if missing:
                raise AnnotationError(f"{path}: no column {missing[0]!r}; it needs {', '.join(wanted)}")
            for row in reader:
                if None in row or None in row.values():
                    raise AnnotationError(f"{path}:{reader.line_num}: has not as many values as the header")
                yield reader.line_num, row
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror}); prepare the set with python -m datasets.all_idb1") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path}: not a CSV file in UTF-8 ({error})") from error
