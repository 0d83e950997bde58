"""The crops table, read once into a frozen value; a table whose splits leak is refused by name."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from smear import annotations
from smear.errors import AnnotationError
from smear.images import read_image
from smear.line import ahead, n_cores
from smear.models import CropContract
from smear.types import Image

SPLITS = ("train", "val", "test")
GROUPS = ("patient", "slide", "field", "group")  # a value of one of these belongs to one split
REQUIRED = ("file", "field", "split")


@dataclass(frozen=True)
class CropTable:
    """N crops: what each shows and whose it is. `columns` holds every text column, N values each ("" is unknown).

    labels (N,) int64 index `classes`. contract: how the crops were cut, None when the source gave them as they are.
    about: one entry a table, with `name`, `source`, `licence`, `manifest_sha256`.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    contract: CropContract | None
    about: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.paths)

    def column(self, name: str) -> NDArray[np.str_]:
        """One text column, (N,); all empty when the table has none of that name."""
        return np.array(self.columns.get(name, ("",) * len(self)), dtype=np.str_)

    def take(self, index: NDArray) -> "CropTable":
        """The rows that `index` (integers or booleans) selects, in that order."""
        rows = np.arange(len(self))[index]
        columns = {name: tuple(values[i] for i in rows) for name, values in self.columns.items()}
        return CropTable(tuple(self.paths[i] for i in rows), self.labels[rows], self.classes, columns, self.contract, self.about)

    def split(self, name: str) -> "CropTable":
        """The rows of one split.

        Raises:
            AnnotationError: there are none.
        """
        part = self.take(self.column("split") == name)
        if not len(part):
            raise AnnotationError(f"{self.paths[0].parent.parent if self.paths else 'crops.csv'}: no crops in split {name!r}")
        return part


def label_names(tables: Sequence[Path], column: str) -> frozenset[str]:
    """What stands in the label column of all tables, "" where it is empty; tables that cannot be read are left to `read_crops`."""
    found: set[str] = set()
    for table in map(Path, tables):
        try:
            with table.open(newline="", encoding="utf-8") as file:
                found |= {row[column] or "" for row in csv.DictReader(file) if column in row}
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return frozenset(found)


def read_crops(tables: Sequence[Path], classes: Sequence[str], *, label_column: str = "label") -> CropTable:
    """Join crops tables (`crops.csv`: file, label, patient, slide, field, split, more) into one, and check it.

    A table has a `source` column after this: its own, or the name of its folder; groups of two sources are never the same.

    Raises:
        AnnotationError: a table is missing or malformed, a label or split is unknown, tables were cut by two contracts,
            or a patient, slide, field or group is in two splits.
    """
    if not tables:
        raise AnnotationError("crops.csv: no table given")
    rows, paths, about, contracts = [], [], [], {}
    for table in map(Path, tables):
        for line, row in _rows(table, label_column):
            if row[label_column] not in classes:
                raise AnnotationError(f"{table}:{line}: {label_column}: must be one of {', '.join(classes)}, got {row[label_column]!r}")
            if row["split"] not in SPLITS:
                raise AnnotationError(f"{table}:{line}: split: must be one of {', '.join(SPLITS)}, got {row['split']!r}")
            rows.append({"source": table.parent.name, **{k: v for k, v in row.items() if v or k != "source"}})
            paths.append(table.parent / row["file"])
        manifest = _manifest(table)
        contracts[table] = _contract(table, manifest)
        about.append(_about(table, manifest))
    first = Path(tables[0])
    for table, contract in contracts.items():
        if contract != contracts[first]:
            raise AnnotationError(
                f"{table}: was cut by another crop contract ({contract!r}) than {first} ({contracts[first]!r}); cut it again"
            )
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {name: tuple(row.get(name, "") for row in rows) for name in names}
    labels = np.array([list(classes).index(row[label_column]) for row in rows], np.int64)
    joined = CropTable(tuple(paths), labels, tuple(classes), columns, contracts[first], tuple(about))
    refuse_leaks(joined, where=", ".join(map(str, tables)))
    return joined


