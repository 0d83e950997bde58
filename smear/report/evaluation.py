"""What the page shows of an evaluation: the metrics in the order of reading, with their figures; a missing key shows nothing."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from smear.report.figures.flow import flow_figure
from smear.report.gallery import owner_fault

CELL_METRICS = {  # key: heading
    "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "precision": "Precision", "recall": "Sensitivity",
    "specificity": "Specificity", "npv": "NPV", "f1": "F1", "f1_weighted": "Weighted F1", "roc_auc": "ROC area", "pr_auc": "PR area",
    "brier": "Brier score", "ece": "Calibration error",
}  # fmt: skip
STRESS_NAMES = CELL_METRICS | {
    "map50": "mAP@50", "map50_95": "mAP@50-95", "white_recall": "White recall", "white_precision": "White precision",
    "n_review_share": "To review", "n_warned_share": "Fields warned",
}  # fmt: skip
GAIN = {"n_review_share": -1, "n_warned_share": 0}  # more cells to review is a loss; a warning where a score falls is neither
FULL_HEAT = 0.3  # a change of this much has the deepest colour
OWNER_WORDS = {
    "right": "found and right",
    "found": "found",
    "wrong": "found and labelled wrongly",
    "review": "found and sent to review",
    "loose": "found, box too loose for the crop",
    "doubled": "counted twice",
    "missed": "missed",
}
BLOCKS = (  # path to the block, its title
    (("cells_on_truth",), "on the labelled boxes"),
    (("end_to_end", "matched"), "end to end, found cells"),
    (("end_to_end", "all"), "end to end, all cells"),
)


def view(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `metrics` by section: `detection`, `cells`, `confusions`, `calibration`, `owners`, `stress`; any may be empty."""
    detection = metrics.get("detection") or (metrics if "map50" in metrics else {})
    intervals = metrics.get("intervals") or detection.get("intervals") or {}
    blocks = [(title, _at(metrics, path)) for path, title in BLOCKS]
    blocks = [(title, block) for title, block in blocks if block]
    return {
        "intervals": intervals,
        "method": _method(intervals),
        "detection": detection,
        "pr": _pr(metrics),
        "cells": blocks,
        "cell_metrics": {key: name for key, name in CELL_METRICS.items() if any(key in block for _, block in blocks)},
        "confusions": [(title, confusion_rows(block)) for title, block in blocks if block.get("confusion_matrix")],
        "calibration": _calibration(blocks),
        "end_to_end": metrics.get("end_to_end") or {},
        "flow": _flow(metrics),
        "owners": owner_rows(metrics.get("end_to_end") or {}),
        "oracle": _at(metrics, ("end_to_end", "oracle")),
        "n_errors": metrics.get("n_errors") or len(metrics.get("errors") or ()),
        "stress": stress_table(metrics.get("stress") or {}),
    }


def confusion_rows(block: Mapping[str, Any]) -> dict[str, Any]:
    """The matrix with the share of each count in its row, for a table whose cells are shaded by it."""
    rows = []
    for name, counts in zip(block["classes"], block["confusion_matrix"], strict=True):
        n = sum(counts)
        rows.append({"truth": name, "n": n, "cells": [{"n": k, "share": k / n if n else 0.0} for k in counts]})
    return {"classes": block["classes"], "rows": rows}


def owner_rows(end_to_end: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What became of the true white cells: by owner where their kind is known, else only whether they were found."""
    owners = end_to_end.get("owners") or end_to_end.get("owners_white") or {}
    n = sum(owners.values())
    return [
        {
            "key": key,
            "words": OWNER_WORDS.get(key, key),
            "fault": owner_fault(key),
            "n": owners[key],
            "share": owners[key] / n if n else None,
        }
        for key in [*(k for k in OWNER_WORDS if k in owners), *(k for k in owners if k not in OWNER_WORDS)]
    ]


def stress_table(stress: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions as rows grouped by name, metrics as columns; `heat` in [-1, 1] is the change in units of `FULL_HEAT`, losses negative."""
    conditions = stress.get("conditions") or []
    if not conditions:
        return {}
    baseline, worst = stress.get("baseline") or {}, stress.get("worst")
    columns = [key for key in baseline if any(isinstance((c.get("metrics") or {}).get(key), int | float) for c in conditions)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for condition in conditions:
        cells = [_stress_cell(key, condition, baseline) for key in columns]
        groups.setdefault(condition["name"], []).append({"level": condition.get("level"), "cells": cells})
    return {
        "columns": [STRESS_NAMES.get(key, key.replace("_", " ")) for key in columns],
        "baseline": [baseline[key] for key in columns],
        "groups": groups,
        "n_fields": stress.get("n_fields"),
        "n_conditions": len(conditions),
        "n_breaking": sum(bool(c.get("breaks")) for c in conditions),
        "breaks_above": stress.get("breaks_above"),
        "worst": {**worst, "metric": STRESS_NAMES.get(worst["metric"], worst["metric"])} if worst else None,
    }


def _stress_cell(key: str, condition: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    value = (condition.get("metrics") or {}).get(key)
    change = (condition.get("change") or {}).get(key)
    if change is None and value is not None and baseline.get(key) is not None:
        change = value - baseline[key]
    gain = GAIN.get(key, 1) * (change or 0.0)
    return {"value": value, "change": change, "heat": max(-1.0, min(1.0, gain / FULL_HEAT))}


def _method(intervals: Mapping[str, Any]) -> str:
    """How the intervals were made, in the words of the first that tells."""
    return next((str(value["method"]) for value in intervals.values() if value and value.get("method")), "")


def _pr(metrics: Mapping[str, Any]) -> str:
    if not metrics.get("pr_curves"):
        return ""
    from smear.report.figures.curves import precision_recall_figure  # matplotlib, for evaluations alone

    return precision_recall_figure(metrics["pr_curves"])


def _flow(metrics: Mapping[str, Any]) -> Markup:
    flow = _at(metrics, ("end_to_end", "flow"))
    return Markup(flow_figure(flow.get("nodes") or (), flow.get("links") or ()))  # its texts are escaped there


def _calibration(blocks: list[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Reliability and risk-coverage of the first block that has them: the classifier by itself where possible."""
    if not blocks:
        return []
    from smear.report.figures.curves import reliability_figure, risk_coverage_figure

    figures: list[dict[str, str]] = []
    for title, block in blocks:
        if not figures and (block.get("reliability") or {}).get("n"):
            figures.append({"svg": reliability_figure(block["reliability"]), "title": "Reliability", "of": title})
    for title, block in blocks:
        if len(figures) < 2 and (block.get("risk_coverage") or {}).get("coverage"):
            curve = block["risk_coverage"]
            figures.append({"svg": risk_coverage_figure(curve["coverage"], curve["risk"]), "title": "Risk and coverage", "of": title})
    return figures


def _at(metrics: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    part: Any = metrics
    for key in path:
        part = (part or {}).get(key)
    return part or {}
