"""`check.html`: the audit as one self-contained page, the answer first, with the twins and the doubted cells to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import leaks, page

MAX_PAIRS, MAX_DOUBTS, MAX_ROWS = 48, 60, 200  # shown; check.json holds all


def render(report: Mapping[str, Any]) -> str:
    """The page for what `audit` returned; the images that it shows are read again."""
    twins = sorted(report["twins"], key=lambda row: (not leaks.is_leak(row["splits"]), row["kind"] == "exact", -row["distance"]))
    names = ({"a_name": Path(row["a"]).name, "b_name": Path(row["b"]).name} for row in twins)
    pairs = [{**row, **name, "leak": leaks.is_leak(row["splits"])} for row, name in zip(twins[:MAX_PAIRS], names, strict=False)]
    doubts = [{"box": None, "corners": None, **row, "name": Path(row["file"]).name} for row in report["suspects"]["found"] or ()]
    return page.render(
        "check.html.j2",
        report=report,
        pairs=pairs,
        twin_counts=leaks.count_pairs(report["twins"]),
        doubts=doubts[:MAX_DOUBTS],
        n_splits=len([split for split in report["distributions"]["classes"] if split]),
        max_rows=MAX_ROWS,
    )
