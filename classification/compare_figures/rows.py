"""Charts with a system a row: bars of the accuracy in both splits, lines of all metrics, and what the random split adds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from classification.compare_figures.marks import COLOURS, MARKS, colour_of
from classification.compare_view import System, by_paper
from smear.report.figures.canvas import INK, LINES, QUIET, RULE, one_figure

WIDTH, NAMES_WIDTH = 5.0, 1.78  # inches: the figure, and the names at its left
ROW, ENDS = 0.25, (0.62, 0.08)  # inches: a row, and the room below and above all rows
LINED = ("accuracy", "precision", "recall", "f1", "roc_auc")
BAR = 0.36  # of a row
DROPS = {"grouped": -BAR / 2, "random": BAR / 2}  # of a bar from the middle of its row, where there are both

Places = dict[int, float]  # number of a system → its row, the first at the top


def accuracy_bars(systems: Sequence[System], chance: float) -> str:
    """Accuracy with its interval, whole groups apart (full) and at random (hatched), and the paper's own claim (a stroke).

    Args:
        systems: any of them; one without numbers keeps its empty row. chance: the share of the commonest class, a dotted line.
    """

    def paint(axes: Axes, places: Places) -> None:
        axes.axvline(chance, color=QUIET, linewidth=0.9, linestyle=":", label="all called the commonest class")
        kinds = [kind for kind in DROPS if any(kind in system.rows for system in systems)]
        for kind in kinds:
            for system, row in _having(systems, kind, "accuracy"):
                at = places[system.number] + (DROPS[kind] if len(kinds) > 1 else 0)
                axes.barh(at, row["accuracy"], BAR, **_look(kind, colour_of(system.paper)))
                _whisker(axes, row, "accuracy", at)
        for system in systems:
            if system.main["reported_accuracy"] is not None:
                at = places[system.number]
                axes.vlines(system.main["reported_accuracy"], at - 2.4 * BAR / 2, at + 2.4 * BAR / 2, color=INK, linewidth=2.2, zorder=5)
        _key(axes, kinds)
        axes.set(xlim=(0, 1.005), xlabel="accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))

    return _chart(systems, paint, above=0.3)


def metric_lines(systems: Sequence[System]) -> str:
    """Accuracy, precision, recall, F1 and area of every system, joined within each paper; the axis begins where the numbers do."""

    def paint(axes: Axes, places: Places) -> None:
        for i, key in enumerate(LINED):
            look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKS[i], "linestyle": LINES[i % len(LINES)]}
            for j, (_, some) in enumerate(by_paper(systems)):
                known = [(system.main[key], places[system.number]) for system in some if system.main[key] is not None]
                name: dict[str, Any] = {"label": "ROC-AUC" if key == "roc_auc" else "F1" if key == "f1" else key} if j == 0 else {}
                axes.plot([s for s, _ in known], [y for _, y in known], linewidth=1.3, markersize=4.5, **look, **name)
        values = [system.main[key] for system in systems for key in LINED if system.main[key] is not None]
        low = max(0.0, min([0.9, *values]) - 0.03)
        axes.set(xlim=(low, 1 + (1 - low) / 60), xlabel="score")
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=5, fontsize=7, handlelength=2, columnspacing=0.8, borderpad=0)

    return _chart(systems, paint, above=0.3)


def gap_dots(systems: Sequence[System]) -> str:
    """Accuracy of the random split minus that of groups apart, in points, with its interval by group."""

    def paint(axes: Axes, places: Places) -> None:
        axes.axvline(0, color=QUIET, linewidth=0.9)
        for system in systems:
            gap = (system.main.get("gap") or {}).get("accuracy")
            if gap is None or gap["change"] is None:
                continue
            at, colour = places[system.number], colour_of(system.paper)
            if gap["low"] is not None and gap["high"] is not None:
                axes.hlines(at, 100 * gap["low"], 100 * gap["high"], color=colour, linewidth=2, alpha=0.45)
            axes.plot([100 * gap["change"]], [at], MARKS[system.paper % len(MARKS)], color=colour, markersize=5.5)
        axes.set(xlabel="points of accuracy that the random split adds")
        axes.margins(x=0.08)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0"))

    return _chart(systems, paint)


def _chart(systems: Sequence[System], paint: Callable[[Axes, Places], None], *, above: float = ENDS[1]) -> str:
    """Systems in rows under the titles of their papers, the axis below."""
    places: Places = {}
    labels: list[tuple[float, str, bool]] = []
    at = 0.0
    for title, some in by_paper(systems):
        labels.append((at, title, True))
        for system in some:
            at += 1
            places[system.number] = at
            labels.append((at, system.label, False))
        at += 1.25

    def draw(axes: Axes) -> None:
        paint(axes, places)
        axes.set_ylim(at - 0.6, -0.6)
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        for y, text, is_title in labels:
            look: dict[str, Any] = {"weight": "bold", "color": QUIET} if is_title else {"color": INK}
            axes.annotate(
                text, (0, y), xycoords=axes.get_yaxis_transform(), xytext=(-72 * (NAMES_WIDTH - 0.05), 0), textcoords="offset points",
                va="center", fontsize=8, **look,
            )  # fmt: skip
            if not is_title:
                axes.axhline(y, color=RULE, linewidth=0.4, zorder=0)

    height = at * ROW + ENDS[0] + above
    return one_figure(draw, (WIDTH, height), (NAMES_WIDTH, ENDS[0] - 0.1, 0.14, above))


def _having(systems: Sequence[System], kind: str, key: str) -> list[tuple[System, Mapping[str, Any]]]:
    return [(system, system.rows[kind]) for system in systems if kind in system.rows and system.rows[kind][key] is not None]


def _look(kind: str, colour: str) -> dict[str, Any]:
    """Full for groups apart, hatched for a random split."""
    hatched = {"facecolor": "none", "edgecolor": colour, "hatch": "/////", "linewidth": 0.8}
    return {"color": colour, "linewidth": 0} if kind == "grouped" else hatched


def _whisker(axes: Axes, row: Mapping[str, Any], key: str, at: float) -> None:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    if low is not None and high is not None:
        axes.hlines(at, low, high, color=INK, linewidth=1)


def _key(axes: Axes, kinds: Sequence[str]) -> None:
    """What the bars mean, above them, drawn without a colour of any paper."""
    for kind in kinds:
        axes.barh([0], [0], **_look(kind, QUIET), label="groups apart" if kind == "grouped" else "random")
    axes.plot([], [], "|", color=INK, markersize=8, markeredgewidth=2.2, label="the paper says")
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=4, fontsize=7, handlelength=1.4, columnspacing=0.8, borderpad=0)
