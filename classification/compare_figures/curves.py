"""ROC curves of the systems of one paper, and the training histories of one system."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from classification.compare_figures.marks import COLOURS
from classification.compare_view import System
from smear.report.figures.canvas import ACCENT, INK, LINES, QUIET, one_figure, plain_axes, several

SIDE = 2.3  # inches of the square of a ROC curve
ROC_MARGINS = (0.56, 0.5, 0.14, 0.1)
HISTORY_SIZE = (3.7, 1.75)
GRID = 201  # false positive rates at which curves of classes are averaged


def roc_figure(systems: Sequence[System]) -> str:
    """Pooled over folds, dotted for chance; with more than two classes the mean over each class against the rest. Names are below."""
    shown = [system for system in systems if system.main["roc"]]
    key = 0.17 * len(shown) + 0.06
    left, below, right, above = ROC_MARGINS

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=":")
        for i, system in enumerate(shown):
            look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i // len(COLOURS) % len(LINES)]}
            axes.plot(*mean_curve(system.main["roc"]), linewidth=1.5, **look, label=f"{system.label}, {system.main['roc_auc']:.3f}")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positive rate", ylabel="true positive rate")
        anchor = (0, -below / SIDE)
        axes.legend(loc="upper left", bbox_to_anchor=anchor, fontsize=8, handlelength=2.6, labelspacing=0.25, borderpad=0, borderaxespad=0)

    return one_figure(paint, (SIDE + left + right, SIDE + below + above + key), (left, below + key, right, above))


def mean_curve(curves: Mapping[str, Sequence[Sequence[float]]]) -> tuple[Sequence[float], Sequence[float]]:
    """False and true positive rates; of several classes the mean true positive rate at each false one."""
    if len(curves) == 1:
        false, true = next(iter(curves.values()))
        return false, true
    grid = np.linspace(0, 1, GRID)
    return grid.tolist(), np.mean([np.interp(grid, false, true) for false, true in curves.values()], axis=0).tolist()


def history_figure(folds: Sequence[Mapping[str, Any]]) -> str:
    """Loss (dashed: training, full: validation) and validation accuracy by epoch, a line a fold; a dot is the epoch that was kept.

    Args:
        folds: `best_epoch` (None: not known) and `epochs`, rows with `epoch` and any of `train_loss`, `val_loss`, `val_accuracy`.
    """

    def paint(figure: Figure) -> None:
        width, height = HISTORY_SIZE
        for i, (name, keys) in enumerate((("loss", ("train_loss", "val_loss")), ("accuracy", ("val_accuracy",)))):
            axes = plain_axes(figure, ((0.48 + 1.88 * i) / width, 0.42 / height, 1.24 / width, 1 - 0.52 / height))
            for key in keys:
                for fold in folds:
                    _trace(axes, fold, key)
            axes.set(xlabel="epoch", ylim=(0, None) if i == 0 else None)
            axes.set_ylabel(name, labelpad=2)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            if i == 1:
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    return several(paint, HISTORY_SIZE)


def _trace(axes: Axes, fold: Mapping[str, Any], key: str) -> None:
    known = [(row["epoch"], row[key]) for row in fold["epochs"] if row.get(key) is not None]
    if not known:
        return
    is_training = key == "train_loss"
    look: dict[str, Any] = {"color": QUIET, "linestyle": "--", "linewidth": 0.9} if is_training else {"color": ACCENT, "linewidth": 1.2}
    axes.plot(*zip(*known, strict=True), alpha=0.75, marker="." if len(known) == 1 else "", **look)
    best = [point for point in known if point[0] == fold["best_epoch"]]
    if best and not is_training:
        axes.plot(*best[0], "o", color=INK, markersize=4.5, zorder=4)
