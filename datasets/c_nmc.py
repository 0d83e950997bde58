"""C-NMC 2019 (TCIA, CC BY 3.0): one segmented, colour-normalised cell on a pure black 450×450 canvas, ALL against HEM.

Layout: `fold_0..2/{all,hem}/UID_<subject>_<image>_<cell>_<all|hem>.bmp` anywhere below the source; the preliminary phase as `<n>.bmp` in a
folder named `…prelim…` with a CSV (`Patient_ID,new_names,labels`; 1 = all; Patient_ID is the name the cell had); the final phase
(`…final…`) has no labels: ignored and counted. Healthy donors are the subjects that start with H or h; case is not trusted to tell two
donors apart. Folds 0 and 1 become train, fold 2 val, the preliminary phase test; `fold` stays as a column. A subject that appears in
several of these goes wholly to one (train before val, test before both), and the manifest notes it.

The canvas is kept as it is. Its side is constant in pixels, so cell size survives in the crops, but no red cell is left to tell
the scale. With `--rbc-px` (red-cell diameter on the original fields) the crop contract is physical: 450 / N red cells wide. Without it the
contract is in boxes: the median of canvas over cell, measured, which frames cells alike on the whole but not their size.

Source: Gupta & Gupta, "ALL Challenge dataset of ISBI 2019 (C-NMC 2019)", The Cancer Imaging Archive, doi 10.7937/tcia.2019.dc64i46r.
"""

import argparse
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets import convert
from datasets.convert import CropRecord
from smear import images
from smear.errors import AnnotationError
from smear.models import CropContract

ABOUT = {"name": "c-nmc-2019", "source": "https://doi.org/10.7937/tcia.2019.dc64i46r", "licence": "CC BY 3.0"}
NAME = re.compile(r"UID_(?P<subject>[Hh]?\d+)_(?P<image>\d+)_(?P<cell>\d+)_(?P<label>all|hem)", re.IGNORECASE)
LABELS = {"all": "ALL", "hem": "HEM"}
SPLIT_OF_FOLD = {"fold_0": "train", "fold_1": "train", "fold_2": "val", "preliminary": "test"}
STRENGTH = ("test", "train", "val")  # where a subject goes that appears in several
CSV_COLUMNS = {"Patient_ID", "new_names", "labels"}
BLACK_BELOW = 8  # grey levels; the canvas is 0
MEASURED_CELLS = 400  # enough for a median that is steady to 1 %


@dataclass(frozen=True)
class CellFile:
    """One labelled cell: its file, who it is from, the label, and the fold (or `preliminary`) it was in."""

    path: Path
    name: str
    patient: str
    field: str
    label: str
    fold: str


def find_cells(source: Path) -> tuple[list[CellFile], int]:
    """All labelled cells, folds first, sorted; and how many images have no label (final phase).

    Raises:
        AnnotationError: no fold, a name of another form, a label that contradicts its folder or subject, a CSV that
            lacks a column or names a missing image.
    """
    folded = [_from_name(path, path.stem, path.parts[-3]) for path in sorted(source.rglob("fold_*/*/*.bmp"))]
    if not folded:
        raise AnnotationError(
            f"{source}: --source: expected fold_0, fold_1, fold_2 with all/ and hem/ below it, found no cell in such folders"
        )
    for cell in folded:
        if LABELS.get(cell.path.parent.name.lower()) != cell.label:
            raise AnnotationError(f"{cell.path}: the name says {cell.label}, the folder {cell.path.parent.name!r}")
        if cell.fold not in SPLIT_OF_FOLD:
            raise AnnotationError(f"{cell.path}: unknown fold {cell.fold!r}; C-NMC has fold_0, fold_1 and fold_2")
    labelled = folded + _preliminary(source)
    return labelled, sum(1 for _ in source.rglob("*.bmp")) - len(labelled)


def split_of_patients(cells: Sequence[CellFile]) -> tuple[dict[str, str], list[str]]:
    """The one split of every patient, and the patients that appear in more than one."""
    wanted: dict[str, set[str]] = {}
    for cell in cells:
        wanted.setdefault(cell.patient, set()).add(SPLIT_OF_FOLD[cell.fold])
    chosen = {patient: next(s for s in STRENGTH if s in splits) for patient, splits in wanted.items()}
    return chosen, sorted(patient for patient, splits in wanted.items() if len(splits) > 1)


