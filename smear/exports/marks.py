"""What every format is written from: the boxes of each field with their labels, and the names that fields go by outside."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smear.store import output_names
from smear.types import Field, FieldFailure, FieldResult, Outcome

SEPARATOR = "__"  # of folders in a name, where a format keeps all files in one folder
DIGITS = 3  # a thousandth of a pixel: finer than any box is drawn


@dataclass(frozen=True)
class Mark:
    """One box of a result as other tools see it.

    `box` is x0 y0 x1 y1 in pixels with `DIGITS` decimals; `label` the classifier's, or the detector's class where there is none;
    `score` the detector's, in [0, 1]. White cells have the number `cell` of `cells.csv` and, when classified, one probability a class.
    """

    box: tuple[float, float, float, float]
    label: str
    detected_as: str
    score: float
    cell: int | None = None
    probabilities: tuple[tuple[str, float], ...] = ()
    needs_review: bool = False
    warnings: tuple[str, ...] = ()

    def numbers(self) -> dict[str, float]:
        """What there is to say in numbers: `score`, and of white cells `cell`, `needs_review` (0 or 1) and `p_<class>`."""
        if self.cell is None:
            return {"score": self.score}
        p = {f"p_{name}": value for name, value in self.probabilities}
        return {"score": self.score, "cell": self.cell, "needs_review": int(self.needs_review), **p}


@dataclass(frozen=True)
class Sheet:
    """One field on its way out: `stem` names its files, a posix path without suffix that no other field has; `image` its picture."""

    result: FieldResult
    stem: str
    image: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Batch:
    """All that is exported: the fields in order, every class that a label may be, and the fields that failed."""

    sheets: tuple[Sheet, ...]
    classes: tuple[str, ...]
    failures: tuple[FieldFailure, ...] = ()


def make_batch(outcomes: Iterable[Outcome], *, with_images: bool = True) -> Batch:
    """Results ready for any format.

    Args:
        with_images: pictures are written beside the labels, under names that are unique without their suffix, also for the pages of a
            TIFF (`stack-2.png`); otherwise a field keeps its id (`stack.tif#2`), which names the user's own file.
    """
    outcomes = list(outcomes)
    results = [o for o in outcomes if isinstance(o, FieldResult)]
    stems = output_names([r.field for r in results])
    sheets = []
    for result in results:
        stem = stems[result.field.id]
        image = stem + picture_suffix(result.field.id) if with_images else result.field.id
        sheets.append(Sheet(result, stem, image, tuple(marks_of(result))))
    return Batch(tuple(sheets), classes_of(results), tuple(o for o in outcomes if isinstance(o, FieldFailure)))


def marks_of(result: FieldResult) -> Iterator[Mark]:
    """The detections of a field in their order, white cells as the classifier labelled them."""
    cells = {int(row): cell for row, cell in zip(np.flatnonzero(result.is_white), result.cells(), strict=True)}
    found = result.detections
    corners = found.boxes.astype(np.float64).round(DIGITS).tolist()
    for row, (x0, y0, x1, y1) in enumerate(corners):
        name, score = result.detector_classes[found.labels[row]], shortest(found.scores[row])
        cell = cells.get(row)
        if cell is None:
            yield Mark((x0, y0, x1, y1), name, name, score)
            continue
        p = zip(result.classes, cell.probabilities, strict=True) if cell.label else ()
        yield Mark(
            (x0, y0, x1, y1),
            cell.label or name,
            name,
            score,
            cell=cell.index,
            probabilities=tuple((c, shortest(v)) for c, v in p),
            needs_review=cell.needs_review,
            warnings=cell.warnings,
        )


def classes_of(results: Sequence[FieldResult]) -> tuple[str, ...]:
    """Every class that a label may be, the classifier's first: the same list for every field, found or not."""
    labels = [name for r in results for name in r.classes]
    return tuple(dict.fromkeys([*labels, *(name for r in results for name in r.detector_classes)]))


def white_classes(batch: Batch) -> tuple[str, ...]:
    """The detector's classes that white cells were found as."""
    return tuple(dict.fromkeys(m.detected_as for sheet in batch.sheets for m in sheet.marks if m.cell is not None))


def flat_names(stems: Sequence[str]) -> dict[str, str]:
    """A name without folders for each stem, no two alike in any case of letters."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for stem in stems:
        wanted = Field(f"{stem.replace('/', SEPARATOR)}.png", Path())
        plain = output_names([wanted])[wanted.id]  # cut where it is too long for a file
        name = next(n for n in (plain, *(f"{plain}~{k}" for k in range(2, len(stems) + 2))) if n.casefold() not in taken)
        taken.add(name.casefold())
        names[stem] = name
    return names


def picture_suffix(field_id: str) -> str:
    """The format that a field's picture is written in: JPEG stays JPEG, everything else becomes PNG."""
    return ".jpg" if field_id.lower().endswith((".jpg", ".jpeg")) else ".png"


def shortest(value: np.floating) -> float:
    """The shortest decimal that names the same float32: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))
