"""Accuracy against cost: each system a point, and the front of those that nothing cheaper beats."""

from collections.abc import Iterator, Sequence
from math import log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from classification.compare_figures.marks import colour_of, mark_of
from classification.compare_view import System, by_paper
from smear.report.figures.canvas import INK, QUIET, one_figure

SIZE, MARGINS = (5.0, 3.7), (0.6, 0.5, 0.16, 0.55)  # inches
NEAR = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))  # where a number may stand beside its mark, the best first
LABEL = np.array([6.0, 5.5])  # half the width and height of a number, points
AWAY = (9.0, 18.0, 27.0)  # of its middle from that of the mark, points; the nearest first
MARK = 5.0  # half a mark, points


def front_of(systems: Sequence[System], score: str, cost: str) -> list[System]:
    """The systems that no other beats in one of the two without losing in the other, cheapest first; of equals the first."""
    front: list[System] = []
    for system in sorted(_known(systems, score, cost), key=lambda each: (each.main[cost], -each.main[score])):
        if not front or system.main[score] > front[-1].main[score]:
            front.append(system)
    return front


def cost_figure(systems: Sequence[System], score: str, cost: str, words: tuple[str, str]) -> str:
    """Score (a share) over cost (log axis) with the systems' numbers, and the front as steps.

    Args:
        words: names of score and cost for the axes.
    """
    shown, front = _known(systems, score, cost), front_of(systems, score, cost)

    def paint(axes: Axes) -> None:
        axes.set_xscale("log")
        steps = ([system.main[cost] for system in front], [system.main[score] for system in front])
        axes.step(*steps, where="post", color=QUIET, linewidth=1, linestyle="--", label="the front")
        for title, some in by_paper(shown):
            for system in some:
                _mark(axes, system, (system.main[cost], system.main[score]), is_full=system in front)
            axes.scatter([], [], s=34, marker=mark_of(some[0].paper), color=colour_of(some[0].paper), label=title.split(" (")[0])
        _scale(axes, shown, score, cost)
        axes.set(xlabel=words[1], ylabel=words[0])
        _number(axes, shown, score, cost, front)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, fontsize=7, columnspacing=1, handletextpad=0.5, borderpad=0)

    return one_figure(paint, SIZE, MARGINS)


def _mark(axes: Axes, system: System, at: tuple[float, float], *, is_full: bool) -> None:
    colour = colour_of(system.paper)
    face = colour if is_full else "white"
    axes.scatter(*at, s=44, marker=mark_of(system.paper), facecolors=face, edgecolors=colour, linewidths=1.3, zorder=3 + is_full)


def _scale(axes: Axes, shown: Sequence[System], score: str, cost: str) -> None:
    costs = [system.main[cost] for system in shown]
    is_short = log10(max(costs) / min(costs)) < 2.5
    axes.margins(x=0.08, y=0.1)
    axes.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if is_short else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if score != "roc_auc":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def _number(axes: Axes, shown: Sequence[System], score: str, cost: str, front: Sequence[System]) -> None:
    """Each mark's number beside it, where it covers neither a mark nor another number if there is such a place."""
    places = np.array([[system.main[cost], system.main[score]] for system in shown], float)
    points = axes.transData.transform(places) * 72 / axes.figure.dpi  # (S, 2)
    taken: list[NDArray[np.float64]] = []
    for i, system in enumerate(shown):
        steps = list(_steps())
        hits = [_covered(points[i] + step, np.delete(points, i, axis=0), taken) for step in steps]
        step = steps[int(np.argmin(hits))]
        taken.append(points[i] + step)
        weight = "bold" if system in front else "normal"
        look: dict[str, Any] = {"fontsize": 8, "weight": weight, "color": INK, "ha": "center", "va": "center", "zorder": 6}
        axes.annotate(str(system.number), tuple(places[i]), xytext=tuple(step), textcoords="offset points", **look)


def _steps() -> Iterator[NDArray[np.float64]]:
    """From a mark to where its number may stand, points."""
    for away in AWAY:
        for near in NEAR:
            yield np.array(near) * away / max(1.0, float(np.hypot(*near)))


def _covered(middle: NDArray[np.float64], marks: NDArray[np.float64], numbers: Sequence[NDArray[np.float64]]) -> int:
    """How many marks and numbers a number there would touch."""
    on_marks = (np.abs(marks - middle) < LABEL + MARK).all(axis=1).sum()
    return int(on_marks + sum(bool((np.abs(other - middle) < 2 * LABEL).all()) for other in numbers))


def _known(systems: Sequence[System], score: str, cost: str) -> list[System]:
    return [system for system in systems if system.main[score] is not None and system.main[cost]]
