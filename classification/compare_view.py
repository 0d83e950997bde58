"""What `compare.html` shows, out of `compare.json`: systems in order and numbered, the best value of each column, pairs as a matrix."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classification.selection import best_epoch
from smear.report.formats import number, signed

# Key → name in a heading, and whether it is written as per cent; of all but the ECE the highest is the best.
METRICS = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "precision": ("precision", True),
    "recall": ("recall", True),
    "specificity": ("specificity", True),
    "f1": ("F1", True),
    "f1_weighted": ("F1, weighted", True),
    "roc_auc": ("ROC-AUC", False),
    "ece": ("ECE", False),
}
LOWER = ("ece", "ms_per_crop")  # the lowest is the best
PAPERS = {
    "leukodetect": "LeukoDetect (IJRASET 2026)",
    "modified_cnn": "Modified CNN (IRJASH 2023)",
    "compact_net": "Compact-Net / Xception (IJASEM)",
    "deep_leuko": "Deep Leuko",
    "resnet50_cnn": "ResNet50-CNN (SJCE)",
}
CERTAIN = 0.05  # a pair whose adjusted chance is below differs
FULL_HEAT = 0.2  # a difference of this much has the full colour

Row = Mapping[str, Any]


@dataclass(frozen=True)
class System:
    """One system: its number on this page, its name without the paper's, and its rows of compare.json by split kind.

    paper: place of the paper among those of the page. main: the row that it is judged by.
    """

    number: int
    name: str
    short: str
    paper: int
    main: Row
    rows: Mapping[str, Row]

    @property
    def has_scores(self) -> bool:
        return self.main["accuracy"] is not None

    @property
    def label(self) -> str:
        return f"{self.number}  {self.short}"


def judged_by(report: Mapping[str, Any]) -> str:
    """The split kind that the page is about: grouped, if it was run."""
    kinds = report["splits"]
    return "grouped" if "grouped" in kinds or not kinds else str(kinds[0])


def systems_of(report: Mapping[str, Any]) -> list[System]:
    """Papers in the order of the rows; in each the highest area first, then what has none, by name. Numbers count from 1."""
    main = judged_by(report)
    rows: dict[str, dict[str, Row]] = {}
    for row in report["rows"]:
        rows.setdefault(row["system"], {})[row["split"]] = row
    papers = list(dict.fromkeys(row["paper"] for row in report["rows"]))
    order = sorted(rows, key=lambda name: (papers.index(rows[name][main]["paper"]), -_known(rows[name][main]["roc_auc"]), name))
    found = []
    for i, name in enumerate(order):
        row = rows[name][main]
        short = name.removeprefix(f"{row['paper']}_")
        found.append(System(i + 1, name, short, papers.index(row["paper"]), row, rows[name]))
    return found


def by_paper(systems: Sequence[System]) -> list[tuple[str, list[System]]]:
    """The systems under the titles of their papers."""
    found: dict[str, list[System]] = {}
    for system in systems:
        found.setdefault(system.main["paper"], []).append(system)
    return [(PAPERS.get(paper, paper), some) for paper, some in found.items()]


def best_of(rows: Sequence[Row]) -> dict[str, float]:
    """The best value of each column; none where fewer than two rows have one."""
    found = {}
    for key in (*METRICS, *LOWER):
        values = [row[key] for row in rows if row.get(key) is not None]
        if len(values) > 1:
            found[key] = min(values) if key in LOWER else max(values)
    return found


def cannot_be_told_apart(tests: Mapping[str, Any] | None) -> list[str]:
    """The systems that no test tells from the best, by groups where areas are tested, else by labels."""
    against = (tests or {}).get("against_best") or []
    return [pair["second"] for pair in against if _chance(pair) is None or _chance(pair) >= CERTAIN]  # type: ignore[operator]


def matrix(systems: Sequence[System], tests: Mapping[str, Any] | None, metric: str) -> list[dict[str, Any]]:
    """Rows of the finished systems against each other: `system` and `cells` of difference (row minus column), words, heat, sureness.

    Args:
        metric: "roc_auc" (tested by DeLong's test by group) or "accuracy" (McNemar's). Sure is what the test, adjusted, and the interval by
            group both say.
    """
    pairs = {(pair["first"], pair["second"]): pair for pair in (tests or {}).get("pairs", ())}
    shown = [system for system in systems if system.has_scores]
    return [{"system": one, "cells": [_cell(one, other, pairs, metric) for other in shown]} for one in shown]


def _cell(one: System, other: System, pairs: Mapping[tuple[str, str], Row], metric: str) -> dict[str, Any] | None:
    pair = pairs.get((one.name, other.name)) or pairs.get((other.name, one.name))
    if one is other or pair is None:
        return None
    sign = 1 if pair["first"] == one.name else -1
    change, p = pair["differences"][metric]["change"], pair["delong_group_p_holm" if metric == "roc_auc" else "mcnemar_p_holm"]
    if change is None:
        return None
    points = 100 * sign * change
    return {
        "points": signed(points, 0).removeprefix("±"),
        "kind": "gain" if points > 0 else "loss",
        "heat": min(1.0, abs(change) / FULL_HEAT),
        "is_sure": p is not None and p < CERTAIN and pair["differences"][metric]["certain"],
        "told": f"{one.name} minus {other.name}: {signed(points, 1)} points, adjusted chance {chance(p)}",
    }


def histories(system: System) -> list[dict[str, Any]]:
    """What there is to draw of a training: `title` ("" or the member of an ensemble) and `folds` as `history_figure` wants them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fold in system.main["history"]:
        by_member: dict[str, list[dict[str, Any]]] = {}
        for row in fold["epochs"]:
            if row.get("epoch") is not None:
                by_member.setdefault(row.get("member", ""), []).append(row)
        for member, rows in by_member.items():
            best = best_epoch(rows) if member and all({"selected", "val_loss"} <= row.keys() for row in rows) else fold["best_epoch"]
            found.setdefault(member, []).append({"fold": fold["fold"], "best_epoch": best, "epochs": rows})
    return [{"title": member, "folds": folds} for member, folds in found.items()]


def notes(system: System) -> list[tuple[str, str, str]]:
    """Status, the split kinds it is said of ("" for all), and the note; once where the kinds agree."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, row in system.rows.items():
        if row["note"]:
            status = row["status"]
            told = row["note"].replace(f"{status}: ", "")  # a message may begin with it
            found.setdefault((status, told), []).append(kind)
    every = list(system.rows)
    return [(status, "" if kinds == every else ", ".join(kinds), told) for (status, told), kinds in found.items()]


def gaps_of(systems: Sequence[System]) -> list[float]:
    """What the random split adds to the accuracy of each system that has both numbers, in points, the smallest first."""
    changes = ((system.main.get("gap") or {}).get("accuracy", {}).get("change") for system in systems)
    return sorted(100 * change for change in changes if change is not None)


def short_count(n: int | None) -> str:
    """7.0 M, 23 k, 512."""
    if n is None:
        return number(None)
    return f"{n / 1e6:.1f} M" if n >= 999_500 else f"{n / 1e3:.0f} k" if n >= 9_950 else number(n)


def duration(seconds: float | None) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return number(None)
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def chance(p: float | None) -> str:
    """A p-value as a reader needs it."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _chance(pair: Row) -> float | None:
    by_group: float | None = pair["delong_group_p_holm"]
    by_label: float | None = pair["mcnemar_p_holm"]
    return by_label if by_group is None else by_group


def _known(value: float | None) -> float:
    return -math.inf if value is None else value
