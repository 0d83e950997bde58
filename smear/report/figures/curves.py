"""Curves of an evaluation, as self-contained SVG text."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from smear.report.figures.canvas import ACCENT, COLOURS, LINES, QUIET, one_figure

LARGE, SMALL = (3.9, 3.0), (2.75, 2.3)  # inches; the page shows them at about this size


def precision_recall_figure(curves: Mapping[str, Sequence[float]]) -> str:
    """Interpolated precision at recall 0, 0.01, … 1 of each class, as `metrics.detection.pr_curves` gives it."""

    def paint(axes: Axes) -> None:
        for i, (name, precision) in enumerate(curves.items()):
            recall = np.linspace(0, 1, len(precision))
            axes.plot(recall, precision, LINES[i % len(LINES)], color=COLOURS[i % len(COLOURS)], linewidth=1.8, label=name)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        if curves:
            axes.legend(loc="lower left")

    return one_figure(paint, LARGE)


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

    return one_figure(paint, SMALL)


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

    return one_figure(paint, SMALL)
