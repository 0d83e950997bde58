"""One on-disk label format in and out: YOLO folders with data.yaml and a manifest of hashes.

Layout: `images/<split>/…`, `labels/<split>/….txt` (class cx cy w h, relative), `data.yaml`, `manifest.json`.
Format: ultralytics YOLO detection data sets.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from smear import boxes
from smear.errors import AnnotationError
from smear.files import write_atomic
from smear.types import Detections

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
WHITE_KINDS = ("ALL", "HEM")  # classes that are kinds of white cells where data.yaml does not say
_DIGITS = 6  # a thousandth of a pixel in the largest field
EDGE_TOLERANCE = 1e-3  # writers round to 6 digits or fewer; a box may end this far (relative) outside the image


@dataclass(frozen=True)
class DataSet:
    """A labelled set on disk: its classes, and per split the image files in sorted order.

    white_classes: those that are kinds of white cells. ignored_classes: those that mark regions nobody labelled.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]
    white_classes: tuple[str, ...] = ()
    ignored_classes: tuple[str, ...] = ()

    def images(self, split: str) -> tuple[Path, ...]:
        """The images of one split.

        Raises:
            AnnotationError: the set has no such split, or it is empty.
        """
        if not self.splits.get(split):
            raise AnnotationError(f"{self.root}: no images in split {split!r}; it has {sorted(k for k, v in self.splits.items() if v)}")
        return self.splits[split]


@dataclass(frozen=True)
class ManifestEntry:
    """One file of a prepared set: where it came from and which group it belongs to; unknown is None."""

    file: str
    sha256: str
    split: str
    source_file: str
    slide: str | None = None
    patient: str | None = None
    rbc_px: float | None = None  # measured red-cell diameter in this file, pixels


