"""Metrics as a table: one row a number, with its interval where there is one."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("metric", "value", "low", "high", "n_groups")


def metric_table(metrics: Mapping[str, Any]) -> str:
    """A nested mapping of metrics as CSV text: `COLUMNS`, keys joined by dots, numbers as they are, unknown ones empty.

    Lists (curves) and words are left out; `metrics["intervals"]` fills low, high and n_groups of the number of that name.
    """
    intervals = metrics.get("intervals", {})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    written = set()
    for name, value in _numbers({key: part for key, part in metrics.items() if key != "intervals"}):
        writer.writerow([name, _cell(value), *_range(intervals.get(name, {}))])
        written.add(name)
    for name, interval in intervals.items():
        if name not in written:
            writer.writerow([name, _cell(interval["value"]), *_range(interval)])
    return text.getvalue()


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int | float | None]]:
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield name, value


def _range(interval: Mapping[str, Any]) -> list[str]:
    return [_cell(interval.get(key)) for key in ("low", "high", "n_groups")]


def _cell(value: Any) -> str:
    return "" if value is None or value != value else f"{value}"
