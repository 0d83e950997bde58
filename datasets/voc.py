"""Pascal VOC XML to a prepared YOLO set, and back.

Format: Everingham et al., the PASCAL VOC development kit: `Annotations/*.xml`, `JPEGImages/`, lists of stems in
`ImageSets/Main/{train,val,test}.txt`. Labelling tools write 0-based corners, read here as half-open; the challenge's own files are
1-based and inclusive (`--one-based`).
"""

import argparse
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets import convert
from datasets.bars import track
from datasets.convert import Record
from smear import annotations, images
from smear.annotations import IMAGE_SUFFIXES
from smear.errors import AnnotationError
from smear.exports.voc import CORNERS, document
from smear.types import Detections


@dataclass(frozen=True)
class VocFile:
    """One annotation file: boxes (N, 4) float32 half-open pixels, as written (not clipped), and N class names."""

    filename: str
    shape_hw: tuple[int, int]
    boxes: NDArray[np.float32]
    names: tuple[str, ...]


def read_xml(path: Path, *, one_based: bool = False) -> VocFile:
    """Read one annotation file; spaces and indentation around values do not matter.

    Raises:
        AnnotationError: not XML, or a size, name or corner is missing or not a number.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror})") from error
    except ElementTree.ParseError as error:
        raise AnnotationError(f"{path}: not XML ({error})") from error
    found = [(_text(item, "name", path), [_number(item, f"bndbox/{c}", path) for c in CORNERS]) for item in root.iter("object")]
    corners = np.array([values for _, values in found], np.float32).reshape(-1, 4)
    if one_based:
        corners = corners - np.array([1, 1, 0, 0], np.float32)  # first pixel 1 → 0; last pixel, inclusive, is already one past the 0-based
    shape_hw = (int(_number(root, "size/height", path)), int(_number(root, "size/width", path)))
    return VocFile((root.findtext("filename") or "").strip(), shape_hw, corners, tuple(name for name, _ in found))


def write_xml(path: Path, filename: str, truth: Detections, shape_hw: tuple[int, int], classes: Sequence[str]) -> None:
    """Write one annotation file with 0-based, half-open corners to 3 decimals (`read_xml` reads it back)."""
    rows = [(box, classes[label], {}) for box, label in zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)]
    convert.write_changed(path, document(filename, shape_hw, rows))


def read_lists(source: Path, *, default: str = "train") -> dict[str, str]:
    """Stem → split, from `ImageSets/Main`; without lists every annotation file goes to `default`.

    Raises:
        AnnotationError: a stem is in two lists.
    """
    splits: dict[str, str] = {}
    for split in convert.SPLITS:
        path = source / "ImageSets" / "Main" / f"{split}.txt"
        for stem in path.read_text().split() if path.is_file() else ():
            if splits.setdefault(stem, split) != split:
                raise AnnotationError(f"{path}: {stem} is in {splits[stem]} and in {split}")
    return splits or {p.stem: default for p in sorted((source / "Annotations").glob("*.xml"))}


def read_records(source: Path, classes: Sequence[str], *, split: str = "train", one_based: bool = False) -> Iterator[Record]:
    """The images of a VOC folder, in order of their stems; `classes` gives the index of each name.

    Raises:
        AnnotationError: a listed file is missing, or a class is unknown.
    """
    files = {p.stem: p for p in sorted((source / "JPEGImages").iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
    for stem, part in sorted(read_lists(source, default=split).items()):
        path = source / "Annotations" / f"{stem}.xml"
        if stem not in files:
            raise AnnotationError(f"{path}: its image is missing in {source / 'JPEGImages'}")
        found = read_xml(path, one_based=one_based)
        truth, notes = convert.tidy(found.boxes, convert.class_indices(found.names, classes, path), found.shape_hw)
        yield Record(files[stem], None, stem, part, truth, notes=notes, shape_hw=found.shape_hw)


def classes_of(source: Path) -> tuple[str, ...]:
    """Every class name in the annotation files, sorted."""
    return tuple(sorted({name for path in (source / "Annotations").glob("*.xml") for name in read_xml(path).names}))


def export(data: Path, out: Path, *, progress: bool = False) -> Path:
    """Write a prepared set as a VOC folder; returns `out`. Image files are copied; two of one name are an AnnotationError."""
    prepared = annotations.read_data_yaml(data)
    twice = [stem for stem, n in Counter(p.stem for files in prepared.splits.values() for p in files).items() if n > 1]
    if twice:
        raise AnnotationError(f"{data}: two images are named {twice[0]!r}; VOC keeps all in one folder, give them different names")
    for split, files in prepared.splits.items():
        stems: list[str] = []
        for path in track(files, f"voc {split}", shown=progress):
            content = path.read_bytes()
            shape_hw = images.decode(content, name=str(path)).shape[:2]
            truth = annotations.read_labels(annotations.label_path(path), shape_hw, len(prepared.classes))
            convert.write_changed(out / "JPEGImages" / path.name, content)
            write_xml(out / "Annotations" / f"{path.stem}.xml", path.name, truth, shape_hw, prepared.classes)
            stems.append(path.stem)
        convert.write_changed(out / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{s}\n" for s in stems).encode())
    return out


def prepare(arguments: argparse.Namespace) -> Path:
    source, out, progress = arguments.source, arguments.out, not arguments.quiet
    if source.is_file():
        return export(source, out, progress=progress)
    convert.source_folder(source, "Annotations", "JPEGImages")
    classes = tuple(arguments.classes.split(",")) if arguments.classes else classes_of(source)
    about = {"name": arguments.name, "source": "Pascal VOC folder", "licence": arguments.licence}
    records = read_records(source, classes, split=arguments.split, one_based=arguments.one_based)
    return convert.write_yolo(records, out, classes=classes, about=about, total=len(read_lists(source)), progress=progress)


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("voc", __doc__, source_help="VOC folder to prepare, or the data.yaml of a prepared set to write as VOC")
    convert.add_generic_flags(made)
    made.add_argument("--one-based", action="store_true", help="corners count from 1, the last pixel included")
    return convert.run(made, argv, prepare)


def _text(item: ElementTree.Element, tag: str, path: Path) -> str:
    text = (item.findtext(tag) or "").strip()
    if not text:
        raise AnnotationError(f"{path}: {tag}: missing")
    return text


def _number(item: ElementTree.Element, tag: str, path: Path) -> float:
    text = _text(item, tag, path)
    try:
        return float(text)
    except ValueError as error:
        raise AnnotationError(f"{path}: {tag}: expected a number, got {text!r}") from error


if __name__ == "__main__":
    raise SystemExit(main())
