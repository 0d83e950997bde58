"""`explain.html`: why a model labels cells as it does, as one self-contained page; the answer, the numbers, the cells, then the limits.

The page loads nothing, runs no script and escapes every text (Jinja2 autoescape), since names of files are user input.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from classification.compare_page import HERE, breakable
from classification.explanations import words
from classification.explanations.cams import FINE_PLACES, METHODS, PERCENTILES
from classification.explanations.heat import ZONES
from classification.explanations.record import crop_name
from smear.images import encode
from smear.report.formats import figure
from smear.report.html import open_templates, stylesheet
from smear.report.records import jsonable
from smear.types import Image

if TYPE_CHECKING:
    from jinja2 import Environment

QUALITY = 88  # JPEG; about 15 kB a crop with two maps
MOST_LINES = 200  # of what was left out

Part = Mapping[str, Any]


def render_page(report: Mapping[str, Any], pictures: Mapping[str, Image]) -> str:
    """The page for what `classification.explain` writes as `explain.json`; the same text for the same input.

    Args:
        pictures: RGB uint8 by name: the `overlay` of every cell and network, and every cell's crop (`record.crop_name`).
    """
    report = jsonable(dict(report))
    networks, features = ([part for part in report["parts"] if part["kind"] == kind] for kind in ("network", "features"))
    cells = [cell | {"crop": crop_name(i)} for i, cell in enumerate(report["cells"])]
    page = _templates().get_template("explain.html.j2").render(
        report=report,
        networks=networks,
        features=[(part, *_bars(part)) for part in features] if cells else [],
        several=len(report["parts"]) > 1,
        doubts=words.doubts(report),
        kinds=_by_kind(cells, report["model"]["classes"]),
        pictures={name: encode(picture, ".jpg", quality=QUALITY) for name, picture in pictures.items()},
        methods=METHODS,
        zones=ZONES,
        taken=[100 - percentile for percentile in sorted(PERCENTILES, reverse=True)],
        fine_places=FINE_PLACES,
        most_lines=MOST_LINES,
        style=Markup(stylesheet(HERE / "compare.css", HERE / "explain.css")),
    )  # fmt: skip
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the page


@cache
def _templates() -> "Environment":
    environment = open_templates(HERE)
    environment.filters |= {each.__name__: each for each in (breakable, words.beats, words.weighs, words.fine_method)}
    environment.globals |= {"where": words.where}
    return environment


def _by_kind(cells: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[tuple[str, bool, list[Mapping[str, Any]]]]:
    """Class, whether it is labelled rightly, and the cells of that kind; kinds without a cell are left out."""
    kinds = [(name, right, [c for c in cells if (c["label"], c["right"]) == (name, right)]) for name in classes for right in (False, True)]
    return [kind for kind in kinds if kind[2]]


def _bars(part: Part) -> tuple[str, str]:
    """The figures of the features and of their families."""
    from classification.explanations.figures import share_bars  # matplotlib, for the page alone

    return figure(share_bars(part["top"])), figure(share_bars([entry for entry in part["families"] if entry["share"]]))
