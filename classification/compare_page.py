"""`compare.html`: systems of the papers on the same folds as one self-contained page; the honest table first, then why, then the cells.

The page loads nothing, runs no script and escapes every text (Jinja2 autoescape), since names of files and messages are user input.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from classification import compare_view as view
from classification.compare_view import System
from smear.errors import ImageError
from smear.images import encode, read_image
from smear.report.formats import figure
from smear.report.html import open_templates, stylesheet
from smear.report.records import jsonable
from smear.report.views import look

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent / "templates"
MOST_CELLS = 60  # pictures; the counts beside them are complete
MOST_GROUPS = 40  # rows of the table of groups, MOST_LINES of what was left out
MOST_LINES = 200
PICTURE_PX, QUALITY = 144, 82  # JPEG; about 5 kB a picture

Cell = Mapping[str, Any]


def render_page(report: Mapping[str, Any], pictures: Mapping[int, bytes] | None = None) -> str:
    """The page for what `classification.compare` writes as `compare.json`; the same text for the same input.

    Args:
        report: any number of systems, finished or not.
        pictures: PNG or JPEG bytes of crops by their `row`, see `picture_cells`; a cell without one is shown as its file name.
    """
    report = jsonable(dict(report))
    kind, systems = view.judged_by(report), view.systems_of(report)
    done = [system for system in systems if system.has_scores]
    wrong = report["all_wrong"].get(kind) or {"n_systems": 0, "cells": []}
    page = _templates().get_template("compare.html.j2").render(
        report=report,
        kind=kind,
        systems=systems,
        done=done,
        papers=view.by_paper(systems),
        metrics=view.METRICS,
        best={split: view.best_of([s.rows[split] for s in systems if split in s.rows]) for split in report["splits"]},
        leader=_leader(report, kind, done),
        alike=view.cannot_be_told_apart(report["tests"].get(kind)),
        gaps=view.gaps_of(systems),
        tests=report["tests"].get(kind) or {},
        against=_against(report, kind, done),
        matrices=_matrices(report, kind, done),
        figures=_figures(report, systems, done),
        wrong=wrong,
        wrong_counts=_counts(wrong["cells"]),
        shown_cells=_by_label(choose_cells(wrong["cells"]), report["classes"]),
        pictures=pictures or {},
        most_groups=MOST_GROUPS,
        most_lines=MOST_LINES,
        style=Markup(stylesheet(HERE / "compare.css")),
    )  # fmt: skip
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the page


def choose_cells(cells: Sequence[Cell], most: int = MOST_CELLS) -> list[Cell]:
    """At most so many, in turn from each class and, within it, from each group, so that no slide fills the page; in the order given."""
    queues: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        queues.setdefault(cell["label"], {}).setdefault(cell["group"], []).append(cell)
    by_label = [_in_turn(groups.values()) for groups in queues.values()]
    chosen = {cell["row"] for cell in _in_turn(by_label)[:most]}
    return [cell for cell in cells if cell["row"] in chosen]


def picture_cells(report: Mapping[str, Any], paths: Sequence[Path]) -> dict[int, bytes]:
    """JPEG bytes of the crops that the page shows, by row; one that cannot be read any more is left out.

    Args:
        report: as for `render_page`. paths: the file of each of the N crops that were compared on.
    """
    found = report["all_wrong"].get(view.judged_by(report)) or {"cells": []}
    return picture_rows([cell["row"] for cell in choose_cells(found["cells"])], paths)


def picture_rows(rows: Iterable[int], paths: Sequence[Path]) -> dict[int, bytes]:
    """JPEG bytes of the crops of these rows; one that cannot be read any more is left out."""
    pictures = {}
    for row in rows:
        try:
            image = read_image(paths[row])
        except ImageError:  # it was read before: taken away since
            continue
        height, width = image.shape[:2]
        small = look(image, np.array([0, 0, width, height], np.float32), max(height, width), PICTURE_PX).picture
        pictures[row] = encode(small, ".jpg", quality=QUALITY)
    return pictures


def breakable(name: str) -> Markup:
    """A name that a narrow column may break behind its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


