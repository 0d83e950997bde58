"""QuPath's GeoJSON to a prepared YOLO set, such as results exported by `python -m smear export --to geojson` and corrected in QuPath.

Format: RFC 7946 with the properties of QuPath (QuPathTypeAdapters), in pixels of the full-size image: a FeatureCollection, a list of
features or one feature. Polygons of any form become the box around them; points and lines have none, and objects without a class teach
nothing: both are dropped, which the manifest tells. QuPath does not write which image a file is about: it is the image in the same
subfolder that the file is named for, `a/one.geojson` or `a/one.jpg.geojson` for `a/one.jpg`, unless the file says it in `image` as
ours do. A subfolder is a slide.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import convert
from datasets.convert import Record
from smear import images
from smear.annotations import IMAGE_SUFFIXES
from smear.errors import AnnotationError

SUFFIX = ".geojson"
NO_AREA, NO_CLASS = "object without area dropped", "object without a class dropped"
RINGS = {"Polygon": 1, "MultiPolygon": 2}  # how deep the rings lie in `coordinates`


@dataclass(frozen=True)
class GeoFile:
    """One file: N boxes (N, 4) float32 as drawn, their classes, what was dropped; the image and its size where it tells them."""

    path: Path
    image: str | None
    shape_hw: tuple[int, int] | None
    boxes: NDArray[np.float32]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def read_files(source: Path) -> list[GeoFile]:
    """Every `.geojson` file at or below `source`, sorted.

    Raises:
        AnnotationError: not GeoJSON, a malformed feature, or no such file at all.
    """
    paths = [source] if source.is_file() else sorted(source.rglob(f"*{SUFFIX}"))
    if not paths:
        raise AnnotationError(f"{source}: no {SUFFIX} file in it; in QuPath: File, Export objects as GeoJSON")
    return [_parse(path) for path in paths]


def classes_of(files: Sequence[GeoFile]) -> tuple[str, ...]:
    """Every class in the files, sorted."""
    return tuple(sorted({name for file in files for name in file.names}))


def read_records(
    source: Path, files: Sequence[GeoFile], classes: Sequence[str], *, pictures: Path | None = None, split: str = "train"
) -> Iterator[Record]:
    """The images of GeoJSON files, in the order of the files; `classes` gives the index of each class.

    Args:
        pictures: where the images are, in the same subfolders; None: beside the files.

    Raises:
        AnnotationError: a class is unknown, or a file has no image or several.
        ImageError: an image cannot be read.
    """
    root = source if source.is_dir() else source.parent
    for file in files:
        labels = convert.class_indices(file.names, classes, file.path)
        place = file.path.relative_to(root)
        picture, page = _find_picture(file, place, pictures or root)
        pixels = images.read_image(picture, page=page)
        shape_hw = (pixels.shape[0], pixels.shape[1])
        truth, notes = convert.tidy(file.boxes, labels, shape_hw)
        yield Record(
            None if page else picture,
            pixels if page else None,
            place.with_suffix("").as_posix(),
            split,
            truth,
            slide=place.parent.as_posix() if place.parent.parts else None,
            notes=notes + file.notes,
            shape_hw=file.shape_hw,
            source_file=file.path.name,
        )


def prepare(arguments: argparse.Namespace) -> Path:
    source, out = arguments.source, arguments.out
    if not source.is_file():
        convert.source_folder(source)
    files = read_files(source)
    classes = tuple(arguments.classes.split(",")) if arguments.classes else classes_of(files)
    about = {"name": arguments.name, "source": "QuPath GeoJSON", "licence": arguments.licence}
    records = read_records(source, files, classes, pictures=arguments.images, split=arguments.split)
    return convert.write_yolo(records, out, classes=classes, about=about, total=len(files), progress=not arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("geojson", __doc__, source_help="folder with .geojson files as QuPath exports them, or one file")
    convert.add_generic_flags(made)
    made.add_argument("--images", type=Path, metavar="DIR", help="where the images are, in the same subfolders (default: beside the files)")
    return convert.run(made, argv, prepare)


def _parse(path: Path) -> GeoFile:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not readable as JSON ({error})") from error
    top = content if isinstance(content, dict) else {}
    features = content if isinstance(content, list) else top.get("features", [content])
    if not isinstance(features, list):
        raise AnnotationError(f"{path}: features: expected a list, got {type(features).__name__}")
    boxes, names, notes = [], [], []
    for number, feature in enumerate(_flat(features), 1):
        where = f"{path}: feature {number}"
        box, name = _box(feature, where), _class_name(feature, where)
        if box is None or not name:
            notes.append(NO_AREA if box is None else NO_CLASS)
            continue
        boxes.append(box)
        names.append(name)
    size = (top.get("imageHeight"), top.get("imageWidth"))
    shape_hw = (size[0], size[1]) if isinstance(size[0], int) and isinstance(size[1], int) else None
    image = top.get("image") if isinstance(top.get("image"), str) else None
    return GeoFile(path, image, shape_hw, np.array(boxes, np.float32).reshape(-1, 4), tuple(names), tuple(notes))


def _flat(features: Sequence[Any]) -> Iterator[Any]:
    """The features and the children that QuPath may have put into their properties."""
    for feature in features:
        yield feature
        properties = feature.get("properties") if isinstance(feature, dict) else None
        for key in ("childObjects", "children"):
            if isinstance(properties, dict) and isinstance(properties.get(key), list):
                yield from _flat(properties[key])


def _box(feature: Any, where: str) -> tuple[float, float, float, float] | None:
    """The box around a feature; None when it has no area."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or "type" not in geometry:
        raise AnnotationError(f"{where}: expected a feature with a geometry, got {str(feature)[:80]!r}")
    if geometry["type"] not in RINGS:
        return None
    rings = geometry.get("coordinates")
    try:
        rings = [ring for polygon in rings for ring in polygon] if RINGS[geometry["type"]] == 2 else rings
        points = np.array([position[:2] for ring in rings for position in ring], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, KeyError) as error:
        raise AnnotationError(f"{where}: coordinates: expected rings of [x, y] ({error})") from error
    if len(points) < 3 or not np.isfinite(points).all():
        raise AnnotationError(f"{where}: coordinates: expected three or more finite positions, got {len(points)}")
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _class_name(feature: Mapping[str, Any], where: str) -> str:
    """The class of a feature, "" for none; QuPath joins the names of a derived class by ": "."""
    found = (feature.get("properties") or {}).get("classification")
    if isinstance(found, dict):
        found = found.get("name") or found.get("names")
    if isinstance(found, list):
        found = ": ".join(map(str, found))
    if found is not None and not isinstance(found, str):
        raise AnnotationError(f"{where}: classification: expected a name, got {found!r}")
    return found or ""


def _find_picture(file: GeoFile, place: Path, pictures: Path) -> tuple[Path, int]:
    """The image of a file and its page, from 0."""
    name, _, page = (file.image or "").rpartition("#")
    if name and page.isdigit() and (pictures / name).is_file():
        return pictures / name, int(page) - 1
    if file.image and (pictures / file.image).is_file():
        return pictures / file.image, 0
    folder, stem = pictures / place.parent, place.stem
    beside = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    found = [p for p in beside if p.name == stem] or [p for p in beside if p.stem == stem]
    if len(found) != 1:
        raise AnnotationError(f"{file.path}: expected one image {stem}.* in {folder}, found {len(found)}; say where with --images")
    return found[0], 0


if __name__ == "__main__":
    raise SystemExit(main())
