"""ALL-IDB1 (on request from its owners): whole fields with the centroid of each blast: points, not boxes.

Source form: `ImXXX_Y.jpg`, Y = 1 if the field shows a blast, and `ImXXX_Y.xyc`, one `x y` a line (tab or spaces), empty when none.
108 fields, 33 of them 1712×1368, the rest mostly 2592×1944; 510 blasts in 49 fields.

What is written: `images/` (byte copies), `points.csv` (field,x,y,label; x y in pixels of the decoded image, label ALL),
`fields.csv` (file,label,n_points,height,width,split; label ALL or HEM of the whole field) and `manifest.json` with `kind: points`. Score
detections by the distance to a point. White cells that are no blasts carry no point, so a detection without a point is not an
error of the detector. Patients are unknown and every field is `test`: the set is for judging. ALL-IDB2 is cut from these fields: never
train on one and test on the other.

Source: Donida Labati, Piuri & Scotti, "ALL-IDB: the acute lymphoblastic leukemia image database for image processing", ICIP 2011.
"""

import argparse
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import convert
from datasets.bars import track
from smear import annotations, images
from smear.annotations import ManifestEntry
from smear.errors import AnnotationError

ABOUT = {
    "name": "all-idb1",
    "source": "https://homes.di.unimi.it/scotti/all/",
    "licence": "on request from its owners; not redistributable",
}
NAME = re.compile(r"Im(?P<number>\d+)_(?P<label>[01])", re.IGNORECASE)
FIELD_LABEL = {"0": "HEM", "1": "ALL"}
SUFFIXES = (".jpg", ".jpeg", ".tif", ".tiff", ".png", ".bmp")
POINTS_COLUMNS = ("field", "x", "y", "label")
FIELDS_COLUMNS = ("file", "label", "n_points", "height", "width", "split")
SPLIT = "test"


@dataclass(frozen=True)
class PointField:
    """One field: its file, whether it shows a blast, and the (N, 2) x y centroids in pixels, N may be 0."""

    path: Path
    label: str
    points: NDArray[np.float64]


def find_files(source: Path) -> list[Path]:
    """The `ImXXX_Y` images anywhere below `source`, sorted by name.

    Raises:
        AnnotationError: none there, or two of one name.
    """
    found = sorted(
        (p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and NAME.fullmatch(p.stem)), key=lambda p: (p.stem, str(p))
    )
    if not found:
        raise AnnotationError(f"{source}: no image named ImXXX_0 or ImXXX_1 in it")
    for first, second in pairwise(found):
        if first.stem == second.stem:
            raise AnnotationError(f"{second}: a second image named {second.stem}, beside {first}")
    return found


def read_points(path: Path) -> NDArray[np.float64]:
    """The centroids of a `.xyc` file: (N, 2) x y, N = 0 for an empty file.

    Raises:
        AnnotationError: the file cannot be read, or a line is not two numbers.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot read it ({error.strerror}); every field needs its .xyc, empty when there is no blast"
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            x, y = (float(v) for v in line.split())
        except ValueError as error:
            raise AnnotationError(f"{path}:{number}: expected two numbers (x y), got {line!r}") from error
        rows.append((x, y))
    return np.array(rows, np.float64).reshape(-1, 2)


def read_field(path: Path, points_of: dict[str, Path]) -> PointField:
    """One field with its points; `points_of` maps the stem to its `.xyc`.

    Raises:
        AnnotationError: no `.xyc`, or points on a field named as free of blasts.
    """
    if path.stem not in points_of:
        raise AnnotationError(f"{path}: no {path.stem}.xyc found; every field needs its .xyc, empty when there is no blast")
    label = FIELD_LABEL[path.stem[-1]]
    points = read_points(points_of[path.stem])
    if label == "HEM" and len(points):
        raise AnnotationError(f"{points_of[path.stem]}: {len(points)} blasts in a field whose name says it has none")
    return PointField(path, label, points)


def prepare(arguments: argparse.Namespace) -> Path:
    source, out = convert.source_folder(arguments.source), arguments.out
    files = find_files(source)
    points_of = {p.stem: p for p in sorted(source.rglob("*.xyc"))}
    entries: list[ManifestEntry] = []
    field_rows: list[tuple[Any, ...]] = []
    point_rows: list[tuple[Any, ...]] = []
    without: list[str] = []
    for path in track(files, ABOUT["name"], shown=not arguments.quiet):
        field = read_field(path, points_of)
        content = path.read_bytes()
        height, width = images.decode(content, name=str(path)).shape[:2]
        outside = ((field.points < 0) | (field.points >= (width, height))).any(axis=1)
        if outside.any():
            x, y = field.points[outside][0]
            raise AnnotationError(f"{points_of[path.stem]}: {x:g} {y:g} lies outside the field of {width}×{height} px")
        file = f"images/{path.name}"
        convert.write_changed(out / file, content)
        entries.append(ManifestEntry(file, annotations.sha256(out / file), SPLIT, path.name))
        field_rows.append((file, field.label, len(field.points), height, width, SPLIT))
        point_rows += [(file, f"{x:g}", f"{y:g}", "ALL") for x, y in field.points]
        if field.label == "ALL" and not len(field.points):
            without.append(file)
    _write_table(out / "fields.csv", FIELDS_COLUMNS, field_rows)
    _write_table(out / "points.csv", POINTS_COLUMNS, point_rows)
    labels = {SPLIT: {label: sum(row[1] == label for row in field_rows) for label in ("ALL", "HEM")} | {"blasts": len(point_rows)}}
    notes = {"named as showing a blast, but without a point": without} if without else {}
    annotations.write_manifest(out, entries, **ABOUT, kind="points", classes=["ALL", "HEM"], labels=labels, notes=notes)
    return out / "points.csv"


def main(argv: Sequence[str] | None = None) -> int:
    return convert.run(convert.parser("all_idb1", __doc__), argv, prepare)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    convert.write_changed(path, table.getvalue().encode())


if __name__ == "__main__":
    raise SystemExit(main())