@cache
def _templates() -> "Environment":
    environment = open_templates(HERE)
    environment.filters |= {each.__name__: each for each in (view.short_count, view.duration, view.chance, view.notes, breakable)} | {
        "median": median
    }
    return environment


def _leader(report: Mapping[str, Any], kind: str, done: Sequence[System]) -> System | None:
    """The system with the highest area; the highest accuracy where there is no area."""
    best = (report["tests"].get(kind) or {}).get("best")
    named = [system for system in done if system.name == best]
    return named[0] if named else max(done, key=lambda system: system.main["accuracy"], default=None)


def _against(report: Mapping[str, Any], kind: str, done: Sequence[System]) -> list[tuple[System, Mapping[str, Any]]]:
    """Each other system with its pair with the best one, in the order of the page."""
    pairs = {pair["second"]: pair for pair in (report["tests"].get(kind) or {}).get("against_best", ())}
    return [(system, pairs[system.name]) for system in done if system.name in pairs]


def _matrices(report: Mapping[str, Any], kind: str, done: Sequence[System]) -> list[dict[str, Any]]:
    """Pairs by area, then by accuracy; nothing for fewer than two systems."""
    tests, found = report["tests"].get(kind), []
    for metric, title, test in (
        ("roc_auc", "ROC-AUC", "DeLong’s test by group" if len(report["classes"]) == 2 else ""),
        ("accuracy", "Accuracy", "McNemar’s test"),
    ):
        if len(done) > 1 and test:
            found.append({"title": title, "test": test, "rows": view.matrix(done, tests, metric)})
    return found


def _figures(report: Mapping[str, Any], systems: Sequence[System], done: Sequence[System]) -> dict[str, Any]:
    """All figures as data URIs; those that need numbers are missing where there are none."""
    from classification.compare_figures import cost, curves, rows  # matplotlib, for the page alone

    drawn: dict[str, Any] = {"histories": [], "roc": [], "gaps": "", "costs": []}
    for system in systems:
        for history in view.histories(system):
            drawn["histories"].append({"system": system, **history, "src": figure(curves.history_figure(history["folds"]))})
    if not done:
        return drawn
    share = max(report["n_per_class"].values()) / report["n"]
    drawn["bars"] = figure(rows.accuracy_bars(systems, share))
    drawn["lines"] = figure(rows.metric_lines(systems))
    drawn["costs"] = [
        (words[0], figure(cost.cost_figure(done, score, "ms_per_crop", words)))
        for score, words in (("accuracy", ("accuracy", "milliseconds a crop")), ("roc_auc", ("ROC-AUC", "milliseconds a crop")))
        if sum(system.main[score] is not None for system in done) > 1
    ]
    if view.gaps_of(systems):
        drawn["gaps"] = figure(rows.gap_dots(systems))
    for title, some in view.by_paper(done):
        if any(system.main["roc"] for system in some):
            drawn["roc"].append((title, figure(curves.roc_figure(some))))
    return drawn


def _counts(cells: Iterable[Cell]) -> dict[str, Any]:
    """How many of each class, and of each class in each group, the fullest group first."""
    cells = list(cells)
    by_group: dict[str, Counter[str]] = {}
    for cell in cells:
        by_group.setdefault(cell["group"], Counter())[cell["label"]] += 1
    ordered = sorted(by_group.items(), key=lambda item: (-item[1].total(), item[0]))
    return {"labels": Counter(cell["label"] for cell in cells), "groups": ordered}


def _by_label(cells: Iterable[Cell], classes: Sequence[str]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {name: [] for name in classes}
    for cell in cells:
        found[cell["label"]].append(cell)
    return {name: sorted(some, key=lambda cell: (cell["group"], cell["row"])) for name, some in found.items() if some}


def _in_turn(queues: Iterable[Sequence[Cell]]) -> list[Cell]:
    """The first of each, then the second of each, and so on."""
    return [cell for each in zip_longest(*queues) for cell in each if cell is not None]
