"""Bars of the features, and of their families, that move the labels most."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from smear.report.figures.canvas import ACCENT, INK, QUIET, one_figure

WIDTH, NAMES_WIDTH = 5.0, 2.1  # inches: the figure, and the names at its left
ROW, BELOW = 0.23, 0.46  # inches: a bar, and the room for the axis
LONGEST = 34  # characters of a name


def share_bars(entries: Sequence[Mapping[str, Any]]) -> str:
    """A bar an entry (`name`, `share` of all mean |SHAP|), the largest first; SVG text."""

    def paint(axes: Axes) -> None:
        shares = [entry["share"] or 0.0 for entry in entries]
        axes.barh(range(len(entries)), shares, 0.68, color=ACCENT, linewidth=0)
        for i, share in enumerate(shares):
            axes.annotate(f"{100 * share:.1f}", (share, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7, color=QUIET)
        axes.set_yticks(range(len(entries)), [_short(entry["name"]) for entry in entries], fontsize=8, color=INK)
        axes.set(ylim=(len(entries) - 0.4, -0.6), xlim=(0, 1.12 * max([0.01, *shares])), xlabel="share of all mean |SHAP|")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    return one_figure(paint, (WIDTH, ROW * max(1, len(entries)) + BELOW + 0.1), (NAMES_WIDTH, BELOW, 0.2, 0.06))


def _short(name: str) -> str:
    words = name.replace("_", " ")
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
