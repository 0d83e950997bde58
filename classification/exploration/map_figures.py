"""Maps of cells as self-contained SVG text: many marks become pixels inside it, so that the page stays small."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from classification.exploration.figures import cut
from smear.report.figures.canvas import plain_axes, several

OTHERS = "#bdb7ab"
MARKS = ("o", "^", "s", "D", "v", "P", "X", "<")
SIDE = 3.2  # inches of the square of a map
LEFT = 0.26  # inches beside it, for the name of its axis
KEY_LINE = 0.19  # inches of a line of the key below it
RASTER_FROM, DPI = 400, 200  # more marks than this become pixels
TURNS = 8  # in which many marks are drawn


def map_figure(
    places: NDArray[np.float64], values: NDArray[np.str_], order: Sequence[str], colours: Sequence[str], axes_words: tuple[str, str]
) -> str:
    """N cells at (N, 2) places, coloured and marked by their values; of many values the commonest, the others grey.

    Args:
        order: the values in the order of their colours; those beyond `colours` are drawn grey, first.
    """
    named = list(order[: len(colours)])
    rest = ~np.isin(values, named)
    key = KEY_LINE * -(-(len(named) + bool(rest.any())) // 2) + 0.1
    many = len(places) > RASTER_FROM
    size = 5.0 if many else 16.0

    def paint(figure: Figure) -> None:
        figure.set_dpi(DPI)
        width, height = SIDE + LEFT + 0.08, SIDE + 0.4 + key
        axes = plain_axes(figure, (LEFT / width, (0.3 + key) / height, SIDE / width, SIDE / height))
        look: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": many}
        if rest.any():
            axes.scatter(*places[rest].T, marker="o", color=OTHERS, alpha=0.5, **look)
        _scatter_mixed(axes, places, values, named, colours, look)
        for name, colour, mark in zip(named, colours, MARKS, strict=False):
            axes.scatter([], [], s=22, marker=mark, color=colour, linewidths=0, label=cut(name))
        if rest.any():
            axes.scatter([], [], s=22, marker="o", color=OTHERS, linewidths=0, label=f"{len(set(values[rest].tolist()))} others")
        axes.set(xlabel=axes_words[0], ylabel=axes_words[1])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.xaxis.labelpad = axes.yaxis.labelpad = 2
        anchor = (0, -0.3 / SIDE)
        axes.legend(loc="upper left", bbox_to_anchor=anchor, ncols=2, fontsize=8, handletextpad=0.3, labelspacing=0.25, borderpad=0)

    return several(paint, (SIDE + LEFT + 0.08, SIDE + 0.4 + key))


def _scatter_mixed(
    axes: Axes, places: NDArray[np.float64], values: NDArray[np.str_], named: Sequence[str], colours: Sequence[str], look: dict[str, Any]
) -> None:
    """Marks of all values in small turns, so that the last value does not lie over all others."""
    n_turns = TURNS if len(places) > RASTER_FROM else 1
    for turn in range(n_turns):
        for name, colour, mark in zip(named, colours, MARKS, strict=False):
            rows = np.flatnonzero(values == name)[turn::n_turns]
            if len(rows):
                axes.scatter(*places[rows].T, marker=mark, color=colour, alpha=0.7, **look)
