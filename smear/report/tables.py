"""`cells.csv`: one row per white cell, the same bytes for the same results."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from smear.types import FieldResult

DEFAULT_CLASSES = ("ALL", "HEM")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins so


def cell_columns(classes: Sequence[str] = DEFAULT_CLASSES) -> tuple[str, ...]:
    """The header: one probability column `p_<class>` for each class."""
    return (
        *("field", "slide", "cell", "x0", "y0", "x1", "y1", "detected_as", "detection_score", "label"),
        *(f"p_{name}" for name in classes),
        *("needs_review", "warnings"),
    )


CELL_COLUMNS = cell_columns()


def cell_rows(result: FieldResult, classes: Sequence[str] = DEFAULT_CLASSES) -> Iterator[tuple[str, ...]]:
    """The rows of one field in `cell_columns(classes)` order: pixels with 2 decimals, shares with 4, an unknown probability empty.

    `needs_review` is true or false; warnings are joined by "; ". Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    columns = [result.classes.index(name) if name in result.classes else None for name in classes]
    for cell in result.cells():
        p = [float("nan") if k is None else float(cell.probabilities[k]) for k in columns]
        yield (
            safe_text(result.field.id),
            safe_text(result.field.slide),
            str(cell.index),
            *(f"{v:.2f}" for v in cell.box.tolist()),
            safe_text(cell.detected_as),
            f"{cell.detection_score:.4f}",
            safe_text(cell.label),
            *(f"{v:.4f}" if np.isfinite(v) else "" for v in p),
            "true" if cell.needs_review else "false",
            safe_text("; ".join(cell.warnings)),
        )


def write_cells_csv(path: Path, results: Iterable[FieldResult], classes: Sequence[str] | None = None) -> int:
    """Write the table in the order given (UTF-8, commas, \\n) and return the number of cells; a reader never sees half a file.

    Args:
        results: gone through once. classes: None: those of the first result, as all of a run have the same.
    """
    draft = path.with_name(path.name + ".part")
    rest = iter(results)
    first = next(rest, None)
    classes = classes or (first.classes if first else ()) or DEFAULT_CLASSES
    n_cells = 0
    with draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(cell_columns(classes))
        for result in chain([] if first is None else [first], rest):
            for row in cell_rows(result, classes):
                writer.writerow(row)
                n_cells += 1
    os.replace(draft, path)
    return n_cells


def safe_text(text: str) -> str:
    """The text, with a leading apostrophe when a spreadsheet would take it for a formula (OWASP: CSV injection)."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