def refuse_leaks(table: CropTable, *, where: str) -> None:
    """Check that no patient, slide, field or group is in two splits.

    Raises:
        AnnotationError: one is; the message names it.
    """
    sources, splits = table.column("source").tolist(), table.column("split").tolist()
    for key in GROUPS:
        seen: dict[tuple[str, str], str] = {}
        for source, value, split in zip(sources, table.column(key).tolist(), splits, strict=True):
            if value and seen.setdefault((source, value), split) != split:
                raise AnnotationError(
                    f"{where}: {key} {value!r} of {source} is in the splits {seen[source, value]!r} and {split!r}; "
                    f"all crops of one {key} belong to one split"
                )


def load_images(table: CropTable, *, size: int) -> Image:
    """All crops in memory, (N, size, size, 3) RGB uint8; raises as `each_crop`."""
    images = np.empty((len(table), size, size, 3), np.uint8)
    for i, image in enumerate(each_crop(table, size=size)):
        images[i] = image
    return images


def each_crop(table: CropTable, *, size: int) -> Iterator[Image]:
    """The crops in order, (size, size, 3) RGB uint8 each, read a few ahead.

    Raises:
        ImageError: a file is missing or not an image.
        AnnotationError: a crop is not square, or the same picture is in two splits.
    """
    seen: dict[bytes, int] = {}
    splits = table.column("split").tolist()
    work = partial(_read, size=size)  # decoding releases the interpreter's lock
    for i, (image, digest) in enumerate(ahead(work, table.paths, threads=n_cores())):
        twin = seen.setdefault(digest, i)
        if splits[twin] != splits[i]:
            raise AnnotationError(
                f"{table.paths[i]}: is the same picture as {table.paths[twin]}, "
                f"in splits {splits[i]!r} and {splits[twin]!r}; put both in one split"
            )
        yield image


def read_crop(path: Path, *, size: int) -> Image:
    """One crop, (size, size, 3) RGB uint8, by `resize_crop`; raises as `each_crop`."""
    return _read(path, size=size)[0]


def read_checked(path: Path) -> tuple[Image, bytes]:
    """One crop as it is, (S, S, 3) uint8, and the digest of its pixels; raises as `each_crop`."""
    image = read_image(path)
    if image.shape[0] != image.shape[1]:
        raise AnnotationError(f"{path}: a crop must be square, got {image.shape[1]}×{image.shape[0]} pixels")
    return image, hashlib.sha256(image.tobytes()).digest()


def resize_crop(image: Image, *, size: int) -> Image:
    """(S, S, 3) → (size, size, 3) uint8: area-averaged when larger, bilinear when smaller."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)


def _read(path: Path, *, size: int) -> tuple[Image, bytes]:
    """The crop at (size, size, 3), and the digest of its pixels as they were."""
    image, digest = read_checked(path)
    return resize_crop(image, size=size), digest


def _rows(table: Path, label_column: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in (*REQUIRED, label_column) if name not in (reader.fieldnames or ())]
            if missing:
                raise AnnotationError(f"{table}: column {missing[0]!r} is missing; it has {', '.join(reader.fieldnames or ()) or 'none'}")
            for row in reader:
                if None in row or None in row.values():
                    raise AnnotationError(f"{table}:{reader.line_num}: has not as many values as the header")
                if Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
                    raise AnnotationError(f"{table}:{reader.line_num}: file: must lie below the table's folder, got {row['file']!r}")
                yield reader.line_num, row
    except OSError as error:
        raise AnnotationError(f"{table}: cannot read it ({error.strerror}); --data wants the crops.csv of a prepared set") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{table}: not a CSV file in UTF-8 ({error})") from error


def _manifest(table: Path) -> dict[str, Any]:
    try:
        return annotations.read_manifest(table.parent) or {}
    except (OSError, json.JSONDecodeError) as error:
        raise AnnotationError(f"{table.parent / 'manifest.json'}: cannot read it ({error})") from error


def _contract(table: Path, manifest: dict[str, Any]) -> CropContract | None:
    try:
        return CropContract.model_validate(manifest["crop"]) if manifest.get("crop") else None
    except ValidationError as error:
        raise AnnotationError(f"{table.parent / 'manifest.json'}: crop: {error.errors()[0]['msg']}") from error


def _about(table: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    path = table.parent / "manifest.json"
    described = {key: manifest.get(key) for key in ("name", "source", "licence")}
    digest = {"manifest_sha256": annotations.sha256(path) if path.is_file() else None, "table_sha256": annotations.sha256(table)}
    return {**described, "name": described["name"] or table.parent.name, **digest}
