"""The white cells of prepared YOLO sets: labelled, without twins of held-out fields, cut to one physical size by their true boxes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import compose, convert
from datasets.bars import track
from datasets.compose import Source
from datasets.convert import CropRecord
from datasets.rulers import Ruler
from smear import annotations, boxes, images
from smear.audit.linked import connected
from smear.audit.twins import find_twins
from smear.crops import crop
from smear.errors import AnnotationError
from smear.models import CropContract

LABELS = ("ALL", "HEM")
WHITE = compose.CLASSES.index("WBC")
TWIN, NO_SCALE, CUT = "its field is a twin of a held-out one", "the scale of its field is unknown", "cut by the border of the field"

BORDER = 0.05  # red-cell diameters: boxes of cells that the border visibly cuts end up to 5 of 100 pixels inside it (BCCD, TXL-PBC)


@dataclass(frozen=True)
class WhiteCells:
    """The white cells of one field: rows of `source.truth` and the label of each, ALL or HEM."""

    source: Source
    rows: tuple[int, ...]
    labels: tuple[str, ...]
    group: str = ""
    laboratory: str = ""

    @property
    def field(self) -> str:
        """Set and path below the split, without suffix: `bccd/BloodImage_00007`."""
        return f"{self.source.set_name}/{Path(convert.name_below_split(self.source.path)).with_suffix('').as_posix()}"

    def take(self, kept: Iterable[int]) -> "WhiteCells":
        """The cells at these positions."""
        positions = list(kept)
        return replace(self, rows=tuple(self.rows[i] for i in positions), labels=tuple(self.labels[i] for i in positions))


@dataclass(frozen=True)
class LeftOut:
    """N cells of one field that are not taken, and why."""

    set_name: str
    file: str
    why: str
    n: int


def read_cells(data: Path, label_of: Mapping[str, str], *, progress: bool = False) -> tuple[dict[str, Any], list[WhiteCells]]:
    """What the manifest says about a prepared set, and its fields that show white cells, with rulers (exact in painted sets).

    Args:
        label_of: class name → ALL or HEM, for classes that do not tell.

    Raises:
        AnnotationError: a white class without a label, a patient in two splits, or what `compose.read_set` raises.
    """
    about, sources = compose.read_set(data, progress=progress)
    names = annotations.read_data_yaml(data).classes
    manifest = annotations.read_manifest(data.parent) or {"files": []}
    exact = {entry["file"]: entry.get("rbc_px") for entry in manifest["files"] if manifest.get("painted")}
    patients, slides = (_in_several_splits([(getattr(s, key), s.split) for s in sources]) for key in ("patient", "slide"))
    if patients:
        raise AnnotationError(f"{data}: patient {min(patients)!r} is in several splits; split the set by patient and prepare it again")
    found = []
    for source in sources:
        rows = tuple(int(i) for i in np.flatnonzero(source.truth.labels == WHITE))
        if not rows:
            continue
        raw = annotations.read_labels(annotations.label_path(source.path), source.shape_hw, len(names))
        labels = tuple(_label(names[raw.labels[i]], label_of, data, source.patient) for i in rows)
        known_px = exact.get(source.file.removeprefix(f"{source.set_name}/"))
        ruler = Ruler(known_px, "exact") if known_px else source.ruler
        laboratory = source.slide or "" if source.slide in slides else ""
        slide = None if laboratory else source.slide
        found.append(WhiteCells(replace(source, ruler=ruler, slide=slide), rows, labels, laboratory=laboratory))
    return about | {"rulers": dict(Counter(cells.source.ruler.origin for cells in found))}, found


def without_twins(fields: Sequence[WhiteCells], *, progress: bool = False) -> tuple[list[WhiteCells], list[LeftOut], list[dict[str, Any]]]:
    """The fields that are no twin of a field of a later split, twins in one group; the others, also as `compose.leaks` tells them."""
    paths = [cells.source.path for cells in fields]
    pairs = find_twins(paths, watch=partial(track, shown=progress))
    dropped = compose.leaks([cells.source for cells in fields], pairs=pairs)
    component = connected(paths, [(pair.a, pair.b) for pair in pairs])
    first: dict[int, str] = {}
    kept, left_out = [], []
    for cells in fields:
        path, source = cells.source.path, cells.source
        if path in dropped:
            left_out.append(LeftOut(source.set_name, source.file, TWIN, len(cells.rows)))
        else:
            kept.append(replace(cells, group=first.setdefault(component[path], cells.field)))
    return kept, left_out, [dropped[path] for path in sorted(dropped)]


def usable(cells: WhiteCells, *, with_cut: bool = False) -> tuple[WhiteCells, list[LeftOut]]:
    """The cells of a field that are whole (or also those that the border cuts), if its scale is known; and how many are left out."""
    source = cells.source
    if not np.isfinite(source.ruler.rbc_px):
        return cells.take([]), [LeftOut(source.set_name, source.file, NO_SCALE, len(cells.rows))]
    if with_cut:
        return cells, []
    margin_px = max(1.0, BORDER * source.ruler.rbc_px)
    partial = boxes.touches_edge(source.truth.boxes[list(cells.rows)], source.shape_hw, margin_px=margin_px)
    left_out = [LeftOut(source.set_name, source.file, CUT, int(partial.sum()))] if partial.any() else []
    return cells.take(int(i) for i in np.flatnonzero(~partial)), left_out


def cut(cells: WhiteCells, contract: CropContract) -> Iterator[CropRecord]:
    """One record a cell at the native resolution of its field, width × ruler pixels wide."""
    source, rbc_px = cells.source, cells.source.ruler.rbc_px
    if not cells.rows:
        return
    image = images.read_image(source.path)
    patient, slide = (f"{source.set_name}/{value}" if value else None for value in (source.patient, source.slide))
    for row, label in zip(cells.rows, cells.labels, strict=True):
        view, warnings = crop(image, source.truth.boxes[row], contract, rbc_px=rbc_px, out_px=max(1, round(contract.width * rbc_px)))
        extra = {
            "subtype": "",
            "stain": source.set_name,
            "group": cells.group,
            "source_set": source.set_name,
            "rbc_px": f"{rbc_px:.2f}",
            "warnings": "; ".join(warnings),
            "laboratory": cells.laboratory,
        }
        yield CropRecord(view, f"{cells.field}_{row:03d}", label, patient, slide, cells.field, source.split, extra)


def contents(data: Path) -> dict[str, Any]:
    """What decides the crops of a set: its manifest, which has the hash of every image, and its label files as they are now."""
    prepared = annotations.read_data_yaml(data)
    manifest = data.parent / "manifest.json"
    files = [annotations.label_path(path) for paths in prepared.splits.values() for path in paths]
    labels = {path.relative_to(prepared.root).as_posix(): annotations.sha256(path) for path in files if path.is_file()}
    return {"classes": prepared.classes, "manifest": annotations.sha256(manifest) if manifest.is_file() else None, "labels": labels}


def _label(name: str, label_of: Mapping[str, str], data: Path, patient: str | None) -> str:
    if name.upper() in LABELS:
        return name.upper()
    if name.upper() not in label_of:
        raise AnnotationError(
            f"{data}: class {name} does not say ALL or HEM; give --label {name}=HEM if all its donors are known to be normal, "
            "or leave the set out"
        )
    if patient:
        raise AnnotationError(f"{data}: --label {name}={label_of[name.upper()]}: the set has patients ({patient!r}); label it cell by cell")
    return label_of[name.upper()]


def _in_several_splits(pairs: Sequence[tuple[str | None, str]]) -> set[str]:
    n_splits = Counter(value for value, _ in set(pairs) if value)
    return {value for value, n in n_splits.items() if n > 1}
