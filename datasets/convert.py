"""The two ways a prepared set lies on disk (YOLO folders, a crops table), and the command every source shares."""

import argparse
import csv
import hashlib
import io
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import data_card, set_files
from datasets.bars import track
from datasets.set_files import write_changed
from smear import annotations, boxes
from smear.annotations import ManifestEntry
from smear.errors import AnnotationError, SmearError
from smear.models import CropContract
from smear.types import Detections, Image

SPLITS = ("train", "val", "test")
CROP_COLUMNS = ("file", "label", "patient", "slide", "field", "split")
MIN_BOX_PX = 1.0  # a smaller box is a slip of the mouse, and ultralytics drops it anyway


@dataclass(frozen=True)
class Record:
    """One labelled image on its way into a YOLO set.

    Either `source` (a file, copied byte for byte) or `image` (written as PNG); `name` is the file's posix path below the
    split without suffix; `truth` is in pixels of the decoded image. `notes` say what was repaired, one entry an occurrence.
    """

    source: Path | None
    image: Image | None
    name: str
    split: str
    truth: Detections
    slide: str | None = None
    patient: str | None = None
    rbc_px: float | None = None
    notes: tuple[str, ...] = ()
    shape_hw: tuple[int, int] | None = None  # (height, width) that the source's annotation claims, checked against the image
    source_file: str | None = None  # what the manifest calls the source, when its file name is not enough


@dataclass(frozen=True)
class CropRecord:
    """One crop of one cell on its way into a crops table; an unknown patient, slide or field is None.

    Either `image`, written as PNG, or `source`, copied. `name` is the posix path below `crops/` without suffix.
    """

    image: Image | None
    name: str
    label: str
    patient: str | None
    slide: str | None
    field: str | None
    split: str
    extra: Mapping[str, str] = default(default_factory=dict)
    source: Path | None = None


def class_indices(names: Sequence[str], classes: Sequence[str], where: object) -> list[int]:
    """The index of each of N names in `classes`.

    Raises:
        AnnotationError: a name is not among them; the message begins with `where`.
    """
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise AnnotationError(f"{where}: unknown class {unknown[0]!r}; expected one of {tuple(classes)}")
    return [list(classes).index(name) for name in names]


def tidy(corners: NDArray[np.float32], labels: Sequence[int], shape_hw: tuple[int, int]) -> tuple[Detections, tuple[str, ...]]:
    """Truth that fits its image: boxes clipped to it, empty ones dropped, each repair told as a note.

    Args:
        corners: (N, 4) x0 y0 x1 y1, pixels, as the source gives them. labels: N class indices.
    """
    corners = np.asarray(corners, np.float32).reshape(-1, 4)
    if not np.isfinite(corners).all():
        raise AnnotationError("a box is not finite")
    ordered = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], axis=1)
    clipped = boxes.clip(ordered, shape_hw)
    kept = (clipped[:, 2:] - clipped[:, :2] >= MIN_BOX_PX).all(axis=1)
    n_swapped = int((ordered != corners).any(axis=1)[kept].sum())
    n_clipped = int((np.abs(clipped - ordered) > 0.5).any(axis=1)[kept].sum())  # half a pixel is rounding, not a mistake
    notes = ("box with its corners swapped",) * n_swapped + ("box clipped to the image",) * n_clipped
    notes += ("empty box dropped",) * int((~kept).sum())
    truth = Detections(clipped[kept], np.ones(int(kept.sum()), np.float32), np.asarray(labels, np.int64).reshape(-1)[kept])
    return truth, notes


def write_yolo(
    records: Iterable[Record],
    out: Path,
    *,
    classes: Sequence[str],
    about: Mapping[str, Any],
    total: int | None = None,
    progress: bool = False,
    **extra: object,
) -> Path:
    """Write a YOLO set (`images/`, `labels/`, `data.yaml`, `manifest.json`, its card); a second equal run changes no file.

    Args:
        about: `name`, `source`, `licence`, … for the manifest, which also gets `classes`, `objects` per split, `notes` (what was
            repaired, with file names) and `labels_sha256`.
        total: how many records will come, for the bar. extra: further keys of data.yaml, such as `rbc_px`.

    Returns:
        The path of data.yaml. Files of an earlier run that are no longer wanted are removed.

    Raises:
        AnnotationError: no record, two of one name, an unknown split, or `out` holds images that we did not write.
            Also when an annotation gives another image size than the image has.
        ImageError: a source is not a readable image.
    """
    entries: list[ManifestEntry] = []
    notes: defaultdict[str, list[str]] = defaultdict(list)
    objects: dict[str, Counter[str]] = {s: Counter() for s in SPLITS}
    digest = hashlib.sha256()
    old = set_files.written_before(out)
    for record in track(records, str(about.get("name", "write")), shown=progress, total=total):
        if record.split not in SPLITS:
            raise AnnotationError(f"{record.name}: unknown split {record.split!r}; use one of {SPLITS}")
        file, sha, shape_hw = set_files.place(out, f"images/{record.split}", record.name, record.source, record.image)
        if record.shape_hw not in (None, shape_hw):
            raise AnnotationError(f"{record.source or file}: annotated as {record.shape_hw} (height, width), but it is {shape_hw}")
        text = set_files.write_labels(annotations.label_path(out / file), record.truth, shape_hw)
        digest.update(f"{file}\n{text}".encode())
        objects[record.split].update(classes[i] for i in record.truth.labels)
        for note in record.notes:
            notes[note].append(file)
        source_file = record.source_file or (record.source.name if record.source else "")
        entries.append(ManifestEntry(file, sha, record.split, source_file, record.slide, record.patient, record.rbc_px))
    set_files.check_complete([e.file for e in entries], out)
    set_files.remove_stale(out, old, {e.file for e in entries}, folder="images")
    splits = [s for s in SPLITS if any(e.split == s for e in entries)]
    counts = {s: {"images": sum(e.split == s for e in entries), **{c: objects[s][c] for c in classes}} for s in splits}
    summary = {"classes": list(classes), "objects": counts, "notes": dict(notes), "labels_sha256": digest.hexdigest()}
    data_yaml = annotations.write_data_yaml(out, classes, splits, **extra)
    annotations.write_manifest(out, entries, **{**about, **summary})
    data_card.write_card(out)
    return data_yaml


