"""The outcome of a comparison in a terminal: one line a system, then what a reader must know."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def console_table(found: Mapping[str, Any]) -> Table:
    """`found` is compare.json; where a system has no such number there is a dash."""
    groups = f"{found['n_groups']} groups by {found['group']}"
    shown = Table(
        title=f"{found['n']} crops, {groups}, {found['folds']} folds",
        caption="95 % intervals by group; paper: its own accuracy, on its own data and split; research use only",
    )
    shown.add_column("system", overflow="fold")
    for heading in ("accuracy, grouped", "AUC, grouped", "random", "paper", "ms a crop"):
        shown.add_column(heading, justify="right", min_width=17 if "grouped" in heading else None)
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in found["rows"]:
        rows.setdefault(row["system"], {})[row["split"]] = row
    for system, by_split in rows.items():
        grouped, any_row = by_split.get("grouped", {}), next(iter(by_split.values()))
        random = by_split.get("random", {}).get("accuracy")
        costs = (_short(any_row["reported_accuracy"], 3), _short(any_row["ms_per_crop"], 2))
        shown.add_row(system, _range(grouped, "accuracy"), _range(grouped, "roc_auc"), _short(random, 3), *costs)
    return shown


def console_lines(found: Mapping[str, Any]) -> list[str]:
    """What did not end well, by system and split, and the warnings."""
    told = [f"{row['system']} {row['split']}: {row['status']}: {row['note']}" for row in found["rows"] if row["status"] != "ok"]
    return told + [f"warning: {warning}" for warning in found["warnings"]]


def _range(row: Mapping[str, Any], name: str) -> str:
    if row.get(name) is None:
        return "–"
    return f"{row[name]:.3f} ({_short(row[f'{name}_low'], 2)}–{_short(row[f'{name}_high'], 2)})"


def _short(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
