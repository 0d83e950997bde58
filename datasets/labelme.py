"""LabelMe files to a prepared YOLO set, such as results exported by `python -m smear export --to labelme` and corrected by hand.

Format: what LabelMe writes (labelme/_label_file.py): one JSON a picture, its shapes in pixels of the upright picture. Rectangles, polygons,
circles and masks become the box around them; points and lines have none and are dropped, which the manifest tells. A subfolder is
a slide. An image without a file has not been looked at and is not part of the set.
"""

import argparse
import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import convert
from datasets.convert import Record
from smear import images
from smear.errors import AnnotationError
from smear.types import Image

FLAT = ("point", "points", "line", "linestrip")  # shape types without area
AREAS = ("rectangle", "oriented_rectangle", "polygon", "circle", "mask")
NO_AREA = "shape without area dropped"


@dataclass(frozen=True)
class LabelMeFile:
    """One file: N boxes (N, 4) float32 as drawn, their labels, and how many shapes without area were dropped.

    `shape_hw` is None where the file does not say it; `image_path` is relative to the file, `image_data` the picture inside it.
    """

    path: Path
    image_path: str
    image_data: str | None
    shape_hw: tuple[int, int] | None
    boxes: NDArray[np.float32]
    labels: tuple[str, ...]
    n_dropped: int


def read_files(source: Path) -> list[LabelMeFile]:
    """Every LabelMe file at or below `source`, sorted; other JSON files are passed over.

    Raises:
        AnnotationError: not JSON, a malformed shape, or no LabelMe file at all.
    """
    paths = [source] if source.is_file() else sorted(source.rglob("*.json"))
    found = []
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise AnnotationError(f"{path}: not readable as JSON ({error})") from error
        if isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys():
            found.append(_parse(content, path))
    if not found:
        raise AnnotationError(f"{source}: no LabelMe file (JSON with shapes and imagePath) in it")
    return found


def classes_of(files: Sequence[LabelMeFile]) -> tuple[str, ...]:
    """Every label in the files, sorted."""
    return tuple(sorted({label for file in files for label in file.labels}))


def read_records(source: Path, files: Sequence[LabelMeFile], classes: Sequence[str], *, split: str = "train") -> Iterator[Record]:
    """The pictures of LabelMe files, in their order; `classes` gives the index of each label.

    Raises:
        AnnotationError: a label is unknown, or the picture is neither beside the file nor in it.
        ImageError: the picture cannot be read.
    """
    root = source if source.is_dir() else source.parent
    for file in files:
        labels = convert.class_indices(file.labels, classes, file.path)
        picture, inside = _find_picture(file)
        shape_hw = file.shape_hw
        if shape_hw is None:
            pixels = inside if inside is not None else images.read_image(_given(picture))
            shape_hw = (pixels.shape[0], pixels.shape[1])
        truth, notes = convert.tidy(file.boxes, labels, shape_hw)
        place = file.path.relative_to(root)
        slide = place.parent.as_posix() if place.parent.parts else None
        notes += (NO_AREA,) * file.n_dropped
        name = place.with_suffix("").as_posix()
        yield Record(picture, inside, name, split, truth, slide=slide, notes=notes, shape_hw=shape_hw, source_file=file.path.name)


def prepare(arguments: argparse.Namespace) -> Path:
    source, out = arguments.source, arguments.out
    if not source.is_file():
        convert.source_folder(source)
    files = read_files(source)
    classes = tuple(arguments.classes.split(",")) if arguments.classes else classes_of(files)
    about = {"name": arguments.name, "source": "LabelMe", "licence": arguments.licence}
    records = read_records(source, files, classes, split=arguments.split)
    return convert.write_yolo(records, out, classes=classes, about=about, total=len(files), progress=not arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("labelme", __doc__, source_help="folder with LabelMe files and their pictures, or one file")
    convert.add_generic_flags(made)
    return convert.run(made, argv, prepare)


def _parse(content: Mapping[str, Any], path: Path) -> LabelMeFile:
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not isinstance(content["imagePath"], str):
        raise AnnotationError(f"{path}: expected a list of shapes and the name of the picture in imagePath")
    rows = [_box(shape, f"{path}: shape {number}") for number, shape in enumerate(shapes, 1)]
    kept = [(label, box) for label, box in rows if box is not None]
    height, width = content.get("imageHeight"), content.get("imageWidth")
    shape_hw = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    corners = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
    labels = tuple(label for label, _ in kept)
    return LabelMeFile(path, content["imagePath"], content.get("imageData"), shape_hw, corners, labels, len(rows) - len(kept))


def _box(shape: Any, where: str) -> tuple[str, tuple[float, float, float, float] | None]:
    """Label and box of one shape; no box for a shape without area."""
    try:
        label, kind = shape["label"], shape.get("shape_type") or "polygon"  # which the first releases left out
        points = np.array(shape["points"], np.float64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{where}: expected a label and points [[x, y], …] ({error!r})") from error
    if not isinstance(label, str) or not label:
        raise AnnotationError(f"{where}: label: expected text, got {label!r}")
    if kind in FLAT:
        return label, None
    if kind not in AREAS:
        raise AnnotationError(f"{where}: shape_type: unknown {kind!r}; expected one of {(*AREAS, *FLAT)}")
    if len(points) < 2 or not np.isfinite(points).all():
        raise AnnotationError(f"{where}: points: expected two or more finite ones, got {shape['points']!r}")
    if kind == "circle":  # its centre and a point on it
        radius = float(np.hypot(*(points[1] - points[0])))
        points = np.stack([points[0] - radius, points[0] + radius])
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    last = 1.0 if kind == "mask" else 0.0  # a mask's corners are its first and last pixel
    return label, (x0, y0, x1 + last, y1 + last)


def _find_picture(file: LabelMeFile) -> tuple[Path | None, Image | None]:
    """The picture where the file says it is, else of that name beside the file, else inside the file."""
    path = Path(PureWindowsPath(file.image_path).as_posix())
    for place in (file.path.parent / path, file.path.parent / path.name):
        if place.is_file():
            return place, None
    if not file.image_data:
        raise AnnotationError(f"{file.path}: its picture {file.image_path!r} is neither there nor beside it, and not inside the file")
    try:
        data = base64.b64decode(file.image_data, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise AnnotationError(f"{file.path}: imageData: not base64 ({error})") from error
    return None, images.decode(data, name=f"{file.path}: imageData")


def _given(picture: Path | None) -> Path:
    assert picture is not None, "a record has a file or an image"
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
