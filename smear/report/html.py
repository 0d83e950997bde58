"""`report.html`: the summary as one self-contained page; the answer first, then the doubts, then the details.

The page loads nothing, runs no script and escapes every text (Jinja2 autoescape), since file names are user input.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smear.report.plots import confusion_figure, precision_recall_figure

GALLERY_LIMIT = 60  # cells shown per label
MAX_ROWS = 300  # rows of a long table that are shown; the page says how many are left out and where they are
SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class GalleryItem:
    """One cell to show: PNG or JPEG bytes; `label` is "" without a classifier, `probability` is that of the label."""

    field: str
    cell: int
    label: str
    probability: float
    image: bytes
    needs_review: bool = False


def render_html(report: Mapping[str, Any], gallery: Sequence[GalleryItem] = ()) -> str:
    """The page for what `summarise` returned; the same text for the same input.

    Args:
        report: plain JSON values.
        gallery: any number of cells; at most `GALLERY_LIMIT` per label are shown, see `choose_cells`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    shown = {label: choose_cells([g for g in gallery if g.label == label]) for label in _labels(report, gallery)}
    page = environment.get_template("report.html.j2").render(
        report=report,
        total=report["total"],
        gallery=shown,
        gallery_sizes={label: sum(g.label == label for g in gallery) for label in shown},
        figures=_figures(report.get("metrics") or {}),
        max_rows=MAX_ROWS,
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the report


def choose_cells(items: Sequence[GalleryItem], limit: int = GALLERY_LIMIT) -> tuple[GalleryItem, ...]:
    """At most `limit` cells, the most doubtful first: all are shown when they fit, else half are the most doubtful and the rest are spread
    evenly over the surer ones. Deterministic, whatever the order given."""
    ranked = sorted(items, key=lambda g: (g.probability, g.field, g.cell))
    if len(ranked) <= limit:
        return tuple(ranked)
    n_doubtful = limit - limit // 2
    rest, n_rest = ranked[n_doubtful:], limit // 2
    return tuple(ranked[:n_doubtful] + [rest[round(i * (len(rest) - 1) / max(n_rest - 1, 1))] for i in range(n_rest)])


def _labels(report: Mapping[str, Any], gallery: Sequence[GalleryItem]) -> list[str]:
    present = {g.label for g in gallery}
    known = [c for c in report["classes"] if c in present]
    return known + sorted(present - set(known))


def _figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    if metrics.get("pr_curves"):
        found["pr"] = precision_recall_figure(metrics["pr_curves"])
    for key in ("cells_on_truth", "end_to_end"):
        part = metrics.get(key) or {}
        part = part.get("matched", part)
        if part.get("confusion_matrix"):
            found[key] = confusion_figure(part["confusion_matrix"], part["classes"])
    return found


def _percent(value: float | None, digits: int = 0) -> str:
    """A share as per cent; one that is not quite 0 or 1 is never rounded to it."""
    if value is None:
        return "–"
    step = 10.0**-digits
    if 0 < value < step / 2 / 100:
        return f"< {step:.{digits}f} %"
    if 1 - step / 2 / 100 <= value < 1:
        return f"> {100 - step:.{digits}f} %"
    return f"{100 * value:.{digits}f} %"


def _bound(value: float) -> str:
    """The end of an interval as per cent, with a decimal where it is within 1 % of none or all."""
    return _percent(value, 1 if 0 < value < 0.01 or 0.99 < value < 1 else 0)


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def _ratio(value: float | None) -> str:
    """White cells per red cell as 1 : n."""
    return "–" if not value else f"1 : {1 / value:.0f}" if value < 0.1 else f"1 : {1 / value:.1f}"


def _picture(data: bytes) -> str:
    kind = next((mime for start, mime in SIGNATURES.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError("a gallery picture must be PNG or JPEG bytes")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _figure(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


FILTERS = {
    "percent": _percent,
    "bound": _bound,
    "number": _number,
    "picture": _picture,
    "figure": _figure,
    "pretty": _pretty,
    "ratio": _ratio,
}