def read_data_yaml(path: Path) -> DataSet:
    """Open `data.yaml` as ultralytics does: `path` is relative to the file, splits are folders, lists of folders or .txt lists.

    Our own keys beside: `white_classes`, the names of kinds of white cells (default: `WHITE_KINDS`), and `ignored_classes`.

    Raises:
        AnnotationError: the file is missing, is not YAML, or has no `names`, or no split.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror}); --data wants the data.yaml of a prepared set") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        raise AnnotationError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or "names" not in content:
        raise AnnotationError(f"{path}: names: missing; list the classes in index order")
    classes = _class_names(content["names"], path)
    if content.get("nc", len(classes)) != len(classes):
        raise AnnotationError(f"{path}: nc: is {content['nc']}, but names has {len(classes)}")
    folder = content.get("path") or "."
    if not isinstance(folder, str):
        raise AnnotationError(f"{path}: path: must be a folder, got {folder!r}")
    root = (path.parent / folder).resolve()
    splits = {s: _split_images(root, content[s], f"{path}: {s}") for s in ("train", "val", "test") if content.get(s)}
    if not splits:
        raise AnnotationError(f"{path}: no train, val or test split")
    white = _some_of(classes, content.get("white_classes"), f"{path}: white_classes", default=WHITE_KINDS)
    return DataSet(root, classes, splits, white, _some_of(classes, content.get("ignored_classes"), f"{path}: ignored_classes", default=()))


def label_path(image: Path) -> Path:
    """The label file of an image: the last `images` folder of its path becomes `labels`."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_labels(path: Path, shape_hw: tuple[int, int], n_classes: int) -> Detections:
    """Ground truth of one image, scores 1; an empty file is a field without cells.

    Raises:
        AnnotationError: the file is missing, a line is malformed, a value is out of range, or a class is unknown.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror}); an image without cells needs an empty label file") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not a text file in UTF-8") from error
    rows = [_parse_line(line, f"{path}:{number}", n_classes) for number, line in enumerate(lines, 1) if line.strip()]
    values = np.array(rows, np.float32).reshape(-1, 5)
    corners = boxes.clip(boxes.from_yolo(values[:, 1:], shape_hw), shape_hw)
    return Detections(corners, np.ones(len(values), np.float32), values[:, 0].astype(np.int64))


def write_labels(path: Path, truth: Detections, shape_hw: tuple[int, int]) -> None:
    """Write `labels_text` of one image.

    Raises:
        AnnotationError: as `labels_text`.
    """
    write_atomic(path, labels_text(truth, shape_hw, name=str(path)))


def labels_text(truth: Detections, shape_hw: tuple[int, int], *, name: str) -> str:
    """The boxes of one image as lines, clipped to it, six digits each; empty when there are none. `name` is for errors.

    Raises:
        AnnotationError: a box has no area inside the image, so that it could not be read back.
    """
    relative = boxes.to_yolo(boxes.clip(truth.boxes, shape_hw), shape_hw).round(_DIGITS)
    empty = np.flatnonzero((relative[:, 2:] <= 0).any(axis=1))
    if len(empty):
        size = f"{shape_hw[1]}×{shape_hw[0]} pixels"
        raise AnnotationError(f"{name}: box {empty[0] + 1} of {len(truth)} is empty inside the image of {size}: {truth.boxes[empty[0]]}")
    rows = zip(truth.labels, relative, strict=True)
    lines = [f"{label} " + " ".join(f"{value:.{_DIGITS}f}" for value in row) for label, row in rows]
    return "".join(line + "\n" for line in lines)


def write_data_yaml(root: Path, classes: Iterable[str], splits: Iterable[str], **extra: object) -> Path:
    """Write `root/data.yaml` for `images/<split>` folders; `extra` keys (such as `rbc_px`) are kept beside."""
    path = root / "data.yaml"
    write_atomic(path, data_yaml_text(classes, splits, **extra))
    return path


def data_yaml_text(classes: Iterable[str], splits: Iterable[str], **extra: object) -> str:
    """What `write_data_yaml` writes."""
    content = {"path": ".", **{s: f"images/{s}" for s in splits}, "names": dict(enumerate(classes)), **extra}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def write_manifest(root: Path, entries: Iterable[ManifestEntry], **about: object) -> str:
    """Write `root/manifest.json` (`name`, `source`, `licence`, … in `about`; then `files`) and return its SHA-256."""
    files = [asdict(e) for e in sorted(entries, key=lambda e: e.file)]
    text = json.dumps({**about, "files": files}, indent=1, ensure_ascii=False) + "\n"
    write_atomic(root / "manifest.json", text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(root: Path) -> dict | None:
    """The parsed `manifest.json` of a prepared set, or None when it has none.

    Raises:
        AnnotationError: it is there, and cannot be read or lists no files.
    """
    path = root / "manifest.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not a manifest ({error}); prepare the set again") from error
    if not isinstance(content, dict) or not isinstance(content.get("files"), list):
        raise AnnotationError(f"{path}: not a manifest (no list of files); prepare the set again")
    return content


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_line(line: str, where: str, n_classes: int) -> list[float]:
    try:
        values = [float(v) for v in line.split()]
    except ValueError as error:
        raise AnnotationError(f"{where}: expected five numbers (class cx cy w h), got {line!r}") from error
    if len(values) != 5:
        raise AnnotationError(f"{where}: expected five numbers (class cx cy w h), got {len(values)}")
    label, cx, cy, width, height = values
    if not 0 <= label < n_classes or label != int(label):
        raise AnnotationError(f"{where}: unknown class {values[0]:g}; data.yaml names {n_classes} classes, 0 to {n_classes - 1}")
    x0, y0, x1, y1 = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    inside = min(x0, y0) >= -EDGE_TOLERANCE and max(x1, y1) <= 1 + EDGE_TOLERANCE and max(x0, y0) < 1 and min(x1, y1) > 0
    if not (width > 0 and height > 0 and inside):
        raise AnnotationError(f"{where}: box out of range [0, 1] or empty: {' '.join(f'{v:g}' for v in values[1:])}")
    return values


def _class_names(names: object, where: Path) -> tuple[str, ...]:
    if not isinstance(names, list | dict) or not names:
        raise AnnotationError(f"{where}: names: must be a list or a mapping of class names, got {names!r}")
    if isinstance(names, dict):
        by_number = {str(key): name for key, name in names.items()}
        if set(by_number) != set(map(str, range(len(names)))):
            raise AnnotationError(f"{where}: names: must be numbered from 0 without gaps, got {list(names)!r}")
        names = [by_number[str(i)] for i in range(len(names))]
    classes = tuple(map(str, names))
    for name in classes:
        if classes.count(name) > 1:
            raise AnnotationError(f"{where}: names: {name!r} is given twice")
    return classes


def _some_of(classes: Sequence[str], entry: object, where: str, *, default: Sequence[str]) -> tuple[str, ...]:
    if entry is None:
        return tuple(c for c in classes if c in default)
    if not isinstance(entry, list) or any(name not in classes for name in entry):
        raise AnnotationError(f"{where}: must be a list of names among {list(classes)}, got {entry!r}")
    return tuple(entry)


def _split_images(root: Path, entry: object, where: str) -> tuple[Path, ...]:
    parts = [entry] if isinstance(entry, str) else entry
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise AnnotationError(f"{where}: must be a folder, a list of folders or a .txt file, got {entry!r}")
    return tuple(sorted(image for part in parts for image in _images_at(root, part, where)))


def _images_at(root: Path, part: str, where: str) -> list[Path]:
    place = root / part
    if not place.exists() and part.startswith("../"):
        place = root / part.removeprefix("../")  # Roboflow writes one level too many, and ultralytics forgives it
    if place.is_dir():
        return [p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if place.is_file() and place.suffix == ".txt":
        return [place.parent / line.strip() for line in place.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    raise AnnotationError(f"{where}: {part}: no such folder or list below {root}")
