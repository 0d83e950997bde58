"""Whether stated probabilities come true: reliability by bin, expected calibration error, Brier score."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.statistics import clopper_pearson

N_BINS = 15  # as Guo et al., On calibration of modern neural networks (ICML 2017), and torchmetrics


def reliability(is_true: NDArray[np.bool_], stated: NDArray[np.floating], *, n_bins: int = N_BINS) -> dict[str, Any]:
    """Of the cells that were given about the same probability, which share was true; by bins of equal width over [0, 1].

    A bin holds low < p <= high, and the first one 0 too; empty bins are left out, so the lists are as long as there are bins in use.

    Args:
        is_true: (N,) whether the cell is of the class whose probability is stated; N may be 0.
        stated: (N,) in [0, 1].

    Returns:
        Lists of one value a bin: `stated` mean probability, `observed` share of true cells with its exact 95 % interval
        `observed_low` and `observed_high`, `n` cells, `bin_low` and `bin_high`; and `n_bins`, `binning` in words.

    Raises:
        ValueError: shapes differ, or a probability is outside [0, 1].
    """
    truth, p = _checked(is_true, stated)
    which = bins_of(p, n_bins)
    n = np.bincount(which, minlength=n_bins)
    used = np.flatnonzero(n)
    hits = np.bincount(which, weights=truth, minlength=n_bins)
    means = np.bincount(which, weights=p, minlength=n_bins)
    ranges = [clopper_pearson(int(hits[b]), int(n[b])) for b in used]
    return {
        "stated": [float(means[b] / n[b]) for b in used],
        "observed": [float(hits[b] / n[b]) for b in used],
        "observed_low": [low for low, _ in ranges],
        "observed_high": [high for _, high in ranges],
        "n": [int(n[b]) for b in used],
        "bin_low": [float(b / n_bins) for b in used],
        "bin_high": [float((b + 1) / n_bins) for b in used],
        "n_bins": n_bins,
        "binning": f"probability of the positive class in {n_bins} bins of equal width",
    }


def calibration_error(is_true: NDArray[np.bool_], stated: NDArray[np.floating], *, n_bins: int = N_BINS) -> float:
    """Expected calibration error in [0, 1], lower is better: |stated - observed| averaged over cells, in the bins of `reliability`.

    It depends on the bins: few cells a bin make it too large. NaN when N is 0.
    """
    truth, p = _checked(is_true, stated)
    if not len(p):
        return math.nan
    return float(np.abs(np.bincount(bins_of(p, n_bins), weights=p - truth, minlength=n_bins)).sum() / len(p))


def brier_score(is_true: NDArray[np.bool_], stated: NDArray[np.floating]) -> float:
    """Mean squared difference of the stated probability and the truth (0 or 1), in [0, 1], lower is better; NaN when N is 0.

    It is that of one class against the rest (half of Brier's sum over two classes). Source: Brier, Monthly Weather Review 78 (1950).
    """
    truth, p = _checked(is_true, stated)
    return float(((p - truth) ** 2).mean()) if len(p) else math.nan


def bins_of(stated: NDArray[np.float64], n_bins: int = N_BINS) -> NDArray[np.int64]:
    """(N,) the bin of each probability, as `reliability` says."""
    return np.clip(np.ceil(stated * n_bins).astype(np.int64) - 1, 0, n_bins - 1)


def _checked(is_true: NDArray[np.bool_], stated: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, p = np.asarray(is_true, bool), np.asarray(stated).astype(np.float64)
    if truth.shape != p.shape or truth.ndim != 1:
        raise ValueError(f"is_true has shape {truth.shape}, stated {p.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("stated probabilities must be in [0, 1]")
    return truth, p
