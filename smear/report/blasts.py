"""The blast estimate of a row of the report, with the rates that the classifier's card states."""

from collections.abc import Sequence
from typing import Any

from smear.metrics.blasts import AT_LEAST, EXCLUDED, blast_estimate, counts_of_card
from smear.models import ModelCard
from smear.report.formats import percent
from smear.report.tally import CONFIDENCE, Tally

BLAST_NAMES = ("all", "blast", "blasts")  # classes that are leukaemic blasts, whatever their case


def blast_class(classes: Sequence[str]) -> str | None:
    """The class that is a blast; None when the classifier knows none."""
    return next((name for name in classes if name.lower() in BLAST_NAMES), None)


def blast_row(tally: Tally, classes: Sequence[str], cards: Sequence[ModelCard]) -> dict[str, Any] | None:
    """`BlastEstimate.to_json` of the labelled cells, those sent to review included; None without a class that is a blast."""
    name = blast_class(classes)
    if name is None:
        return None
    card = next((card for card in cards if card.task == "classify" and name in card.classes), None)
    sensitivity, specificity = counts_of_card(card.metrics) if card else (None, None)
    return blast_estimate(
        tally.labels[name], tally.n_labelled, sensitivity=sensitivity, specificity=specificity,
        n_review=sum(tally.review_labels.values()), k_review=tally.review_labels[name], confidence=CONFIDENCE,
    ).to_json()  # fmt: skip


def verdict_words(estimate: dict[str, Any]) -> str:
    """The verdict as a headline: it names the share that was asked for, and begins with a capital."""
    asked = percent(estimate["exclude_share"])
    words = {EXCLUDED: f"less than {asked} blasts", AT_LEAST: f"at least {asked} blasts"}.get(estimate["verdict"], estimate["verdict"])
    return words[:1].upper() + words[1:]
