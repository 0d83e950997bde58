"""The table of features as Parquet: one row a crop, the text columns of its table, then one float column a feature; uses polars."""

import io
import json
from pathlib import Path
from typing import Any

from classification.crops import GROUPS, CropTable
from classification.features.families import choose
from classification.features.files import Measured
from smear.files import write_atomic
from smear.report.summary import NOTICE

KEPT = ("file", "source", "split", *GROUPS, "stain", "subtype")  # text columns that are carried over where the table has them


def write_features(path: Path, table: CropTable, measured: Measured, *, families: str, size: int) -> None:
    """Write N rows: text columns ("" is null), `label`, `warnings` (a list), `error` (null when read), and F float32 features.

    What could not be measured is NaN. The metadata hold the units of the features and how they were made.

    Raises:
        OSError: the file cannot be written; an old one stays.
    """
    import polars as pl

    text = {name: [value or None for value in table.columns[name]] for name in KEPT if name in table.columns}
    labels = [table.classes[i] for i in table.labels.tolist()]
    told = {"warnings": [list(row) for row in measured.warnings], "error": list(measured.errors)}
    kinds: dict[str, Any] = {**dict.fromkeys([*text, "label"], pl.String()), "warnings": pl.List(pl.String()), "error": pl.String()}
    known = pl.DataFrame({**text, "label": labels, **told}, schema=kinds)
    numbers = pl.DataFrame(measured.values, schema=dict.fromkeys(measured.names, pl.Float32()), orient="row")
    content = io.BytesIO()
    pl.concat([known, numbers], how="horizontal").write_parquet(content, metadata=_about(table, families, size))
    write_atomic(path, content.getvalue())


def _about(table: CropTable, families: str, size: int) -> dict[str, str]:
    chosen = choose(families)
    units = {name: unit for family in chosen for name, unit in family.units.items()}
    made = {
        "families": {family.name: {"about": family.about, "source": family.source, "n": len(family.names)} for family in chosen},
        "imgsz": size,
        "data": list(table.about),
        "crop": table.contract.model_dump() if table.contract else None,
    }
    return {"notice": NOTICE, "units": json.dumps(units), "made": json.dumps(made)}
