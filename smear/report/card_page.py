"""`card.html`: a model card as one self-contained page; what the model is for first, then its numbers, then the checklists."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smear.checklists import STATUSES
from smear.report.formats import UNKNOWN, number, pretty

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("base", "tables", "card", "print")
SIGNS = {"answered": "✓", "partly": "◐", "open": "○", "not applicable": "–"}
SHOWN = (
    "map50",
    "map50_95",
    "precision",
    "white_recall",
    "white_precision",
    "accuracy",
    "recall",
    "specificity",
    "roc_auc",
)  # in the first table
NAMES = {
    "map50": "mAP@50",
    "map50_95": "mAP@50-95",
    "ap50": "AP@50",
    "ap50_95": "AP@50-95",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "npv": "NPV",
    "f1": "F1",
    "f1_weighted": "F1, weighted",
    "ece": "ECE",
    "brier": "Brier",
    "n_truth": "true",
    "n_found": "found",
    "n_hits": "right",
    "n_positive": "positive",
    "n_review_share": "to review",
    "n_warned_share": "fields warned",
}


def render_card(record: Mapping[str, Any]) -> str:
    """The page for what `smear.cards.card_record` returned; the same text for the same record, which may hold any text."""
    template = _templates().get_template("model_card.html.j2")
    has_intervals = any(row["low"] is not None for e in record["evaluations"] for row in e["numbers"])
    page = template.render(card=record, statuses=STATUSES, signs=SIGNS, main=SHOWN, styles=STYLES, has_intervals=has_intervals)
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([folder / "templates", folder / "css"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": words, "value": shown, "pretty": pretty}
    return environment


def words(key: str) -> str:
    """A key as a reader knows it: `ultralytics.map50` is "ultralytics: mAP@50"."""
    *before, last = key.split(".")
    return "".join(f"{part.replace('_', ' ')}: " for part in before) + NAMES.get(last, last.replace("_", " "))


def shown(value: Any) -> str:
    """Three decimals for a share, – for what is unknown or undefined."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.3f}"
    return number(value) if isinstance(value, int) else str(value)
