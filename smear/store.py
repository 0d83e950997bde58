"""The output folder of a run: written field by field, read again by a run that resumes."""

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from smear.crops import crop
from smear.draw import draw_field
from smear.errors import ConfigError
from smear.files import write_atomic
from smear.images import encode, read_image, write_image
from smear.models import CropContract
from smear.report.html import GalleryItem, render_html
from smear.report.records import from_json, to_json
from smear.report.summary import summarise
from smear.report.tables import write_cells_csv
from smear.types import Field, FieldResult, Image, Outcome

GALLERY_PX = 96
GALLERY_WIDTH_RBC = 3.0  # red cells across one gallery picture: all cells at one scale
FALLBACK_CONTRACT = CropContract(unit="box", width=1.7)


class Store:
    """Results of one run below `root`.

    Args:
        fields: all fields of the run; their names decide the names of the files.
        key: hash of everything but the image that a result depends on (cards and settings).
        with_crops: also write `crops/<field>/<cell>.png`.

    Raises:
        ConfigError: `root` cannot be written.
    """

    def __init__(self, root: Path, fields: Sequence[Field], *, key: str, with_crops: bool = False) -> None:
        self.root, self._key, self._with_crops = root, key, with_crops
        self._names = output_names(fields)
        self._keys: dict[str, str] = {}
        try:
            for folder in ("annotated", "fields"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            write_atomic(root / ".writable", b"")
            (root / ".writable").unlink()
        except OSError as error:
            raise ConfigError(f"{root}: cannot write there ({error.strerror}); choose another --out") from error

    def recall(self, field: Field, data: bytes) -> Outcome | None:
        """The outcome of an earlier run on the same bytes, cards and settings; None when there is none, or it is damaged."""
        key = self._keys[field.id] = hashlib.sha256(self._key.encode() + f"#{field.page}".encode() + data).hexdigest()
        try:
            record = json.loads(self._record_path(field).read_text(encoding="utf-8"))
            known = from_json(record) if record.pop("key", None) == key else None
        except (OSError, ValueError):
            return None
        return known if known is not None and known.field == field and self._annotated_path(field).is_file() else None

    def keep(self, outcome: Outcome, image: Image | None) -> None:
        """Write what one field gives: the annotated picture, the crops, then the record, so that a record means a finished field."""
        field = outcome.field
        gallery: list[str] = []
        if isinstance(outcome, FieldResult) and image is not None:
            write_image(self._annotated_path(field), draw_field(image, outcome))
            pictures = list(self._pictures(outcome, image))
            gallery = [base64.b64encode(encode(picture, ".jpg")).decode() for picture in pictures]
            for cell, picture in enumerate(pictures if self._with_crops else ()):
                write_image(self.root / "crops" / self._names[field.id] / f"{cell}.png", picture)
        record = {**to_json(outcome), "key": self._keys.get(field.id, ""), "gallery": gallery}
        write_atomic(self._record_path(field), json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def show(self, outcome: Outcome) -> None:
        """Write what one field gives, decoding it again: for runs that change results after the analysis."""
        image = read_image(outcome.field.path, page=outcome.field.page) if isinstance(outcome, FieldResult) else None
        self.keep(outcome, image)

    def finish(self, outcomes: Sequence[Outcome], *, cards: Sequence, config: dict, metrics: dict | None = None) -> dict:
        """Write `cells.csv`, `report.json` and `report.html` for all outcomes, and return the report."""
        classes: Collection[str] = next((o.classes for o in outcomes if isinstance(o, FieldResult) and o.classes), ())
        results = [o for o in outcomes if isinstance(o, FieldResult)]
        write_cells_csv(self.root / "cells.csv", results, *([tuple(classes)] if classes else []))
        report = summarise(outcomes, cards=cards, config=config, metrics=metrics)
        write_atomic(self.root / "report.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_atomic(self.root / "report.html", render_html(report, list(self._gallery(results))))
        return report

    def _gallery(self, results: Iterable[FieldResult]) -> Iterator[GalleryItem]:
        for result in results:
            record = json.loads(self._record_path(result.field).read_text(encoding="utf-8"))
            for cell, picture in zip(result.cells(), record.get("gallery", []), strict=False):
                sure = float(cell.probabilities.max()) if cell.label else cell.detection_score
                yield GalleryItem(result.field.id, cell.index, cell.label, sure, base64.b64decode(picture), cell.needs_review)

    def _pictures(self, result: FieldResult, image: Image) -> Iterator[Image]:
        contract = CropContract(unit="rbc", width=GALLERY_WIDTH_RBC) if result.scale.is_known else FALLBACK_CONTRACT
        for cell in result.cells():
            yield crop(image, cell.box, contract, rbc_px=result.scale.rbc_px, out_px=GALLERY_PX)[0]

    def _record_path(self, field: Field) -> Path:
        return self.root / "fields" / f"{self._names[field.id]}.json"

    def _annotated_path(self, field: Field) -> Path:
        suffix = ".jpg" if field.path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        return self.root / "annotated" / f"{self._names[field.id]}{suffix}"


def output_names(fields: Sequence[Field]) -> dict[str, str]:
    """A file name without suffix for each field id: its path without suffix, or the whole path where two would collide."""
    plain = {f.id: _without_suffix(f.id) for f in fields}
    used: dict[str, int] = {}
    for name in plain.values():
        used[name.casefold()] = used.get(name.casefold(), 0) + 1
    return {i: name if used[name.casefold()] == 1 else i.replace("#", "-") for i, name in plain.items()}


def _without_suffix(field_id: str) -> str:
    path, _, page = field_id.partition("#")
    name = str(PurePosixPath(path).with_suffix(""))
    return f"{name}-{page}" if page else name
