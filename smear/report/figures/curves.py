"""Curves of an evaluation as self-contained SVG text (matplotlib without its global state)."""

import io
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK, QUIET, RULE = "#26241f", "#6f6b63", "#e4e0d8"
ACCENT = "#00619a"
COLOURS = ("#00785a", "#8a8378", "#9a6a00", "#a8507f", "#00619a")  # white cells, red cells and platelets as in the annotated fields
LINES = ("-", "--", "-.", ":")
FONTS = "Inter, 'Source Sans 3', 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"  # those of the page
LARGE, SMALL = (3.9, 3.0), (2.75, 2.3)  # inches; the page shows them at about this size
MARGINS = (0.56, 0.46, 0.14, 0.08)  # inches left, below, right, above the axes: room for the labels
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
        if curves:
            axes.legend(loc="lower left")

    return _svg(paint, LARGE)


def reliability_figure(bins: Mapping[str, Sequence[float]]) -> str:
    """Stated probability against observed share, one point per bin, its area growing with the cells in it; on the diagonal is honest.

    Args:
        bins: lists `stated`, `observed` and `n`, and perhaps the interval of each share, `observed_low` and `observed_high`; see
            `metrics.reliability.reliability`.
    """

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=":")
        used = [i for i, n in enumerate(bins["n"]) if n]
        x, y, n = (np.array([bins[key][i] for i in used], float) for key in ("stated", "observed", "n"))
        if "observed_low" in bins:
            low, high = ([bins[key][i] for i in used] for key in ("observed_low", "observed_high"))
            axes.vlines(x, low, high, color=ACCENT, linewidth=1, alpha=0.35)
        axes.scatter(x, y, s=12 + 140 * n / max([1, *n]), color=ACCENT, linewidths=0)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability stated", ylabel="share observed")

    return _svg(paint, SMALL)


def risk_coverage_figure(coverage: Sequence[float], risk: Sequence[float]) -> str:
    """Share of errors among the cells kept, when only the surest share of cells is kept; lower is better."""

    def paint(axes: Axes) -> None:
        known = [(c, r) for c, r in zip(coverage, risk, strict=True) if c is not None and r is not None]
        x, y = (np.array(v, float) for v in zip(*known, strict=True)) if known else (np.zeros(0),) * 2
        axes.plot(x, y, color=ACCENT, linewidth=1.8)
        axes.fill_between(x, y, color=ACCENT, alpha=0.08, linewidth=0)
        axes.set(xlim=(0, 1.01), ylim=(0, max(0.05, 1.1 * float(y.max(initial=0)))))
        axes.set(xlabel="share of cells kept", ylabel="share of them wrong")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    return _svg(paint, SMALL)


def _svg(paint: Callable[[Axes], None], size_inches: tuple[float, float]) -> str:
    (width, height), (left, below, right, above) = size_inches, MARGINS
    place = (left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=size_inches)
        FigureCanvasSVG(figure)
        axes = figure.add_axes(place)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        paint(axes)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata=NO_METADATA, transparent=True)
    text = sink.getvalue().replace("'DejaVu Sans', sans-serif", FONTS).replace("'DejaVu Sans'", FONTS)
    return text[text.index("<svg") :]
