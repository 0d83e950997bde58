"""The output folder of a run: written field by field, read again by a run that resumes."""

import base64
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.crops import crop
from smear.draw import draw_field, draw_overview
from smear.errors import ConfigError
from smear.files import Content, pieces, write_atomic
from smear.images import encode, write_image
from smear.models import CropContract
from smear.regions import Region
from smear.report.error_pictures import picture_errors
from smear.report.flat import fields_csv, metrics_csv, slides_csv
from smear.report.gallery import GalleryItem, choose_cells
from smear.report.html import render_html
from smear.report.records import from_json, to_json
from smear.report.summary import Fold
from smear.report.tables import write_cells_csv
from smear.report.views import look
from smear.types import Cell, Field, FieldResult, Image, Outcome

FOLDERS = ("annotated", "fields", "crops", "exports")
MAX_NAME_BYTES = 200  # file systems allow 255, suffix and counter included
GALLERY_PX = 96
GALLERY_WIDTH_RBC = 3.0  # red cells across one gallery picture: all cells at one scale
OVERVIEW_PX, BAND_PX = 4096, 512  # longest side of the annotated copy of a region; height of a band of cells read together
FALLBACK_CONTRACT = CropContract(unit="box", width=1.7)


class Store:
    """Results of one run below `root`.

    Args:
        fields: all fields of the run; their names decide the names of the files.
        key: hash of everything but the image that a result depends on (cards and settings).
        with_crops: also write `crops/<field>/<cell>.png`. with_annotated: write `annotated/<field>`.

    Raises:
        ConfigError: `root` cannot be written.
    """

    def __init__(self, root: Path, fields: Sequence[Field], *, key: str, with_crops: bool = False, with_annotated: bool = True) -> None:
        self.root, self._key, self._with_crops, self._with_annotated = root, key, with_crops, with_annotated
        self._fields, self._names = tuple(fields), output_names(fields)
        self._keys: dict[str, str] = {}
        try:
            for folder in ("annotated", "fields"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            write_atomic(root / ".writable", b"")
            (root / ".writable").unlink()
        except OSError as error:
            raise ConfigError(f"{root}: cannot write there ({error.strerror}); choose another --out") from error

    def recall(self, field: Field, data: Content) -> Outcome | None:
        """The outcome of an earlier run on the same bytes, cards and settings; None when there is none, or it is damaged."""
        digest = hashlib.sha256(self._key.encode() + f"#{field.page}".encode())
        for piece in pieces(data):
            digest.update(piece)
        key = self._keys[field.id] = digest.hexdigest()
        try:
            record = json.loads(self._record_path(field).read_text(encoding="utf-8"))
            known = from_json(record) if record.pop("key", None) == key else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        if not isinstance(known, FieldResult) or known.field.id != field.id or not self._has_pictures(field, known):
            return None
        return replace(known, field=field)  # the folder may have been named differently, the bytes are the same

    def keep(self, outcome: Outcome, image: Image | Region | None) -> None:
        """Write what one field gives: the annotated picture, the crops, then the record, so that a record means a finished field.

        Args:
            image: of the field; a Region is read window by window and drawn at no more than `OVERVIEW_PX`.
        """
        field = outcome.field
        gallery: list[str] = []
        self._record_path(field).unlink(missing_ok=True)
        if not isinstance(outcome, FieldResult):
            self._annotated_path(field).unlink(missing_ok=True)  # of an earlier run, when the file could be read
        elif image is not None:
            if self._with_annotated:
                write_image(self._annotated_path(field), _annotated(outcome, image))
            gallery = [base64.b64encode(picture).decode() for picture in _pictures(outcome, image)]
            for cell, crop_of_cell in _crops(outcome, image) if self._with_crops else ():
                write_image(self._crop_path(field, cell), crop_of_cell)
        record = {**to_json(outcome), "key": self._keys.get(field.id, ""), "gallery": gallery}
        write_atomic(self._record_path(field), json.dumps(record, allow_nan=False) + "\n")  # ASCII: paths may not be UTF-8

    def outcomes(self) -> Iterator[Outcome]:
        """What was kept or recalled of each field, in their order, one at a time: a long run need not hold them.

        Raises:
            ConfigError: the record of a field is missing or damaged.
        """
        for field in self._fields:
            try:
                yield replace(from_json(self._record(field)), field=field)  # the folder may have been named differently
            except (OSError, ValueError) as error:
                raise ConfigError(f"{self._record_path(field)}: cannot read it back ({error}); run the same command again") from error

    def finish(self, outcomes: Iterable[Outcome], *, cards: Sequence, config: dict, metrics: dict | None = None) -> dict:
        """Write `report.json`, the same numbers as CSV, and `report.html` for all outcomes, and return the report.

        Args:
            outcomes: gone through once, and not kept but for those with errors to show.
            metrics: of an evaluation, else None; the cells of its `errors` are shown as pictures.
        """
        fold = Fold()
        cells: list[GalleryItem] = []
        with_errors: list[FieldResult] = []
        wanted = {error["field"] for error in (metrics or {}).get("errors") or ()}

        def results() -> Iterator[FieldResult]:
            for outcome in outcomes:
                fold.add(outcome)
                if isinstance(outcome, FieldResult):
                    cells.extend(_gallery_items(outcome))
                    with_errors.extend([outcome] if outcome.field.id in wanted else [])
                    yield outcome

        write_cells_csv(self.root / "cells.csv", results())
        report = fold.report(cards=cards, config=config, metrics=metrics)
        write_atomic(self.root / "report.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        for name, text in _tables(report).items():
            write_atomic(self.root / name, text)
        errors = picture_errors((report["metrics"] or {}).get("errors") or (), with_errors)
        sizes = Counter(cell.label for cell in cells)
        shown = [cell for label in sizes for cell in choose_cells([c for c in cells if c.label == label])]
        write_atomic(self.root / "report.html", render_html(report, self._pictured(shown), errors, gallery_sizes=sizes))
        return report

    def _pictured(self, cells: Sequence[GalleryItem]) -> list[GalleryItem]:
        """The cells with their pictures, which lie in the records; one without a picture is left out."""
        of_field = {field.id: field for field in self._fields}
        pictured = []
        for name in dict.fromkeys(cell.field for cell in cells):
            pictures = self._record(of_field[name]).get("gallery", [])
            for cell in (c for c in cells if c.field == name and c.cell < len(pictures)):
                pictured.append(replace(cell, image=base64.b64decode(pictures[cell.cell])))
        return pictured

    def _record(self, field: Field) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self._record_path(field).read_text(encoding="utf-8"))
        return record

    def _has_pictures(self, field: Field, result: FieldResult) -> bool:
        annotated = [self._annotated_path(field)] if self._with_annotated else []
        crops = [self._crop_path(field, c.index) for c in result.cells()] if self._with_crops else []
        return all(path.is_file() for path in (*annotated, *crops))

    def _crop_path(self, field: Field, cell: int) -> Path:
        return self.root / "crops" / self._names[field.id] / f"{cell}.png"

    def _record_path(self, field: Field) -> Path:
        return self.root / "fields" / f"{self._names[field.id]}.json"

    def _annotated_path(self, field: Field) -> Path:
        suffix = ".jpg" if field.path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        return self.root / "annotated" / f"{self._names[field.id]}{suffix}"


def _gallery_items(result: FieldResult) -> Iterator[GalleryItem]:
    """The white cells, without their pictures."""
    for cell in result.cells():
        sure = float(cell.probabilities.max()) if cell.label else cell.detection_score
        yield GalleryItem(result.field.id, cell.index, cell.label, sure, b"", cell.needs_review)


def _annotated(result: FieldResult, image: Image | Region) -> Image:
    if isinstance(image, Region):
        return draw_overview(image.reduced(OVERVIEW_PX), result)
    return draw_field(image, result)


def _pictures(result: FieldResult, image: Image | Region) -> list[bytes]:
    """Each white cell as the gallery shows it, JPEG, all at one scale where that is known."""
    pictures = {}
    for cell in _by_place(result):
        longer = float(max(cell.box[2:] - cell.box[:2]))
        side = GALLERY_WIDTH_RBC * result.scale.rbc_px if result.scale.is_known else FALLBACK_CONTRACT.width * longer
        part, box = _part(image, cell.box, side)
        pictures[cell.index] = encode(look(part, box, side, GALLERY_PX).picture, ".jpg")
    return [pictures[index] for index in sorted(pictures)]


def _crops(result: FieldResult, image: Image | Region) -> Iterator[tuple[int, Image]]:
    """The number of each white cell, and the cell as a file of its own, cut as for a classifier."""
    contract = CropContract(unit="rbc", width=GALLERY_WIDTH_RBC) if result.scale.is_known else FALLBACK_CONTRACT
    for cell in _by_place(result):
        unit = result.scale.rbc_px if result.scale.is_known else float(max(cell.box[2:] - cell.box[:2]))
        part, box = _part(image, cell.box, contract.width * unit)
        yield cell.index, crop(part, box, contract, rbc_px=result.scale.rbc_px, out_px=GALLERY_PX)[0]


def _by_place(result: FieldResult) -> list[Cell]:
    """The white cells in bands from top to bottom, so that neighbours in a region are read together."""
    return sorted(result.cells(), key=lambda c: (int(c.box[1]) // BAND_PX, float(c.box[0])))


def _part(image: Image | Region, box: NDArray[np.float32], side_px: float) -> tuple[Image, NDArray[np.float32]]:
    """An image with a square of that side round a box, as far as the field reaches, and the box in it."""
    if not isinstance(image, Region):
        return image, box
    part, (x0, y0) = image.around(box, side_px)
    return part, box - np.array([x0, y0, x0, y0], np.float32)


def _tables(report: dict) -> dict[str, str]:
    found = {"fields.csv": fields_csv(report), "slides.csv": slides_csv(report)}
    return {**found, "metrics.csv": metrics_csv(report["metrics"])} if report["metrics"] else found


def output_names(fields: Sequence[Field]) -> dict[str, str]:
    """A file name without suffix for each field id: its path without suffix, or the whole path where two would collide.

    Names differ on any file system: in more than case and Unicode form. Very long ones are cut and end in a hash.
    """
    plain = {f.id: _fitting(_without_suffix(f)) for f in fields}
    used = Counter(_folded(name) for name in plain.values())
    names = {i: name for i, name in plain.items() if used[_folded(name)] == 1}
    taken = {_folded(name) for name in names.values()}
    for i in sorted(plain.keys() - names.keys()):
        wanted = _fitting(i.replace("#", "-"))
        names[i] = next(n for n in (wanted, *(f"{wanted}~{k}" for k in range(2, len(plain) + 2))) if _folded(n) not in taken)
        taken.add(_folded(names[i]))
    return names


def _without_suffix(field: Field) -> str:
    page = f"#{field.page + 1}"
    is_page = field.id.lower().endswith((f".tif{page}", f".tiff{page}"))  # other names may hold a # too
    path, ending = (field.id.removesuffix(page), f"-{field.page + 1}") if is_page else (field.id, "")
    return str(PurePosixPath(path).with_suffix("")) + ending


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _fitting(name: str) -> str:
    """The name, its last part cut where it leaves no room for a suffix."""
    folder, _, last = name.rpartition("/")
    if len(last.encode()) <= MAX_NAME_BYTES:
        return name
    short = last.encode()[:MAX_NAME_BYTES].decode(errors="ignore") + "-" + hashlib.sha256(last.encode()).hexdigest()[:8]
    return f"{folder}/{short}" if folder else short
