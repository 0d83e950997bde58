"""Figures of an exploration, as self-contained SVG text: shares, histograms and clues; colours of Okabe and Ito, never alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from smear.report.figures.canvas import INK, LINES, QUIET, one_figure, plain_axes, several

CLASSES = ("#b84f00", "#00619a", "#a8507f", "#9a6a00")  # those of the page
GROUPS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#26241f", "#b5a900")  # Okabe and Ito's, black and yellow last
HATCHES = ("", "////", "....", "xxxx")
HISTOGRAM_SIZE = (3.3, 2.1)  # inches
ROW = 0.27  # inches of a row of bars
NO_WIDTH = "\u200b"  # a space that is not seen


def class_colour(i: int) -> str:
    return CLASSES[i % len(CLASSES)]


def share_bars(rows: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> str:
    """The share of each class in every row, with its count; rows from top to bottom as given."""
    height = ROW * len(rows) + 0.72

    def paint(axes: Axes) -> None:
        for y, counts in enumerate(rows.values()):
            total, left = max(1, sum(counts.values())), 0.0
            for i, name in enumerate(classes):
                share = counts[name] / total
                look: dict[str, Any] = {"facecolor": class_colour(i), "edgecolor": "white", "linewidth": 0.6, "alpha": 0.85}
                axes.barh(y, share, 0.72, left=left, hatch=HATCHES[i % len(HATCHES)], **look, label=cut(name) if y == 0 else None)
                left += share
            axes.annotate(f"{total:,}".replace(",", "\u202f"), (1.01, y), va="center", fontsize=8, color=QUIET, annotation_clip=False)
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [cut(name) for name in rows], color=INK, fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, fontsize=8, handlelength=1.4, columnspacing=1, borderpad=0)

    return one_figure(paint, (4.6, height), (1.45, 0.34, 0.62, 0.3))


def size_figure(told: Mapping[str, Mapping[str, Any]], classes: Sequence[str], words: str) -> str:
    """Histogram of one size by class, each class as a share of its own crops; the axis is logarithmic where the bins are.

    Args:
        told: class → `histogram` and `edges_px`, see `smear.audit.distributions.size_summary`.
    """

    def paint(axes: Axes) -> None:
        _steps(axes, told, classes, CLASSES, "edges_px")
        axes.set_xscale("log")
        axes.set(xlabel=words)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_minor_locator(MaxNLocator(1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))

    return one_figure(paint, HISTOGRAM_SIZE, (0.5, 0.46, 0.12, 0.26))


def colour_figure(told: Mapping[str, Mapping[str, Mapping[str, Any]]], names: Sequence[str], colours: Sequence[str]) -> str:
    """Histograms of L, a and b beside each other, a line for each name.

    Args:
        told: channel → name → `histogram` and `edges`, see `spread.colours_by`. colours: of the names, in their order.
    """
    width, height = 7.6, 2.1

    def paint(figure: Figure) -> None:
        for i, (channel, rows) in enumerate(told.items()):
            axes = plain_axes(figure, ((0.46 + 2.42 * i) / width, 0.46 / height, 2.08 / width, 1 - 0.74 / height))
            _steps(axes, rows, names, colours, "edges", key=i == 0)
            axes.set(xlabel={"L": "L, dark to light", "a": "a, green to red", "b": "b, blue to yellow"}[channel])
            axes.xaxis.set_major_locator(MaxNLocator(5))

    return several(paint, (width, height))


def clue_dots(clues: Sequence[Mapping[str, Any]], chance: float, limit: float) -> str:
    """Balanced accuracy of each clue with groups apart, full where it is a shortcut; dotted: chance, dashed: the limit of a warning."""
    known = [clue for clue in clues if clue["balanced_accuracy"] is not None]
    height = ROW * len(known) + 0.72

    def paint(axes: Axes) -> None:
        axes.axvline(chance, color=QUIET, linewidth=0.9, linestyle=":", label="chance")
        axes.axvline(limit, color=QUIET, linewidth=0.9, linestyle="--", label="from here on said above")
        for y, clue in enumerate(known):
            full = clue["kind"] == "shortcut"
            look: dict[str, Any] = {"facecolors": GROUPS[0] if full else "white", "edgecolors": GROUPS[0], "zorder": 3}
            axes.hlines(y, chance, clue["balanced_accuracy"], color=GROUPS[0], linewidth=1.2, alpha=0.45)
            axes.scatter(clue["balanced_accuracy"], y, s=34, marker="o" if full else "s", linewidths=1.3, **look)
        axes.scatter([], [], s=30, marker="o", color=GROUPS[0], label="not of the cell")
        axes.scatter([], [], s=30, marker="s", facecolors="white", edgecolors=GROUPS[0], label="of the cell, or of its slide")
        low = min([chance, *(clue["balanced_accuracy"] for clue in known)])
        axes.set(xlim=(max(0, low - 0.04), 1.01), ylim=(len(known) - 0.5, -0.5), xlabel="balanced accuracy")
        axes.set_yticks(range(len(known)), [clue["name"] for clue in known], color=INK, fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2, fontsize=7, columnspacing=1, handletextpad=0.4, borderpad=0)

    return one_figure(paint, (5.0, height + 0.2), (1.6, 0.46, 0.14, 0.42))


def explained_figure(explained: Sequence[float]) -> str:
    """Share of the variance of each principal component, as bars, and of all up to it, as a line."""

    def paint(axes: Axes) -> None:
        at = np.arange(1, len(explained) + 1)
        axes.bar(at, explained, 0.8, color=GROUPS[0], alpha=0.6, label="each")
        axes.plot(at, np.cumsum(explained), color=INK, linewidth=1.4, marker="." if len(at) < 12 else "", label="all up to it")
        axes.set(xlabel="principal component", xlim=(0.4, len(explained) + 0.6), ylim=(0, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=2, fontsize=7, borderpad=0)

    return one_figure(paint, HISTOGRAM_SIZE, (0.5, 0.46, 0.12, 0.26))


def _steps(
    axes: Axes, rows: Mapping[str, Mapping[str, Any]], names: Sequence[str], colours: Sequence[str], edges: str, *, key: bool = True
) -> None:
    """A stepped line for each name that has values, as shares of its own."""
    for i, name in enumerate(names):
        if name in rows:
            counts = np.array(rows[name]["histogram"], float)
            look: dict[str, Any] = {"color": colours[i % len(colours)], "linestyle": LINES[i % len(LINES)], "linewidth": 1.6}
            axes.stairs(counts / max(1.0, counts.sum()), rows[name][edges], label=cut(name), **look)
    axes.set(ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if key:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, fontsize=7, handlelength=2, columnspacing=1, borderpad=0)


def cut(name: str, most: int = 24) -> str:
    """A name as matplotlib draws it as it is: a dollar would begin a formula, an underscore keep it out of the legend."""
    short = name if len(name) <= most else f"{name[: most - 1]}…"
    shown = short.replace("$", r"\$") or "none said"
    return f"{NO_WIDTH}{shown}" if shown.startswith("_") else shown
