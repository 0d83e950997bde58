"""The operating point of a classifier: from which probability on a cell is called positive. Chosen on validation, never on test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.statistics import clopper_pearson

RULES = ("youden", "f1", "sensitivity")
TARGET_SENSITIVITY = 0.95  # of the rule "sensitivity": a missed blast costs more than a second look


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the probability of the positive class, and how it came about; `target` belongs to the rule "sensitivity"."""

    threshold: float
    rule: str
    target: float | None = None


def choose_threshold(
    is_true: NDArray[np.bool_], scores: NDArray[np.floating], *, rule: str = "youden", target: float = TARGET_SENSITIVITY
) -> OperatingPoint | None:
    """The threshold that a rule picks on validation cells; None when one kind of cell is missing, for then nothing can be chosen.

    "youden": most sensitivity + specificity. "f1": best F1 of the positive class. "sensitivity": most specificity with at least
    `target` sensitivity. Of equals the threshold nearest 0.5. It lies midway between two scores, so that rounding moves no cell.

    Args:
        is_true: (N,) whether the cell is positive. scores: (N,) its probability, in [0, 1].

    Raises:
        ValueError: no such rule.

    Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950); the curve is scikit-learn's `roc_curve`.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    is_true, scores = np.asarray(is_true, bool), np.asarray(scores, np.float64)
    if is_true.all() or not is_true.any():
        return None
    from sklearn.metrics import roc_curve  # on demand: a classifier that is only used chooses nothing

    missed_rate, sensitivity, reached = roc_curve(is_true, scores, drop_intermediate=False)
    highest = reached[1]  # reached[0] is infinite: no cell is called positive
    none = (1 + highest) / 2 if highest < 1 else float(np.nextafter(1, 2))
    thresholds = np.append(none, (reached[1:] + np.append(reached[2:], 0.0)) / 2)
    value = _VALUES[rule](sensitivity, 1 - missed_rate, float(is_true.mean()), target)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    chosen = best[np.abs(thresholds[best] - 0.5).argmin()]
    return OperatingPoint(float(thresholds[chosen]), rule, target if rule == "sensitivity" else None)


def at_threshold(is_true: NDArray[np.bool_], scores: NDArray[np.floating], threshold: float) -> dict[str, Any]:
    """Counts at a threshold, called positive when score >= threshold: `sensitivity`, `specificity`, `ppv`, `npv` and `accuracy`.

    Each is {"k", "n", "value", "low", "high"}: k of n, the share (NaN when n is 0) and its exact 95 % interval, cell by cell.
    """
    return {name: share_of(k, n) for name, (k, n) in _counts(is_true, scores, threshold).items()}


def shares_at(is_true: NDArray[np.bool_], scores: NDArray[np.floating], threshold: float) -> dict[str, float]:
    """The shares alone, without their intervals: what a bootstrap draws a thousand times."""
    return {name: k / n if n else float("nan") for name, (k, n) in _counts(is_true, scores, threshold).items()}


def _counts(is_true: NDArray[np.bool_], scores: NDArray[np.floating], threshold: float) -> dict[str, tuple[int, int]]:
    is_true, called = np.asarray(is_true, bool), np.asarray(scores, np.float64) >= threshold
    hits, rejected = int((is_true & called).sum()), int((~is_true & ~called).sum())
    return {
        "sensitivity": (hits, int(is_true.sum())),
        "specificity": (rejected, int((~is_true).sum())),
        "ppv": (hits, int(called.sum())),
        "npv": (rejected, int((~called).sum())),
        "accuracy": (hits + rejected, len(is_true)),
    }


def share_of(k: int, n: int) -> dict[str, Any]:
    """k of n with the exact 95 % interval of the share."""
    low, high = clopper_pearson(k, n)
    return {"k": k, "n": n, "value": k / n if n else float("nan"), "low": low, "high": high}


def _f1(sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prevalence: float, _: float) -> NDArray[np.float64]:
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    return 2 * sensitivity * prevalence / (called + prevalence)


def _most_specific(sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], _: float, target: float) -> NDArray[np.float64]:
    return np.where(sensitivity >= target - 1e-12, specificity, -1.0)


_VALUES: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], float, float], NDArray[np.float64]]] = {
    "youden": lambda sensitivity, specificity, *_: sensitivity + specificity - 1,
    "f1": _f1,
    "sensitivity": _most_specific,
}
