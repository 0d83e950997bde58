"""The numbers of a classifier on a thousand resamples of whole groups at once: counted by group, then added up."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smear.metrics.reliability import N_BINS, bins_of

NAMES = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "f1_weighted", "roc_auc", "ece")
AT_ONCE = 8_000_000  # cells × resamples whose counts are in memory together (int32)


def group_times(groups: Sequence[str], drawn: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each item's group, (N,), groups in the order of their first item, and how often each resample has each group.

    Args:
        groups: (N,). drawn: (R, G) groups of each resample, as `smear.metrics.statistics.resamples` gives them.

    Returns:
        (N,) and (1 + R, G) int64; the first row is the cells as they are, each group once.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    which = np.array([number[name] for name in groups], np.int64)
    n_groups, n_drawn = len(number), len(drawn)
    flat = drawn + n_groups * np.arange(n_drawn)[:, None]
    times = np.bincount(flat.ravel(), minlength=n_groups * n_drawn).reshape(n_drawn, n_groups)
    return which, np.concatenate([np.ones((1, n_groups), np.int64), times])


def resampled_scores(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    which: NDArray[np.int64],
    times: NDArray[np.int64],
    *,
    positive: int | None = 0,
) -> dict[str, NDArray[np.float64]]:
    """`NAMES` of N cells of C classes when group g counts `times[r, g]` times; (R,) each, in [0, 1], NaN where undefined.

    With a positive class they are the numbers of `smear.metrics.classification`. Without one (None, for more than two classes)
    `precision`, `recall`, `specificity`, `f1` and `roc_auc` are those of each class against the rest, averaged over the classes (macro;
    the precision of a class that is never given counts as 0), and `ece` is that of the label given, not of one class.

    Args:
        truth: (N,) in [0, C). probabilities: (N, C). which: (N,) the group of each cell, in [0, G). times: (R, G) int64.
    """
    n_classes, n_groups = probabilities.shape[1], times.shape[1]
    p = np.asarray(probabilities, np.float64)
    given = p.argmax(axis=1)
    cells = (which * n_classes + truth) * n_classes + given
    by_group = np.bincount(cells, minlength=n_groups * n_classes**2).reshape(n_groups, n_classes**2)
    confusion = (times @ by_group).reshape(-1, n_classes, n_classes)
    chosen = range(n_classes) if positive is None else [positive]
    is_hit, stated = (given == truth, p.max(axis=1)) if positive is None else (truth == positive, p[:, positive])
    areas = [_areas(truth == c, p[:, c], which, times) for c in chosen]
    return {
        **_labelled(confusion),
        **_rates(confusion, list(chosen), is_macro=positive is None),
        "roc_auc": np.mean(areas, axis=0),
        "ece": _errors(is_hit, stated, which, times),
    }


def _labelled(confusion: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    total = true.sum(axis=1)
    f1 = 2 * hits / np.maximum(true + called, 1)
    return {
        "accuracy": _ratio(hits.sum(axis=1), total),
        "balanced_accuracy": _ratio(hits, true).mean(axis=1),
        "f1_weighted": _ratio((f1 * true).sum(axis=1), total),
    }


def _rates(confusion: NDArray[np.int64], chosen: list[int], *, is_macro: bool) -> dict[str, NDArray[np.float64]]:
    hits = np.diagonal(confusion, axis1=1, axis2=2)[:, chosen]
    true, called, total = confusion.sum(axis=2)[:, chosen], confusion.sum(axis=1)[:, chosen], confusion.sum(axis=(1, 2))[:, None]
    precision = _ratio(hits, called)
    rates = {
        "precision": np.where((called == 0) & (true > 0), 0.0, precision) if is_macro else precision,
        "recall": _ratio(hits, true),
        "specificity": _ratio(total - true - called + hits, total - true),
        "f1": _ratio(2 * hits, true + called),
    }
    return {name: values.mean(axis=1) for name, values in rates.items()}


def _areas(
    is_true: NDArray[np.bool_], scores: NDArray[np.float64], which: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(R,) areas under the ROC curve, ties counting half: each cell of the rest asks how many true ones lie above it."""
    order = np.flatnonzero(is_true)[np.argsort(scores[is_true], kind="stable")]
    ordered, rest = scores[order], scores[~is_true]
    below, not_above = np.searchsorted(ordered, rest, "left"), np.searchsorted(ordered, rest, "right")
    step = max(1, AT_ONCE // max(1, len(scores)))
    found = np.full(len(times), math.nan)
    for start in range(0, len(times), step):
        part = times[start : start + step].astype(np.int32)
        n_below = np.zeros((len(part), len(order) + 1), np.int32)
        np.cumsum(part[:, which[order]], axis=1, out=n_below[:, 1:])
        weight = part[:, which[~is_true]]
        n_true, n_rest = n_below[:, -1].astype(np.int64), weight.sum(axis=1, dtype=np.int64)
        above = n_true[:, None] - (n_below[:, below] + n_below[:, not_above]) / 2  # (r, n_rest)
        found[start : start + step] = _ratio((weight * above).sum(axis=1), n_true * n_rest)
    return found


def _errors(
    is_hit: NDArray[np.bool_], stated: NDArray[np.float64], which: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(R,) expected calibration errors, in the bins of `smear.metrics.reliability`."""
    n_groups = times.shape[1]
    cells = which * N_BINS + bins_of(stated, N_BINS)
    gaps = np.bincount(cells, weights=stated - is_hit, minlength=n_groups * N_BINS).reshape(n_groups, N_BINS)
    n = times @ np.bincount(which, minlength=n_groups)
    return _ratio(np.abs(times @ gaps).sum(axis=1), n)


def _ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(part), math.nan), where=whole != 0)
