"""Results as Parquet, for many fields: `cells.parquet`, the typed twin of `cells.csv`, and `fields.parquet`, one row a field.

Written by polars, which ultralytics brings along anyway; pandas, DuckDB, R and Spark read it. Unknown is null.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from smear.exports.folder import Item
from smear.exports.marks import Batch, Sheet, shortest
from smear.report.summary import NOTICE


def write(batch: Batch) -> Iterator[Item]:
    """Both tables; they keep their columns and types when there is no row."""
    import polars as pl

    classes = list(dict.fromkeys(name for sheet in batch.sheets for name in sheet.result.classes))
    detected = list(dict.fromkeys(name for sheet in batch.sheets for name in sheet.result.detector_classes))
    text, real, count = pl.String(), pl.Float32(), pl.Int32()
    cells = {
        "field": text,
        "slide": text,
        "patient": text,
        "cell": count,
        **dict.fromkeys(("x0", "y0", "x1", "y1"), real),
        "detected_as": text,
        "detection_score": real,
        "label": text,
        **{f"p_{name}": real for name in classes},
        "needs_review": pl.Boolean(),
        "warnings": pl.List(pl.String()),
    }
    fields = {
        "field": text,
        "slide": text,
        "patient": text,
        "height": count,
        "width": count,
        **{f"n_{name}": count for name in [*detected, *classes]},
        "n_white": count,
        "n_needs_review": count,
        "rbc_px": real,
        "scale_source": text,
        "warnings": pl.List(pl.String()),
        "failed_stage": text,
        "error": text,
    }
    rows = {"cells": [row for sheet in batch.sheets for row in _cells(sheet)], "fields": [*_fields(batch)]}
    for name, schema in (("cells", cells), ("fields", fields)):
        content = io.BytesIO()
        pl.DataFrame(rows[name], schema=schema, orient="row").write_parquet(content, metadata={"notice": NOTICE})
        yield f"{name}.parquet", content.getvalue()


def _cells(sheet: Sheet) -> Iterator[dict[str, Any]]:
    field = sheet.result.field
    for cell in sheet.result.cells():
        yield {
            "field": field.id,
            "slide": field.slide,
            "patient": field.patient,
            "cell": cell.index,
            **dict(zip(("x0", "y0", "x1", "y1"), cell.box.tolist(), strict=True)),
            "detected_as": cell.detected_as,
            "detection_score": cell.detection_score,
            "label": cell.label or None,
            **{f"p_{n}": shortest(p) if np.isfinite(p) else None for n, p in zip(sheet.result.classes, cell.probabilities, strict=True)},
            "needs_review": cell.needs_review,
            "warnings": list(cell.warnings),
        }


def _fields(batch: Batch) -> Iterator[dict[str, Any]]:
    for sheet in batch.sheets:
        result, cells = sheet.result, list(sheet.result.cells())
        yield {
            "field": result.field.id,
            "slide": result.field.slide,
            "patient": result.field.patient,
            "height": result.shape_hw[0],
            "width": result.shape_hw[1],
            **{f"n_{name}": result.count(name) for name in result.detector_classes},
            **{f"n_{name}": sum(c.label == name for c in cells) for name in result.classes},
            "n_white": len(cells),
            "n_needs_review": sum(c.needs_review for c in cells),
            "rbc_px": result.scale.rbc_px if result.scale.is_known else None,
            "scale_source": result.scale.source,
            "warnings": list(result.warnings),
        }
    for failure in batch.failures:
        field = failure.field
        place = {"field": field.id, "slide": field.slide, "patient": field.patient}
        yield {**place, "failed_stage": failure.stage, "error": failure.error}
