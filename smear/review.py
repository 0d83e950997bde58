"""Which labels a person should look at: by hand, by the classifier's card, or by an error rate that must not be exceeded."""

from dataclasses import dataclass

from smear.errors import ConfigError
from smear.metrics.conformal import EVERY_CELL, PROMISE, error_threshold
from smear.models import ModelCard
from smear.settings import AnalyzeSettings

DEFAULT_REVIEW = 0.8  # where a card says nothing
CURVE = "review_curve"  # in ModelCard.metrics
NO_THRESHOLD = "every cell sent to review: no confidence promises the error rate that was asked for"


@dataclass(frozen=True)
class ReviewRule:
    """Cells whose best probability is lower than `below` need a review; `text` says why there, `warning` what went wrong (or None)."""

    below: float
    text: str
    warning: str | None = None


def review_rule(settings: AnalyzeSettings, classifier: ModelCard | None) -> ReviewRule:
    """The rule of one analysis: `review_below` as given, or from `max_error` and the card's review curve, or the card's own.

    Raises:
        ConfigError: `max_error` without a classifier, or with one whose card has no review curve.
    """
    if settings.review_below is not None:
        return ReviewRule(settings.review_below, f"labels at least {settings.review_below:g} sure are accepted, as was asked for")
    if settings.max_error is None:
        below = classifier.thresholds.get("needs_review", DEFAULT_REVIEW) if classifier else DEFAULT_REVIEW
        return ReviewRule(below, f"labels at least {below:.3g} sure are accepted, as the classifier's card says; no error rate is promised")
    if classifier is None:
        raise ConfigError("max_error: needs a classifier, and this analysis has none; leave --max-error out")
    curve = classifier.metrics.get(CURVE)
    if not curve:
        raise ConfigError(
            f"max_error: the card of {classifier.name} has no review curve; record one on validation cells with: "
            "python -m classification.calibrate BUNDLE --data crops.csv"
        )
    asked = f"at most {100 * settings.max_error:g} % of the accepted labels wrong"
    below_or_none = error_threshold(curve, settings.max_error)
    if below_or_none is None:
        return ReviewRule(EVERY_CELL, f"no label is accepted: {curve['n']} validation cells cannot promise {asked}", NO_THRESHOLD)
    promised = f"{asked}, with {100 * PROMISE:g} % confidence, for cells like the {curve['n']} of validation"
    return ReviewRule(below_or_none, f"labels at least {below_or_none:.3g} sure are accepted: {promised}")
