"""Any folder of images as one list: a prepared or YOLO set, a crops table, a VOC folder, or just images, with what is said of each.

Nothing is decoded here and nothing refused: what is missing, orphaned or listed twice becomes a `Problem`.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

from smear import annotations
from smear.annotations import IMAGE_SUFFIXES
from smear.errors import AnnotationError

GROUPS = ("patient", "slide", "field", "group")
TWO_SPLITS = "image in two splits"
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt")  # beside YOLO labels, one class name a line
NOT_LABELS = (*CLASS_LISTS, "license.txt", "licence.txt", "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file; `detail` says what exactly, "" when `kind` says it all."""

    kind: str
    file: str
    detail: str = ""


@dataclass(frozen=True)
class Item:
    """One image: its split ("" when none is told), its label file, its label as a whole, its groups (unknown ones are left out)."""

    path: Path
    split: str = ""
    label_file: Path | None = None
    label: str | None = None
    groups: Mapping[str, str] = default(default_factory=dict)
    sha256: str | None = None  # what the manifest says the file's bytes were


@dataclass(frozen=True)
class Listing:
    """A folder of images. `kind`: "set", "crops", "voc" or "images"; classes are () when the folder does not name them."""

    root: Path
    kind: str
    items: tuple[Item, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    manifest: Mapping[str, Any] = default(default_factory=dict)


def list_images(where: Path) -> Listing:
    """What lies in a folder; also the folder of a data.yaml or crops.csv that is named itself. Images in sorted order.

    Raises:
        AnnotationError: no such folder, no image in it, or a data.yaml, manifest or table that cannot be read at all.
    """
    root = where.parent if where.is_file() and where.name in ("data.yaml", "crops.csv") else where
    if not root.is_dir():
        raise AnnotationError(f"{where}: no such folder")
    if (root / "data.yaml").is_file():
        listing = _list_set(root)
    elif (root / "crops.csv").is_file():
        listing = _list_crops(root)
    elif (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir():
        listing = _list_voc(root)
    else:
        listing = _list_folder(root)
    if not listing.items:
        raise AnnotationError(f"{where}: no images in it ({', '.join(IMAGE_SUFFIXES)})")
    return listing


def real_groups(manifest: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, str]:
    """The groups that a manifest entry or a row of a table tells, without the empty ones and without what only looks like a slide.

    A set may say `slide_is` (TXL-PBC: the laboratory); a composed one calls the slide of a file after its set where none is known.
    """
    known = {key: str(told[key]) for key in GROUPS if told.get(key)}
    not_slides = {str(s.get("name")): "slide_is" in s for s in manifest.get("sets", ()) if isinstance(s, Mapping)}
    slide = known.get("slide", "")
    if "slide_is" in manifest or slide in not_slides or not_slides.get(slide.partition("/")[0], False):
        known.pop("slide", None)
    return known


def _list_set(root: Path) -> Listing:
    prepared = annotations.read_data_yaml(root / "data.yaml")
    manifest = annotations.read_manifest(root) or {}
    entries = {str((root / e["file"]).resolve()): e for e in manifest.get("files", ()) if "file" in e}
    items, problems, seen = [], [], dict[Path, str]()
    for split, paths in prepared.splits.items():
        for path in paths:
            if path in seen:
                kind = TWO_SPLITS if seen[path] != split else "image listed twice"
                problems.append(Problem(kind, str(path), f"{seen[path]} and {split}"))
                continue
            seen[path] = split
            if not path.is_file():
                problems.append(Problem("listed image is missing", str(path)))
                continue
            entry = entries.get(str(path.resolve()), {})
            label_file = annotations.label_path(path)
            items.append(Item(path, split, label_file, None, real_groups(manifest, entry), entry.get("sha256")))
    problems += [Problem("listed image is missing", file, "in manifest.json") for file in sorted(entries) if not Path(file).is_file()]
    problems += _orphans(root, items)
    return Listing(root, "set", tuple(items), prepared.classes, tuple(problems), manifest)


def _list_crops(root: Path) -> Listing:
    manifest = annotations.read_manifest(root) or {}
    hashes = {e["file"]: e.get("sha256") for e in manifest.get("files", ()) if "file" in e}
    items, problems = [], []
    labels_of: defaultdict[str, list[str]] = defaultdict(list)
    for row in _rows(root / "crops.csv"):
        file, label = row["file"], row.get("label", "")
        labels_of[file].append(label)
        if len(labels_of[file]) > 1:
            problems.append(Problem("image listed twice", str(root / file), f"labels {', '.join(labels_of[file])}"))
        elif not (root / file).is_file():
            problems.append(Problem("listed image is missing", str(root / file)))
        else:
            if not label:
                problems.append(Problem("no label", str(root / file)))
            items.append(Item(root / file, row.get("split", ""), None, label or None, real_groups(manifest, row), hashes.get(file)))
    orphans = [p for p in _images_below(root / "crops") if p.relative_to(root).as_posix() not in labels_of]
    problems += [Problem("image not in the table", str(p)) for p in orphans]
    classes = tuple(sorted({item.label for item in items if item.label}))
    return Listing(root, "crops", tuple(sorted(items, key=lambda i: i.path)), classes, tuple(problems), manifest)


def _list_voc(root: Path) -> Listing:
    problems: list[Problem] = []
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        listed = root / "ImageSets" / "Main" / f"{split}.txt"
        for line in listed.read_text(encoding="utf-8-sig").splitlines() if listed.is_file() else ():
            stem = line.split()[0] if line.split() else ""
            if stem and splits.setdefault(stem, split) != split:
                problems.append(Problem(TWO_SPLITS, stem, f"{splits[stem]} and {split}"))
    paths = {p.stem: p for p in _images_below(root / "JPEGImages")}
    problems += [Problem("listed image is missing", stem, splits[stem]) for stem in sorted(splits.keys() - paths.keys())]
    xml = {p.stem: p for p in sorted((root / "Annotations").rglob("*.xml"))}
    problems += [Problem("label file without an image", str(xml[stem])) for stem in sorted(xml.keys() - paths.keys())]
    items = tuple(Item(path, splits.get(stem, ""), xml.get(stem, root / "Annotations" / f"{stem}.xml")) for stem, path in paths.items())
    return Listing(root, "voc", items, (), tuple(problems))


def _list_folder(root: Path) -> Listing:
    """Images anywhere below; label files where YOLO puts them or beside; else the folder that an image lies in is its label."""
    items, n_labelled = [], 0
    paths = _images_below(root)
    for path in paths:
        inside = path.relative_to(root).parts[:-1]
        split = next((SPLIT_NAMES[part.lower()] for part in inside if part.lower() in SPLIT_NAMES), "")
        places = (annotations.label_path(path), path.with_suffix(".txt"), path.with_suffix(".xml"))
        label_file = next((place for place in places if place.is_file()), None)
        n_labelled += label_file is not None
        items.append(Item(path, split, label_file, next((part for part in inside if part.lower() not in SPLIT_NAMES), None)))
    if n_labelled:
        items = [Item(i.path, i.split, i.label_file or annotations.label_path(i.path)) for i in items]
        return Listing(root, "set", tuple(items), _class_list(root), tuple(_orphans(root, items)))
    labels = sorted({item.label for item in items if item.label})
    if len(labels) < 2:  # one folder tells nothing apart
        items, labels = [Item(i.path, i.split) for i in items], []
    return Listing(root, "images", tuple(items), tuple(labels))


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _orphans(root: Path, items: Iterable[Item]) -> list[Problem]:
    wanted = {item.label_file for item in items}
    folders = {path.parent for path in wanted if path is not None}
    below = {root / "labels"} if (root / "labels").is_dir() else folders
    found = sorted({p for folder in below for p in folder.rglob("*.txt") if p.name.lower() not in NOT_LABELS})
    used = {path.resolve() for path in wanted if path is not None}
    return [Problem("label file without an image", str(p)) for p in found if p.resolve() not in used]


def _class_list(root: Path) -> tuple[str, ...]:
    for path in (folder / name for folder in (root, root / "labels") for name in CLASS_LISTS):
        if path.is_file():
            return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    return ()


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "file" not in (reader.fieldnames or ()):
                raise AnnotationError(f"{table}: column 'file' is missing")
            return [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{table}: cannot read it ({error})") from error
