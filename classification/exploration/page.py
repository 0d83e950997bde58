"""`eda.html`: what a set of crops is like, as one self-contained page; what a model could cheat with first, then figures, then tables.

The page loads nothing, runs no script and escapes every text (Jinja2 autoescape), since names of files and messages are user input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from classification.compare_page import HERE, picture_rows
from classification.exploration.answers import chance, units
from classification.exploration.clues import TELLS
from classification.exploration.crops import Crops
from smear.report.formats import figure
from smear.report.html import open_templates, stylesheet

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_ODD, MOST_PAIRS, MOST_DOUBTS = 24, 18, 24  # shown; eda.json and eda.csv hold all
MOST_LINES = 200  # of what was left out
MOST_BARS = 24  # rows of a figure of shares: the fullest
SIZE_WORDS = {
    "crop_side_px": "side of the crop, pixels",
    "cell_diameter_px": "diameter of the cell, pixels",
    "nucleus_diameter_px": "diameter of the nucleus, pixels",
    "cell_area_px": "area of the cell, square pixels",
    "nucleus_area_px": "area of the nucleus, square pixels",
    "nucleus_to_cell_area": "nucleus over cell, areas",
}
DRAWN_SIZES = ("crop_side_px", "cell_diameter_px", "nucleus_diameter_px", "nucleus_to_cell_area")


@dataclass(frozen=True)
class Places:
    """What the maps show of M cells: pca and umap (M, 2), NaN without one, and by "class", "source" and "stain" the value of each, (M,)."""

    pca: NDArray[np.float64]
    umap: NDArray[np.float64]
    values: Mapping[str, NDArray[np.str_]]


def values_of(crops: Crops, rows: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    """What the maps are coloured by, of these rows, as `Places.values`."""
    return {"class": np.array(crops.labels, np.str_)[rows], "source": crops.sources[rows], "stain": crops.stains[rows]}


def render_page(report: Mapping[str, Any], places: Places, pictures: Mapping[int, bytes] | None = None) -> str:
    """The page for what `classification.eda` writes as `eda.json`; the same text for the same input.

    Args:
        pictures: PNG or JPEG bytes of crops by their row, see `picture_cells`; a cell without one is shown as its file name.
    """
    page = _templates().get_template("eda.html.j2").render(
        report=report,
        units=units(report),
        figures=_figures(report, places),
        odd=report["odd"]["cells"][:MOST_ODD],
        pairs=report["twins"]["pairs"][:MOST_PAIRS],
        doubts=report["suspects"]["found"][:MOST_DOUBTS],
        size_words=SIZE_WORDS,
        pictures=pictures or {},
        most_bars=MOST_BARS,
        most_lines=MOST_LINES,
        style=Markup(stylesheet(HERE / "compare.css", HERE / "eda.css")),
    )  # fmt: skip
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the page


def picture_cells(report: Mapping[str, Any], paths: Sequence[Path]) -> dict[int, bytes]:
    """JPEG bytes of the crops that the page shows, by row.

    Args:
        report: as for `render_page`. paths: the file of each of the N crops.
    """
    odd = [cell["row"] for cell in report["odd"]["cells"][:MOST_ODD]]
    twins = [row for pair in report["twins"]["pairs"][:MOST_PAIRS] for row in (pair["a"], pair["b"])]
    doubts = [each["row"] for each in report["suspects"]["found"][:MOST_DOUBTS]]
    return picture_rows(sorted({*odd, *twins, *doubts}), paths)


def feature(name: str) -> str:
    """The name of a feature as a reader sees it."""
    return name.replace("_", " ")


@cache
def _templates() -> "Environment":
    environment = open_templates(HERE)
    environment.filters |= {"feature": feature}
    return environment


def _figures(report: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """All figures as data URIs; those that need what is not known are missing."""
    from classification.exploration import figures  # matplotlib, for the page alone

    classes = report["classes"]
    sources = list(report["colours"]["ground"]["source"]["L"])[: len(figures.GROUPS)]
    drawn: dict[str, Any] = {"maps": _maps(report, places)}
    drawn["shares"] = [
        (what, figure(figures.share_bars(_fullest(report["spread"][what]), classes))) for what in ("split", "source", "stain")
    ]
    drawn["sizes"] = [
        (size, figure(figures.size_figure(report["sizes"][size], classes, SIZE_WORDS[size])))
        for size in DRAWN_SIZES
        if report["sizes"][size]
    ]
    drawn["colours"] = []
    for part in ("cell", "ground"):
        for what, names, colours in (("class", classes, figures.CLASSES), ("source", sources, figures.GROUPS)):
            told = report["colours"][part][what]
            if told["L"] and (what == "class" or len(told["L"]) > 1):
                drawn["colours"].append((part, what, figure(figures.colour_figure(told, names, colours))))
    if any(clue["balanced_accuracy"] is not None for clue in report["clues"]):
        guess = chance(report)
        drawn["clues"] = figure(figures.clue_dots(report["clues"], guess, guess + TELLS * (1 - guess)))
    if len(report["maps"]["pca"]["explained"]):
        drawn["explained"] = figure(figures.explained_figure(report["maps"]["pca"]["explained"]))
    return drawn


def _maps(report: Mapping[str, Any], places: Places) -> list[dict[str, Any]]:
    """`name` of the map, `by` what it is coloured, and `src`; a colouring of one value alone is left out, but for the classes."""
    from classification.exploration import figures
    from classification.exploration.map_figures import map_figure

    shares = report["maps"]["pca"]["explained"]
    words = [f"component {i + 1}, {100 * share:.0f} % of the variance" for i, share in enumerate(shares[:2])]
    named = {"PCA": (places.pca, tuple(words)), "UMAP": (places.umap, ("UMAP 1", "UMAP 2"))}
    drawn = []
    for name, (points, axes) in named.items():
        known = np.isfinite(points).all(axis=1)
        for by, values in places.values.items():
            order = report["classes"] if by == "class" else list(_fullest(report["spread"][by], most=None))
            if known.any() and (by == "class" or len(order) > 1):
                colours = figures.CLASSES if by == "class" else figures.GROUPS
                drawn.append({"name": name, "by": by, "src": figure(map_figure(points[known], values[known], order, colours, axes))})
    return drawn


def _fullest(rows: Mapping[str, Mapping[str, int]], most: int | None = MOST_BARS) -> dict[str, Mapping[str, int]]:
    """The rows with the most crops, the fullest first; splits stay in their order."""
    if set(rows) <= {"train", "val", "test"}:
        return dict(rows)
    ordered = sorted(rows.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return dict(ordered[:most])
