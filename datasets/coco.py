"""COCO detection JSON to a prepared YOLO set, and back.

Format: Lin et al. 2014, https://cocodataset.org/#format-data: `images`, `annotations` with `bbox` x y width height in pixels from 0,
`categories`. Read as the official layout (`annotations/instances_train.json`, images elsewhere below) and as Roboflow's
(`train/_annotations.coco.json` with its images beside it); an image's `slide`, as our own exports tell it, is kept.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets import convert
from datasets.bars import track
from datasets.convert import Record
from smear import annotations, boxes, images
from smear.annotations import IMAGE_SUFFIXES
from smear.errors import AnnotationError

SPLIT_WORDS = {"train": "train", "valid": "val", "val": "val", "test": "test"}  # in the name of the file, else of its folder


@dataclass(frozen=True)
class CocoFile:
    """One annotation file: its parsed content, and the split that its name tells."""

    path: Path
    split: str
    content: Mapping[str, Any]


def read_files(source: Path, *, split: str = "train") -> list[CocoFile]:
    """Every COCO file at or below `source`, sorted; `split` is for names that tell none. Other JSON files are passed over.

    Raises:
        AnnotationError: not JSON, or no COCO file at all.
    """
    paths = [source] if source.is_file() else sorted(source.rglob("*.json"))
    found = []
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AnnotationError(f"{path}: not readable as JSON ({error})") from error
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
            found.append(CocoFile(path, _split_of(path, split), content))
    if not found:
        raise AnnotationError(f"{source}: no COCO file (JSON with images, annotations and categories) in it")
    return found


def classes_of(files: Sequence[CocoFile]) -> tuple[str, ...]:
    """Category names in order of first file and id, without a mere heading: one that others name as supercategory and no box uses."""
    used = {item["category_id"] for f in files for item in f.content["annotations"]}
    categories = [c for f in files for c in sorted(f.content["categories"], key=lambda c: c["id"])]
    headings = {c.get("supercategory") for c in categories if c.get("supercategory") != c["name"]}
    return tuple(dict.fromkeys(c["name"] for c in categories if c["id"] in used or c["name"] not in headings))


def read_records(source: Path, files: Sequence[CocoFile], classes: Sequence[str]) -> Iterator[Record]:
    """The images of COCO files, in the order of their names.

    Raises:
        AnnotationError: an image is missing or has two files, a category is unknown, or a value is missing.
    """
    root = source if source.is_dir() else source.parent
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            by_name[path.name].append(path)
    for file in files:
        names = {c["id"]: c["name"] for c in file.content["categories"]}
        of_image: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for item in file.content["annotations"]:
            of_image[item["image_id"]].append(item)
        for image in sorted(file.content["images"], key=lambda i: str(i.get("file_name"))):
            try:
                yield _record(image, of_image[image["id"]], names, classes, file, by_name)
            except KeyError as error:
                raise AnnotationError(f"{file.path}: image {image.get('file_name')!r}: {error} is missing") from error


def export(data: Path, out: Path, *, progress: bool = False) -> Path:
    """Write a prepared set as COCO: `images/<split>/` and `annotations/instances_<split>.json`; returns `out`."""
    prepared = annotations.read_data_yaml(data)
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(prepared.classes, 1)]
    for split, files in prepared.splits.items():
        listed: list[dict[str, Any]] = []
        items: list[dict[str, Any]] = []
        for path in track(files, f"coco {split}", shown=progress):
            content = path.read_bytes()
            shape = images.decode(content, name=str(path)).shape
            truth = annotations.read_labels(annotations.label_path(path), (shape[0], shape[1]), len(prepared.classes))
            name = convert.name_below_split(path)
            convert.write_changed(out / "images" / split / name, content)
            listed.append({"id": len(listed) + 1, "file_name": name, "height": shape[0], "width": shape[1]})
            for box, label, size in zip(truth.boxes.tolist(), truth.labels.tolist(), boxes.area(truth.boxes).tolist(), strict=True):
                bbox = [round(v, 3) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])]
                item = {"id": len(items) + 1, "image_id": len(listed), "category_id": label + 1, "bbox": bbox}
                items.append({**item, "area": round(size, 3), "iscrowd": 0})
        text = json.dumps({"images": listed, "annotations": items, "categories": categories}, indent=1, ensure_ascii=False) + "\n"
        convert.write_changed(out / "annotations" / f"instances_{split}.json", text.encode())
    return out


def prepare(arguments: argparse.Namespace) -> Path:
    source, out, progress = arguments.source, arguments.out, not arguments.quiet
    if source.suffix.lower() in (".yaml", ".yml"):
        return export(source, out, progress=progress)
    if not source.is_file():
        convert.source_folder(source)
    files = read_files(source, split=arguments.split)
    classes = tuple(arguments.classes.split(",")) if arguments.classes else classes_of(files)
    about = {"name": arguments.name, "source": "COCO", "licence": arguments.licence}
    total = sum(len(f.content["images"]) for f in files)
    return convert.write_yolo(read_records(source, files, classes), out, classes=classes, about=about, total=total, progress=progress)


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("coco", __doc__, source_help="COCO folder or file to prepare, or a data.yaml to write as COCO")
    convert.add_generic_flags(made)
    return convert.run(made, argv, prepare)


def _record(
    image: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    classes: Sequence[str],
    file: CocoFile,
    by_name: Mapping[str, Sequence[Path]],
) -> Record:
    where = f"{file.path}: image {image['file_name']!r}"
    single = [item for item in items if not item.get("iscrowd")]
    labels = convert.class_indices([str(names.get(item["category_id"], item["category_id"])) for item in single], classes, where)
    bboxes = np.array([item["bbox"] for item in single], np.float32).reshape(-1, 4)
    shape_hw = (int(image["height"]), int(image["width"]))
    truth, notes = convert.tidy(np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], axis=1), labels, shape_hw)
    notes += ("crowd region dropped",) * (len(items) - len(single))
    path = _find_image(image["file_name"], file, by_name, where)
    name, slide = Path(image["file_name"]).with_suffix("").as_posix(), str(image.get("slide") or "") or None
    return Record(path, None, name, file.split, truth, slide=slide, notes=notes, shape_hw=shape_hw)


def _find_image(name: str, file: CocoFile, by_name: Mapping[str, Sequence[Path]], where: str) -> Path:
    """Beside the file, or the one image of that name below the source; of several, the one whose path ends so, in a folder of the split."""
    beside = file.path.parent / name
    if beside.is_file():
        return beside
    found = list(by_name.get(Path(name).name, ()))
    if len(found) > 1:
        found = [p for p in found if p.as_posix().endswith(f"/{name}")] or found
    if len(found) > 1:
        found = [p for p in found if _split_of(p.parent, "") == file.split] or found
    if len(found) != 1:
        raise AnnotationError(f"{where}: expected one image file of that name, found {len(found)}")
    return found[0]


def _split_of(path: Path, default: str) -> str:
    for name in (path.stem.casefold(), path.parent.name.casefold()):
        for word, split in SPLIT_WORDS.items():
            if word in name:
                return split
    return default


if __name__ == "__main__":
    raise SystemExit(main())
