"""How well cells were labelled: counts, shares, areas and stated probabilities of one positive class against the rest."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.reliability import brier_score, calibration_error, reliability
from smear.metrics.risk import aurc, risk_coverage
from smear.metrics.statistics import Interval, bootstrap

MORE_METRICS = ("npv", "f1_weighted", "pr_auc")  # higher is better, as METRICS
ERRORS = ("brier", "ece")  # lower is better
METRICS = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "roc_auc")


def classification_metrics(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str], *, positive: str = "ALL"
) -> dict[str, Any]:
    """Metrics of N labelled cells; all but the counts are shares in [0, 1], higher is better but for `ERRORS`.

    The label given to a cell is its most probable class (the first of equals). `precision`, `recall` (sensitivity), `specificity`,
    `npv`, `f1`, `roc_auc`, `pr_auc`, `brier`, `ece` and `reliability` are those of `positive` against the rest; `f1_weighted` is the mean
    F1 of the classes, weighted by their cells.

    Args:
        truth: (N,) int, index into `classes`; N may be 0.
        probabilities: (N, C) float in [0, 1].
        classes: names of the C classes.

    Returns:
        `METRICS`, `MORE_METRICS` and `ERRORS` as floats, NaN where undefined (no such cell, or only one class in the truth for the
        balanced accuracy and the areas); `confusion_matrix` (rows: truth, columns: label given, order of `classes`), `classes`,
        `positive`, `n`, `n_per_class`; `reliability` and `risk_coverage` as the functions of that name say.

    Raises:
        ValueError: shapes differ, a label is outside `classes`, a probability is not in [0, 1], or `positive` is not a class.
    """
    truth, probabilities = np.asarray(truth, np.int64), np.asarray(probabilities, np.float64).reshape(-1, len(classes))
    _check(truth, probabilities, classes, positive)
    k = classes.index(positive)
    is_true, stated = truth == k, probabilities[:, k]
    confusion = confusion_matrix(truth, probabilities)
    return {
        **_headline(truth, probabilities, k, (roc_auc(is_true, stated), pr_auc(is_true, stated))),
        "confusion_matrix": confusion.tolist(),
        "classes": list(classes),
        "positive": positive,
        "n": len(truth),
        "n_per_class": {name: int(n) for name, n in zip(classes, confusion.sum(axis=1), strict=True)},
        "reliability": reliability(is_true, stated),
        "risk_coverage": risk_coverage(probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)),
    }


def classification_intervals(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    positive: str = "ALL",
    n_resamples: int = 1000,
    seed: int = 0,
    unit: str = "group",
) -> dict[str, Interval]:
    """95 % intervals of `METRICS`, `MORE_METRICS`, `ERRORS` and `risk_coverage.aurc`, drawing whole groups again; arguments as above.

    Args:
        groups: (N,) the patient, slide or field of each cell. unit: which of these.

    Raises:
        ValueError: as `classification_metrics`, or the groups differ in number.
    """
    truth, probabilities = np.asarray(truth, np.int64), np.asarray(probabilities, np.float64).reshape(-1, len(classes))
    _check(truth, probabilities, classes, positive)
    if len(groups) != len(truth):
        raise ValueError(f"{len(groups)} groups, {len(truth)} cells")
    k = classes.index(positive)

    def score(index: NDArray[np.int64]) -> Mapping[str, float]:
        drawn, p = truth[index], probabilities[index]
        return {**_headline(drawn, p, k, areas(drawn == k, p[:, k])), "risk_coverage.aurc": aurc(p.argmax(axis=1) == drawn, p.max(axis=1))}

    return bootstrap(groups, score, n_resamples=n_resamples, seed=seed, unit=unit)


def confusion_matrix(truth: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """(C, C) counts of N cells: row is the true class, column the most probable one."""
    n_classes = probabilities.shape[1]
    given = probabilities.argmax(axis=1)
    return np.bincount(truth * n_classes + given, minlength=n_classes**2).reshape(n_classes, n_classes)


def _headline(truth: NDArray[np.int64], probabilities: NDArray[np.float64], k: int, roc_and_pr: tuple[float, float]) -> dict[str, float]:
    """Every number of one value, for the positive class k; its two areas are given, for there are two ways to them."""
    confusion = confusion_matrix(truth, probabilities)
    is_true, stated = truth == k, probabilities[:, k]
    return {
        **rates(is_true, probabilities.argmax(axis=1) == k),
        "accuracy": _share(int(np.trace(confusion)), len(truth)),
        "balanced_accuracy": _balanced_accuracy(confusion),
        "roc_auc": roc_and_pr[0],
        "f1_weighted": _weighted_f1(confusion),
        "pr_auc": roc_and_pr[1],
        "brier": brier_score(is_true, stated),
        "ece": calibration_error(is_true, stated),
    }


def rates(is_true: NDArray[np.bool_], is_called: NDArray[np.bool_]) -> dict[str, float]:
    """`precision`, `recall`, `specificity`, `npv` and `f1` of yes/no calls (N,) against yes/no truth (N,); NaN where undefined."""
    hits, called, true = int((is_true & is_called).sum()), int(is_called.sum()), int(is_true.sum())
    rejected, rest = int((~is_true & ~is_called).sum()), int((~is_true).sum())
    return {
        "precision": _share(hits, called),
        "recall": _share(hits, true),
        "specificity": _share(rejected, rest),
        "npv": _share(rejected, len(is_true) - called),
        "f1": _share(2 * hits, called + true),
    }


def roc_auc(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The chance that a true cell outscores another, ties counting half; NaN unless both kinds are there."""
    if is_true.all() or not is_true.any():
        return math.nan
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_true, scores))


def pr_auc(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Average precision: precision at each true cell's score, averaged, with no interpolation; chance is the share of true cells.

    NaN unless both kinds are there. Source: scikit-learn's `average_precision_score`.
    """
    if is_true.all() or not is_true.any():
        return math.nan
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_true, scores))


def areas(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[float, float]:
    """`roc_auc` and `pr_auc` together from one sort: the same numbers twenty times faster, for a bootstrap of a thousand resamples."""
    if is_true.all() or not is_true.any():
        return math.nan, math.nan
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last cell of each score
    hits, called = np.cumsum(is_true[order])[last], last + 1
    new_hits, extras = np.diff(hits, prepend=0), called - hits
    roc = float((np.diff(extras, prepend=0) * (hits - new_hits / 2)).sum()) / (hits[-1] * extras[-1])
    return float(roc), float((new_hits * hits / called).sum() / hits[-1])


def _weighted_f1(confusion: NDArray[np.int64]) -> float:
    """The F1 of each class, averaged by its true cells; a class that is neither true nor called has no weight."""
    true, called = confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * np.diag(confusion) / np.maximum(true + called, 1)
    return float((f1 * true).sum() / true.sum()) if true.sum() else math.nan


def _balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    n_per_class = confusion.sum(axis=1)
    return float((np.diag(confusion) / n_per_class).mean()) if (n_per_class > 0).all() else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check(truth: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str], positive: str) -> None:
    if positive not in classes:
        raise ValueError(f"positive class {positive!r} is not one of {list(classes)}")
    if truth.ndim != 1 or len(truth) != len(probabilities):
        raise ValueError(f"truth has shape {truth.shape}, probabilities {probabilities.shape}")
    if len(truth) and (truth.min() < 0 or truth.max() >= len(classes)):
        raise ValueError(f"truth must index the {len(classes)} classes, got {truth.min()} to {truth.max()}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # also refuses NaN
        raise ValueError("probabilities must be finite and in [0, 1]; leave out cells without a label")
