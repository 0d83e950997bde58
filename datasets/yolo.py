"""YOLO folders of any origin to a prepared set: hashed, checked and repaired.

Format: ultralytics detection sets, `data.yaml` with `names` and a folder or list per split; labels `class cx cy w h`, relative.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets import convert
from datasets.convert import Record
from smear import annotations, boxes, images
from smear.annotations import DataSet
from smear.errors import AnnotationError
from smear.types import Detections


def read_loose(path: Path, shape_hw: tuple[int, int], n_classes: int) -> tuple[Detections, tuple[str, ...]]:
    """Labels of one image, repaired instead of refused: boxes clipped, empty ones dropped, each told as a note.

    A missing file is an image without cells, as ultralytics has it. Polygons become their bounding box.

    Raises:
        AnnotationError: a line is not numbers, or its class is unknown: no repair can guess those.
    """
    if not path.is_file():
        return Detections.empty(), ("label file missing: taken as no cells",)
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            rows.append(_parse(line, f"{path}:{number}", n_classes))
    unique = list(dict.fromkeys(rows))
    values = np.array(unique, np.float32).reshape(-1, 5)
    truth, notes = convert.tidy(boxes.from_yolo(values[:, 1:], shape_hw), values[:, 0].astype(np.int64).tolist(), shape_hw)
    return truth, notes + ("repeated box dropped",) * (len(rows) - len(unique))


def read_records(prepared: DataSet, *, slide_of: Callable[[tuple[int, int]], str] | None = None) -> Iterator[Record]:
    """The images of a YOLO set, per split, in sorted order; `slide_of` may tell the group from (height, width)."""
    for split, files in prepared.splits.items():
        for path in files:
            image = images.read_image(path)
            shape_hw = (image.shape[0], image.shape[1])
            truth, notes = read_loose(annotations.label_path(path), shape_hw, len(prepared.classes))
            name = Path(convert.name_below_split(path)).with_suffix("").as_posix()
            yield Record(path, None, name, split, truth, slide=slide_of(shape_hw) if slide_of else None, notes=notes)


def prepare(arguments: argparse.Namespace) -> Path:
    path = arguments.source if arguments.source.is_file() else convert.source_folder(arguments.source, "data.yaml") / "data.yaml"
    prepared = annotations.read_data_yaml(path)
    about = {"name": arguments.name, "source": "YOLO folder", "licence": arguments.licence}
    total = sum(map(len, prepared.splits.values()))
    return convert.write_yolo(
        read_records(prepared), arguments.out, classes=prepared.classes, about=about, total=total, progress=not arguments.quiet
    )


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("yolo", __doc__, source_help="folder with a data.yaml, or the file itself")
    made.add_argument("--name", default="yolo", help="name of the set, kept in the manifest")
    made.add_argument("--licence", default="unknown", help="licence of the images, kept in the manifest")
    return convert.run(made, argv, prepare)


def _parse(line: str, where: str, n_classes: int) -> tuple[float, ...]:
    try:
        label, *rest = (float(v) for v in line.split())
    except ValueError as error:
        raise AnnotationError(f"{where}: expected numbers (class cx cy w h), got {line!r}") from error
    if label != int(label) or not 0 <= label < n_classes:
        raise AnnotationError(f"{where}: unknown class {label:g}; data.yaml names {n_classes} classes, 0 to {n_classes - 1}")
    if len(rest) >= 6 and len(rest) % 2 == 0:  # a polygon x y x y …
        xs, ys = rest[::2], rest[1::2]
        rest = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
    if len(rest) != 4 or not np.isfinite(rest).all():
        raise AnnotationError(f"{where}: expected five finite numbers (class cx cy w h), got {line!r}")
    return (label, *rest)


if __name__ == "__main__":
    raise SystemExit(main())