def write_crops(
    records: Iterable[CropRecord],
    out: Path,
    *,
    crop: CropContract | None,
    about: Mapping[str, Any],
    total: int | None = None,
    progress: bool = False,
) -> Path:
    """Write `crops/`, `crops.csv`, `manifest.json` and its card; a second equal run changes no file.

    Args:
        crop: how the crops were cut from their fields, or None when the source gives crops of its own kind; kept as `crop`
            in the manifest.
        about: `name`, `source`, `licence`, `rbc_px`, … for the manifest.

    Returns:
        The path of crops.csv: file, label, patient, slide, field, split, then the extra columns; unknown is empty.

    Raises:
        AnnotationError: no record, two of one name, or `out` holds crops that we did not write.
    """
    rows: list[dict[str, str]] = []
    entries: list[ManifestEntry] = []
    old = set_files.written_before(out)
    for r in track(records, str(about.get("name", "write")), shown=progress, total=total):
        file, sha, _ = set_files.place(out, "crops", r.name, r.source, r.image)
        known = (file, r.label, r.patient or "", r.slide or "", r.field or "", r.split)
        rows.append({**dict(zip(CROP_COLUMNS, known, strict=True)), **r.extra})
        entries.append(ManifestEntry(file, sha, r.split, r.source.name if r.source else (r.field or ""), r.slide, r.patient))
    set_files.check_complete([e.file for e in entries], out)
    set_files.remove_stale(out, old, {e.file for e in entries}, folder="crops")
    columns = dict.fromkeys([*CROP_COLUMNS, *(k for row in rows for k in row)])
    table = io.StringIO()
    writer = csv.DictWriter(table, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["file"]))
    write_changed(out / "crops.csv", table.getvalue().encode())
    pairs = sorted(Counter((row["split"], row["label"]) for row in rows).items())
    labels: dict[str, dict[str, int]] = {}
    for (split, label), n in pairs:
        labels.setdefault(split, {})[label] = n
    contract = crop.model_dump() if crop else None
    annotations.write_manifest(out, entries, **{**about, "crop": contract, "labels": labels})
    data_card.write_card(out)
    return out / "crops.csv"


def name_below_split(image: Path) -> str:
    """The posix path of an image below `images/<split>/`; just its name when it lies elsewhere."""
    parts = image.parts
    if "images" not in parts[:-2]:
        return image.name
    return "/".join(parts[len(parts) - parts[::-1].index("images") + 1 :])


def source_folder(path: Path, *wanted: str) -> Path:
    """`path`, if it is a folder that holds all the `wanted` entries.

    Raises:
        AnnotationError: it does not; the message names what is missing.
    """
    if not path.is_dir():
        raise AnnotationError(f"{path}: --source: no such folder")
    for name in wanted:
        if not (path / name).exists():
            raise AnnotationError(f"{path}: --source: expected {', '.join(wanted)} in it; {name} is missing")
    return path


def parser(name: str, doc: str | None, *, source_help: str = "folder of the set as its owners give it") -> argparse.ArgumentParser:
    """The command line that every source shares; a source may add its own flags."""
    made = argparse.ArgumentParser(prog=f"python -m datasets.{name}", description=(doc or "").split("\n\n")[0])
    made.add_argument("--source", type=Path, required=True, metavar="DIR", help=source_help)
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the prepared set goes")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return made


def add_generic_flags(made: argparse.ArgumentParser) -> None:
    """What a converter of a format, unlike a known set, must be told."""
    made.add_argument("--name", default="unnamed", help="name of the set, kept in the manifest")
    made.add_argument("--licence", default="unknown", help="licence of the images, kept in the manifest")
    made.add_argument("--classes", metavar="A,B", help="class names in index order (default: those found, sorted)")
    made.add_argument("--split", default="train", choices=SPLITS, help="split of images that no list names")


def run(made: argparse.ArgumentParser, argv: Sequence[str] | None, action: Callable[[argparse.Namespace], Path]) -> int:
    """Parse, act, say in a few lines what was written; a mistake in the request is one line on stderr and 2."""
    arguments = made.parse_args(argv)
    try:
        if "source" in arguments and arguments.source.resolve() == arguments.out.resolve():
            raise AnnotationError(f"{arguments.out}: --out is the source itself; choose another folder")
        written = action(arguments)
        lines = describe(written)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # read-only folder, full disk, a file where a folder should be
        print(f"error: {error.filename or arguments.out}: {error.strerror or error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def describe(written: Path) -> list[str]:
    """A prepared set in a few lines: files and classes per split, repairs, where it is."""
    manifest = annotations.read_manifest(written.parent) or {}
    counts: dict[str, dict[str, int]] = manifest.get("objects") or manifest.get("labels") or {}
    lines = [f"{split}: " + ", ".join(f"{n} {what}" for what, n in row.items()) for split, row in counts.items()]
    lines += [f"note: {note}: {len(files)}, in {', '.join(sorted(set(files))[:3])}" for note, files in manifest.get("notes", {}).items()]
    return [*lines, f"wrote {written}"]
