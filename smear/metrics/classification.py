"""How well cells were labelled: counts, shares and the ROC area of one positive class against the rest."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

METRICS = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "roc_auc")


def classification_metrics(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str], *, positive: str = "ALL"
) -> dict[str, Any]:
    """Metrics of N labelled cells; all but the counts are shares in [0, 1], higher is better.

    The label given to a cell is its most probable class (the first of equals). `precision`, `recall` (sensitivity), `specificity`,
    `f1` and `roc_auc` are those of `positive` against the rest.

    Args:
        truth: (N,) int, index into `classes`; N may be 0.
        probabilities: (N, C) float, finite.
        classes: names of the C classes.

    Returns:
        `METRICS` as floats, NaN where undefined (no such cell, or only one class in the truth for the balanced accuracy and the area);
        `confusion_matrix` (rows: truth, columns: label given, order of `classes`), `classes`, `positive`, `n`, `n_per_class`.

    Raises:
        ValueError: shapes differ, a label is outside `classes`, a probability is not finite, or `positive` is not a class.
    """
    truth, probabilities = np.asarray(truth, np.int64), np.asarray(probabilities, np.float64).reshape(-1, len(classes))
    _check(truth, probabilities, classes, positive)
    given = probabilities.argmax(axis=1) if len(truth) else truth
    labels = list(range(len(classes)))
    confusion = metrics.confusion_matrix(truth, given, labels=labels) if len(truth) else np.zeros((len(labels), len(labels)), int)
    is_true, is_called = truth == classes.index(positive), given == classes.index(positive)
    return {
        **rates(is_true, is_called),
        "accuracy": float((truth == given).mean()) if len(truth) else math.nan,
        "balanced_accuracy": _balanced_accuracy(confusion),
        "roc_auc": roc_auc(is_true, probabilities[:, classes.index(positive)]),
        "confusion_matrix": confusion.tolist(),
        "classes": list(classes),
        "positive": positive,
        "n": len(truth),
        "n_per_class": {name: int(n) for name, n in zip(classes, confusion.sum(axis=1), strict=True)},
    }


def rates(is_true: NDArray[np.bool_], is_called: NDArray[np.bool_]) -> dict[str, float]:
    """`precision`, `recall`, `specificity` and `f1` of yes/no calls (N,) against yes/no truth (N,); NaN where undefined."""
    hits, called, true = int((is_true & is_called).sum()), int(is_called.sum()), int(is_true.sum())
    rejected, rest = int((~is_true & ~is_called).sum()), int((~is_true).sum())
    return {
        "precision": _share(hits, called),
        "recall": _share(hits, true),
        "specificity": _share(rejected, rest),
        "f1": _share(2 * hits, called + true),
    }


def roc_auc(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The chance that a true cell outscores another, ties counting half; NaN unless both kinds are there."""
    if is_true.all() or not is_true.any():
        return math.nan
    return float(metrics.roc_auc_score(is_true, scores))


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
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite; leave out cells without a label")
