"""Figures of the report as self-contained SVG text (matplotlib without its global state); the same bytes for the same numbers."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, QUIET, RULE = "#2b2b2b", "#6b6b6b", "#d8d5cf"
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito
LINES = ("-", "--", "-.", ":")
SETTINGS = {
    "svg.hashsalt": "leukofield",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}  # keeps the file the same from run to run


def precision_recall_figure(curves: Mapping[str, Sequence[float]]) -> str:
    """Interpolated precision at recall 0, 0.01, … 1 of each class, as `metrics.detection.pr_curves` gives it."""

    def paint(axes: Axes) -> None:
        for i, (name, precision) in enumerate(curves.items()):
            recall = np.linspace(0, 1, len(precision))
            axes.plot(recall, precision, LINES[i % len(LINES)], color=COLOURS[i % len(COLOURS)], linewidth=1.8, label=name)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.grid(color=RULE, linewidth=0.5)
        if curves:
            axes.legend(loc="lower left")

    return _svg(paint, (3.8, 2.9))


def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Counts with rows for the truth and columns for the label given; shades show the share of each row."""
    counts = np.array(confusion, float).reshape(len(classes), len(classes))
    shares = np.divide(counts, counts.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=counts.sum(axis=1, keepdims=True) > 0)

    def paint(axes: Axes) -> None:
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1.4)
        for (row, column), n in np.ndenumerate(counts):
            dark = shares[row, column] > 0.6
            text = f"{n:.0f}\n{100 * shares[row, column]:.0f} %" if counts[row].sum() else "0"
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else INK, fontsize=10)
        axes.set(xticks=range(len(classes)), yticks=range(len(classes)), xlabel="label given", ylabel="truth")
        axes.set_xticklabels(classes)
        axes.set_yticklabels(classes)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return _svg(paint, (2.9, 2.9))


def reliability_figure(stated: Sequence[float], observed: Sequence[float], n: Sequence[int]) -> str:
    """Stated probability against observed share, one point per bin, its area growing with the cells in it; on the diagonal is honest."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
        sizes = 20 + 180 * np.array(n, float) / max([1, *n])
        axes.scatter(stated, observed, s=sizes, color=COLOURS[1], alpha=0.75, linewidths=0)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability stated", ylabel="share observed", aspect="equal")

    return _svg(paint, (2.9, 2.9))


def _svg(paint: Any, size_inches: tuple[float, float]) -> str:
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=size_inches, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata=NO_METADATA, transparent=True)
    text = sink.getvalue()
    return text[text.index("<svg") :]
