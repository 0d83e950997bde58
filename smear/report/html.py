"""`report.html`: the summary as one self-contained page; the answer first, then the doubts, then the details.

The page loads nothing, runs no script and escapes every text (Jinja2 autoescape), since file names are user input.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from smear.report.blasts import verdict_words
from smear.report.evaluation import view
from smear.report.formats import FILTERS
from smear.report.gallery import ErrorItem, GalleryItem, choose_cells, owner_fault, owner_title

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STYLES = ("base", "answer", "tables", "figures", "gallery", "print")
MAX_ROWS = 300  # rows of a long table that are shown; the page says how many are left out and where they are
FEW_SLIDES = 12  # more are folded away


def render_html(
    report: Mapping[str, Any],
    gallery: Sequence[GalleryItem] = (),
    errors: Sequence[ErrorItem] = (),
    *,
    gallery_sizes: Mapping[str, int] | None = None,
) -> str:
    """The page for what `summarise` returned; the same text for the same input.

    Args:
        report: plain JSON values.
        gallery: any number of cells; at most `GALLERY_LIMIT` per label are shown, see `choose_cells`.
        errors: the errors of an evaluation that have a picture, all of which are shown.
        gallery_sizes: how many cells of each label there are, when `gallery` is a choice of them already; None: it holds all.
    """
    shown = {label: choose_cells([g for g in gallery if g.label == label]) for label in _labels(report, gallery)}
    page = open_templates().get_template("page.html.j2").render(
        report=report,
        total=report["total"],
        gallery=shown,
        gallery_sizes=gallery_sizes or {label: sum(g.label == label for g in gallery) for label in shown},
        errors=_by_owner(errors),
        n_errors_shown=len(errors),
        evaluation=view(report.get("metrics") or {}),
        style=Markup(stylesheet()),
        max_rows=MAX_ROWS,
        few_slides=FEW_SLIDES,
    )  # fmt: skip
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the report


@cache
def open_templates(*more: Path) -> "Environment":
    """The templates with the number formats as filters; texts are escaped, an unknown name is an error.

    Args:
        more: folders of further templates, looked into before those of the report.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([*more, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "owner_title": owner_title, "owner_fault": owner_fault, "verdict_words": verdict_words}
    return environment


def stylesheet(*more: Path) -> str:
    """All styles of the page, for one `<style>` element; `more` files come last."""
    files = [*(HERE / "css" / f"{name}.css" for name in STYLES), *more]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _labels(report: Mapping[str, Any], gallery: Sequence[GalleryItem]) -> list[str]:
    present = {g.label for g in gallery}
    known = [c for c in report["classes"] if c in present]
    return known + sorted(present - set(known))


def _by_owner(errors: Sequence[ErrorItem]) -> dict[str, list[ErrorItem]]:
    grouped: dict[str, list[ErrorItem]] = {}
    for error in errors:
        grouped.setdefault(error.owner, []).append(error)
    return grouped