def crop_contract(cells: Sequence[CellFile], *, rbc_px: float | None) -> tuple[CropContract, float]:
    """The contract that describes the canvases, and the median longer side of a cell, pixels."""
    step = max(1, len(cells) // MEASURED_CELLS)
    sides = np.array([_canvas_and_cell_px(cell.path) for cell in cells[::step]])  # (M, 2)
    cell_px = float(np.median(sides[:, 1]))
    if rbc_px is not None:
        return CropContract(unit="rbc", width=round(float(np.median(sides[:, 0])) / rbc_px, 3), background="black"), cell_px
    return CropContract(unit="box", width=round(float(np.median(sides[:, 0] / sides[:, 1])), 2), background="black"), cell_px


def prepare(arguments: argparse.Namespace) -> Path:
    if arguments.rbc_px is not None and not arguments.rbc_px > 0:
        raise AnnotationError(f"--rbc-px: must be above 0, got {arguments.rbc_px:g}")
    cells, n_unlabelled = find_cells(convert.source_folder(arguments.source))
    splits, moved = split_of_patients(cells)
    crop, cell_px = crop_contract(cells, rbc_px=arguments.rbc_px)
    about: dict[str, Any] = {**ABOUT, "cell_px": cell_px, "rbc_px": arguments.rbc_px, "n_ignored_unlabelled": n_unlabelled}
    if moved:
        about["notes"] = {"subject in several folds, moved wholly to one split": moved}
    records = _records(cells, splits)
    return convert.write_crops(records, arguments.out, crop=crop, about=about, total=len(cells), progress=not arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("c_nmc", __doc__)
    made.add_argument("--rbc-px", type=float, metavar="N", help="red-cell diameter on the original fields, pixels; unknown if not given")
    return convert.run(made, argv, prepare)


def _records(cells: Sequence[CellFile], splits: dict[str, str]) -> Iterator[CropRecord]:
    for cell in cells:
        yield CropRecord(
            image=images.read_image(cell.path),  # stored as PNG: a tenth of the BMP, without loss
            name=f"{cell.fold}/{cell.name}",
            label=cell.label,
            patient=cell.patient,
            slide=None,
            field=cell.field,
            split=splits[cell.patient],
            extra={"fold": cell.fold, "source_set": ABOUT["name"]},
        )


def _from_name(path: Path, name: str, fold: str) -> CellFile:
    found = NAME.fullmatch(name)
    if not found:
        raise AnnotationError(f"{path}: expected UID_<subject>_<image>_<cell>_<all|hem>, got {name!r}")
    patient, label = found["subject"].upper(), LABELS[found["label"].lower()]
    if patient.startswith("H") and label == "ALL":
        raise AnnotationError(f"{path}: subject {found['subject']} is a healthy donor, the label says ALL")
    return CellFile(path, name, patient, f"UID_{patient}_{found['image']}", label, fold)


def _preliminary(source: Path) -> list[CellFile]:
    files = {p.name: p for p in sorted(source.rglob("*.bmp")) if any("prelim" in part.lower() for part in p.relative_to(source).parts[:-1])}
    cells: list[CellFile] = []
    for table in sorted(source.rglob("*.csv")):
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if CSV_COLUMNS - set(rows.fieldnames or ()):
                raise AnnotationError(f"{table}: expected the columns Patient_ID,new_names,labels, got {','.join(rows.fieldnames or ())}")
            for line, row in enumerate(rows, 2):
                cells.append(_from_row(row, files, f"{table}:{line}"))
    if files and not cells:
        raise AnnotationError(f"{source}: {len(files)} preliminary-phase images without their CSV (Patient_ID,new_names,labels)")
    return cells


def _from_row(row: dict[str, str], files: dict[str, Path], where: str) -> CellFile:
    if row["new_names"] not in files:
        raise AnnotationError(f"{where}: {row['new_names']!r} is in no folder named '…prelim…'")
    path = files[row["new_names"]]
    cell = _from_name(path, Path(row["Patient_ID"]).stem, "preliminary")
    if (row["labels"].strip() == "1") != (cell.label == "ALL"):
        raise AnnotationError(f"{where}: labels is {row['labels']!r}, Patient_ID says {cell.label}")
    return cell


def _canvas_and_cell_px(path: Path) -> tuple[int, int]:
    """The longer side of the canvas and of what is not black on it."""
    image = images.read_image(path)
    rows, columns = np.nonzero(image.max(axis=2) >= BLACK_BELOW)
    if not len(rows):
        raise AnnotationError(f"{path}: all black; expected one cell on a black canvas")
    return max(image.shape[:2]), int(max(np.ptp(rows), np.ptp(columns))) + 1


if __name__ == "__main__":
    raise SystemExit(main())
