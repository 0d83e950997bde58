"""The numbers of `report.json` as tables: `fields.csv`, `slides.csv` and `metrics.csv`, with the same values."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smear.report.tables import safe_text

BLASTS = (*("k", "n", "share", "low", "high", "adjusted", "adjusted_low", "adjusted_high", "exclude_share", "more_cells", "verdict"),)
COUNTS = ("n_fields", "n_failed_fields", "n_white", "n_red", "n_platelets", "wbc_per_rbc", "n_labelled", "n_needs_review")
SCALE = ("rbc_px", "rbc_px_low", "rbc_px_high", "spread", "n_unknown")


def slides_csv(report: Mapping[str, Any]) -> str:
    """One row a slide and a last one, named `total`, for all of them."""
    classes = report["classes"]
    header = ["slide", *COUNTS, *(f"{key}_{name}" for name in classes for key in ("n", "share", "low", "high", "n_needs_review"))]
    header += [*(f"scale_{key}" for key in SCALE), *(f"blasts_{key}" for key in BLASTS)]
    rows = []
    for row in (*report["slides"], {**report["total"], "slide": "total"}):
        shares = [row["labels"][name][key] for name in classes for key in ("n", "share", "low", "high", "n_needs_review")]
        blasts = row.get("blasts") or {}
        scale = [row["scale"][key] for key in SCALE]
        rows.append([row["slide"], *(row[key] for key in COUNTS), *shares, *scale, *(blasts.get(key) for key in BLASTS)])
    return _csv(header, rows)


def fields_csv(report: Mapping[str, Any]) -> str:
    """One row a field that was read, then one a failed field, whose `error` says why."""
    kinds, classes = report["detector_classes"], report["classes"]
    measured = sorted({key for row in report["fields"] for key in row.get("quality") or {}} - {"rbc_px"})
    header = ["field", "slide", "height_px", "width_px", "n_white", *(f"detected_{k}" for k in kinds), *(f"n_{c}" for c in classes)]
    header += ["n_needs_review", "rbc_px", "scale_spread", "scale_n", "scale_source", *measured, "warnings", "seconds", "stage", "error"]
    rows: list[list[Any]] = []
    for row in report["fields"]:
        counts = [row["detected"].get(k) for k in kinds] + [row["labels"].get(c) for c in classes]
        scale = [row[key] for key in ("n_needs_review", "rbc_px", "scale_spread", "scale_n", "scale_source")]
        quality = [(row.get("quality") or {}).get(key) for key in measured]
        warnings = "; ".join(row["warnings"])
        place = [row["field"], row["slide"], *row["shape_hw"], row["n_white"]]
        rows.append([*place, *counts, *scale, *quality, warnings, row["seconds"], "", ""])
    blank = [None] * (len(header) - 4)
    rows += [[row["field"], row["slide"], *blank, row["stage"], row["error"]] for row in report["failures"]]
    return _csv(header, rows)


def metrics_csv(metrics: Mapping[str, Any]) -> str:
    """Every single number of an evaluation by its path in `metrics.json`, with its interval where there is one; curves stay there."""
    metrics = {**(metrics.get("detection") or {}), **{key: value for key, value in metrics.items() if key not in ("detection", "errors")}}
    intervals = _intervals(metrics)
    rows = []
    for path, value in _leaves(metrics):
        if "intervals" not in path:
            known = intervals.get(".".join(path), {})
            rows.append([".".join(path), value, *(known.get(key) for key in ("low", "high", "n_groups", "method"))])
    return _csv(["metric", "value", "low", "high", "n_groups", "method"], rows)


def _intervals(metrics: Mapping[str, Any], at: tuple[str, ...] = ()) -> dict[str, Mapping[str, Any]]:
    """Every interval by the path of the number that it belongs to."""
    found = {".".join((*at, key)): value for key, value in (metrics.get("intervals") or {}).items()}
    for key, value in metrics.items():
        if isinstance(value, Mapping) and key != "intervals":
            found |= _intervals(value, (*at, key))
    return found


def _leaves(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, (*at, str(key)))
    elif not isinstance(value, list | tuple):
        yield at, value


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """UTF-8 text with \\n; None is empty, numbers are as JSON writes them, text can be no formula."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([safe_text(name) for name in header])
    writer.writerows([["" if v is None else safe_text(v) if isinstance(v, str) else v for v in row] for row in rows])
    return sink.getvalue()
