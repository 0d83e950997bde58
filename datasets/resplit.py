"""A prepared set or crops table split anew, without a leak: the work of `python -m datasets.split`."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from datasets import convert, leaks
from datasets.bars import track
from datasets.convert import CropRecord, Record
from datasets.groups import split_groups
from datasets.listing import GROUPS, Item, Listing, list_images
from smear import annotations, images
from smear.audit.linked import connected
from smear.audit.twins import Twin, find_twins
from smear.errors import AnnotationError
from smear.models import CropContract

COUNTED_ANEW = ("files", "classes", "objects", "labels", "labels_sha256", "crop", "inputs_sha256", "split")  # of the old manifest
OURS = ("path", "train", "val", "test", "names", "nc")  # keys of data.yaml that are written anew


def resplit(data: Path, out: Path, *, shares: Mapping[str, float], seed: int, group: str | None = None, progress: bool = False) -> Path:
    """Write the set of `data` to `out` in a new split; returns the path of its data.yaml or crops.csv.

    Args:
        shares: split → share of the images and of each class, met as well as the groups allow.
        group: what is kept whole beside twins: one of `groups.KEYS`, or None for every group that the set tells.

    Raises:
        AnnotationError: not a prepared set, `group` is unknown for an image, a split would stay empty, or would leak.
        ImageError: an image cannot be read.
    """
    listing = list_images(data)
    if not listing.manifest or listing.kind not in ("set", "crops"):
        raise AnnotationError(f"{data}: not a prepared set (no manifest.json); prepare it first, such as with datasets.yolo")
    if listing.problems:
        first = listing.problems[0]
        raise AnnotationError(f"{first.file}: {first.kind}; mend the set first, datasets.check tells all of it ({len(listing.problems)})")
    if out.resolve() == listing.root.resolve():
        raise AnnotationError(f"{out}: --out is the set itself; choose another folder")
    twins = find_twins([item.path for item in listing.items], watch=partial(track, shown=progress))
    kept_whole = [group] if group else [key for key in GROUPS if any(item.groups.get(key) for item in listing.items)]
    split_of, n_groups = assign(listing, twins, [key for key in kept_whole if key != "twins"], shares=shares, seed=seed)
    refuse_leaks(listing, twins, split_of)
    counts = Counter(split_of.values())
    made = {
        "shares": dict(shares),
        "seed": seed,
        "kept_whole": [*(key for key in kept_whole if key != "twins"), "twins"],
        "n_groups": n_groups,
        "images": {split: counts[split] for split in shares},
        "manifest_sha256_before": annotations.sha256(listing.root / "manifest.json"),
    }
    write = _write_set if listing.kind == "set" else _write_crops
    return write(listing, out, split_of, made, progress=progress)


def assign(
    listing: Listing, twins: Sequence[Twin], keys: Sequence[str], *, shares: Mapping[str, float], seed: int
) -> tuple[dict[Path, str], int]:
    """The split of each image, and how many groups there are; images that share a value of one of `keys`, or are twins, stay together.

    Raises:
        AnnotationError: a key is given alone and unknown for an image, or there are too few groups to fill every split.
    """
    links: list[tuple[Path, Path]] = [(t.a, t.b) for t in twins]
    for key in keys:
        first: dict[str, Path] = {}
        unknown = [item for item in listing.items if not item.groups.get(key)]
        if unknown and len(keys) == 1:
            raise AnnotationError(f"{unknown[0].path}: --group {key}: unknown for it and {len(unknown) - 1} more; choose another group")
        links += [(first.setdefault(item.groups[key], item.path), item.path) for item in listing.items if item.groups.get(key)]
    paths = [item.path for item in listing.items]
    component = connected(paths, links)
    marks = [(component[item.path], mark) for item in listing.items for mark in _marks(item, listing.classes)]
    chosen = split_groups([c for c, _ in marks], [mark for _, mark in marks], shares=shares, seed=seed)
    split_of = {path: chosen[component[path]] for path in paths}
    empty = sorted(set(shares) - set(split_of.values()))
    if empty:
        n = len(set(component.values()))
        raise AnnotationError(f"{listing.root}: {n} groups that must stay whole cannot fill {empty[0]} too; give it a share of 0")
    return split_of, len(set(component.values()))


def refuse_leaks(listing: Listing, twins: Sequence[Twin], split_of: Mapping[Path, str]) -> None:
    """Check that no twin and no group that the set tells lies in two of the new splits.

    Raises:
        AnnotationError: one does; the message names it.
    """
    anew = [Item(item.path, split_of[item.path], groups=item.groups) for item in listing.items]
    for key, told in leaks.shared_groups(anew).items():
        if told["in_two_splits"]:
            row = told["in_two_splits"][0]
            where = " and ".join(row["splits"])
            more = len(told["in_two_splits"]) - 1
            raise AnnotationError(f"{key} {row['value']!r} and {more} more would lie in {where}: not made; give --group {key}, or none")
    torn = [t for t in twins if leaks.is_leak((split_of[t.a], split_of[t.b]))]
    assert not torn, torn[0]  # they are always linked


def _marks(item: Item, classes: Sequence[str]) -> list[str]:
    """What is shared out in proportion: images, and the classes in them."""
    if item.label_file is None:
        return [item.label or ""]
    shape_hw = images.header(item.path.read_bytes(), name=str(item.path)).shape_hw
    truth = annotations.read_labels(item.label_file, shape_hw, len(classes))
    return ["image", *(f"class {classes[i]}" for i in truth.labels)]


def _write_set(listing: Listing, out: Path, split_of: Mapping[Path, str], made: Mapping[str, Any], *, progress: bool) -> Path:
    before = yaml.safe_load((listing.root / "data.yaml").read_text(encoding="utf-8"))
    extra = {key: value for key, value in before.items() if key not in OURS}
    notes: dict[str, tuple[str, ...]] = {}
    for note, files in (listing.manifest.get("notes") or {}).items():
        for file in files:
            notes[file] = (*notes.get(file, ()), note)
    about = {key: value for key, value in listing.manifest.items() if key not in (*COUNTED_ANEW, "notes")}
    records = _records(listing, split_of, notes)
    return convert.write_yolo(
        records, out, classes=listing.classes, about={**about, "split": made}, total=len(listing.items), progress=progress, **extra
    )


def _records(listing: Listing, split_of: Mapping[Path, str], notes: Mapping[str, Sequence[str]]) -> Iterator[Record]:
    root = listing.root.resolve()
    entries = {entry["file"]: entry for entry in listing.manifest["files"]}
    names = {item.path: Path(convert.name_below_split(item.path)).with_suffix("").as_posix() for item in listing.items}
    n_of = Counter(names.values())
    for item in listing.items:
        assert item.label_file is not None
        shape_hw = images.header(item.path.read_bytes(), name=str(item.path)).shape_hw
        truth = annotations.read_labels(item.label_file, shape_hw, len(listing.classes))
        file = item.path.resolve().relative_to(root).as_posix()
        entry = entries.get(file, {})
        name = names[item.path] if n_of[names[item.path]] == 1 else f"{item.split}__{names[item.path]}"  # one name in two old splits
        groups = (entry.get("slide"), entry.get("patient"), entry.get("rbc_px"))
        source_file = entry.get("source_file") or None
        yield Record(item.path, None, name, split_of[item.path], truth, *groups, tuple(notes.get(file, ())), shape_hw, source_file)


def _write_crops(listing: Listing, out: Path, split_of: Mapping[Path, str], made: Mapping[str, Any], *, progress: bool) -> Path:
    about = {key: value for key, value in listing.manifest.items() if key not in COUNTED_ANEW}
    crop = listing.manifest.get("crop")
    contract = CropContract(**crop) if crop else None
    with (listing.root / "crops.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    records = (_crop_record(row, listing.root, split_of) for row in rows)
    return convert.write_crops(records, out, crop=contract, about={**about, "split": made}, total=len(rows), progress=progress)


def _crop_record(row: Mapping[str, str], root: Path, split_of: Mapping[Path, str]) -> CropRecord:
    path = root / row["file"]
    below = Path(row["file"]).relative_to("crops") if Path(row["file"]).parts[0] == "crops" else Path(row["file"])
    extra = {key: value for key, value in row.items() if key not in convert.CROP_COLUMNS}
    known = (row.get("patient") or None, row.get("slide") or None, row.get("field") or None)
    return CropRecord(None, below.with_suffix("").as_posix(), row["label"], *known, split_of[path], extra, path)
