"""One on-disk label format in and out: YOLO folders with data.yaml and a manifest of hashes.

Layout: `images/<split>/…`, `labels/<split>/….txt` (class cx cy w h, relative), `data.yaml`, `manifest.json`.
Format: ultralytics YOLO detection data sets.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from smear import boxes
from smear.errors import AnnotationError
from smear.types import Detections

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
EDGE_TOLERANCE = 1e-3  # writers round to 6 digits or fewer; a box may end this far (relative) outside the image


@dataclass(frozen=True)
class DataSet:
    """A labelled set on disk: its classes, and per split the image files in sorted order."""

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]

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

    Raises:
        AnnotationError: the file is missing, is not YAML, or has no `names`, or no split.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror}); --data wants the data.yaml of a prepared set") from error
    except yaml.YAMLError as error:
        raise AnnotationError(f"{path}: not YAML ({error})") from error
    if not isinstance(content, dict) or "names" not in content:
        raise AnnotationError(f"{path}: names: missing; list the classes in index order")
    names = content["names"]
    classes = tuple(str(names[k]) for k in sorted(names)) if isinstance(names, dict) else tuple(map(str, names))
    root = (path.parent / content.get("path", "")).resolve()
    splits = {s: _split_images(root, content[s], path) for s in ("train", "val", "test") if content.get(s)}
    if not splits:
        raise AnnotationError(f"{path}: no train, val or test split")
    return DataSet(root, classes, splits)


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
        lines = path.read_text().splitlines()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot read it ({error.strerror}); an image without cells needs an empty label file") from error
    rows = [_parse_line(line, f"{path}:{number}", n_classes) for number, line in enumerate(lines, 1) if line.strip()]
    values = np.array(rows, np.float32).reshape(-1, 5)
    corners = boxes.clip(boxes.from_yolo(values[:, 1:], shape_hw), shape_hw)
    return Detections(corners, np.ones(len(values), np.float32), values[:, 0].astype(np.int64))


def write_labels(path: Path, truth: Detections, shape_hw: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    relative = boxes.to_yolo(boxes.clip(truth.boxes, shape_hw), shape_hw)
    lines = [f"{label} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}" for label, (cx, cy, w, h) in zip(truth.labels, relative, strict=True)]
    path.write_text("".join(line + "\n" for line in lines))


def write_data_yaml(root: Path, classes: Iterable[str], splits: Iterable[str], **extra: object) -> Path:
    """Write `root/data.yaml` for `images/<split>` folders; `extra` keys (such as `rbc_px`) are kept beside."""
    content = {"path": ".", **{s: f"images/{s}" for s in splits}, "names": dict(enumerate(classes)), **extra}
    path = root / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_manifest(root: Path, entries: Iterable[ManifestEntry], **about: object) -> str:
    """Write `root/manifest.json` (`name`, `source`, `licence`, … in `about`; then `files`) and return its SHA-256."""
    files = [asdict(e) for e in sorted(entries, key=lambda e: e.file)]
    text = json.dumps({**about, "files": files}, indent=1, ensure_ascii=False) + "\n"
    (root / "manifest.json").write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(root: Path) -> dict | None:
    """The parsed `manifest.json` of a prepared set, or None when it has none."""
    path = root / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


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
    if label != int(label) or not 0 <= label < n_classes:
        raise AnnotationError(f"{where}: unknown class {values[0]:g}; data.yaml names {n_classes} classes, 0 to {n_classes - 1}")
    low, high = min(cx - width / 2, cy - height / 2), max(cx + width / 2, cy + height / 2)
    if not (width > 0 and height > 0 and low >= -EDGE_TOLERANCE and high <= 1 + EDGE_TOLERANCE):
        raise AnnotationError(f"{where}: box out of range [0, 1] or empty: {' '.join(f'{v:g}' for v in values[1:])}")
    return values


def _split_images(root: Path, entry: str | list[str], where: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    for part in [entry] if isinstance(entry, str) else entry:
        place = root / part
        if place.is_dir():
            found += [p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
        elif place.is_file():
            found += [(place.parent / line.strip()) for line in place.read_text().splitlines() if line.strip()]
        else:
            raise AnnotationError(f"{where}: {part}: no such folder or list below {root}")
    return tuple(sorted(found))
