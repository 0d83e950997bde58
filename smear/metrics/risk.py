"""What is gained by leaving doubtful cells to a person: the error among the cells that are kept, surest first."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_POINTS = 100  # of the curve as it is stored; the areas use every cell


def risk_coverage(is_right: NDArray[np.bool_], confidence: NDArray[np.floating]) -> dict[str, Any]:
    """The risk-coverage curve: answer only the surest share of the cells (coverage), and this share of the answers is wrong (risk).

    Cells of equal confidence have no order, so within a tie the risk is the mean over all their orders.

    Args:
        is_right: (N,) whether the label is right; N may be 0.
        confidence: (N,) any number that is larger for surer cells.

    Returns:
        `coverage`, `risk` and `confidence` (of the least sure cell that is kept): lists of at most `N_POINTS` points, all in [0, 1] for
        probabilities; `aurc`, the mean risk over the coverages 1/N, 2/N … 1, lower is better; `excess_aurc`, what it is above that of
        the best order of the same errors (0: every error is less sure than every right label). NaN when N is 0.

    Raises:
        ValueError: shapes differ, or a confidence is not finite.

    Source: Geifman and El-Yaniv, Selective classification for deep neural networks (NeurIPS 2017); excess as in Geifman et al. (ICLR 2019).
    """
    is_right, sure = np.asarray(is_right, bool), np.asarray(confidence).astype(np.float64)
    if is_right.shape != sure.shape or is_right.ndim != 1:
        raise ValueError(f"is_right has shape {is_right.shape}, confidence {sure.shape}")
    if not np.isfinite(sure).all():
        raise ValueError("confidence must be finite")
    n = len(is_right)
    if not n:
        return {"coverage": [], "risk": [], "confidence": [], "aurc": math.nan, "excess_aurc": math.nan}
    ordered, risk = _risks(is_right, sure)
    shown = np.unique(np.ceil(np.linspace(1 / min(n, N_POINTS), 1, min(n, N_POINTS)) * n - 1e-9).astype(np.int64)) - 1
    return {
        "coverage": [float((k + 1) / n) for k in shown],
        "risk": [float(risk[k]) for k in shown],
        "confidence": [float(ordered[k]) for k in shown],
        "aurc": float(risk.mean()),
        "excess_aurc": float(risk.mean() - _risks(is_right, is_right.astype(np.float64))[1].mean()),
    }


def aurc(is_right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
    """The area alone, as in `risk_coverage`; NaN when N is 0."""
    return float(_risks(is_right, confidence)[1].mean()) if len(is_right) else math.nan


def _risks(is_right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The confidences, surest first, and the risk of keeping the first 1, 2, … N; both (N,)."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    _, tie, sizes = np.unique(-ordered, return_inverse=True, return_counts=True)
    wrong_in_tie = np.bincount(tie, weights=~is_right[order]) / sizes  # expected error of each place in the tie
    return ordered, np.cumsum(wrong_in_tie[tie]) / np.arange(1, len(ordered) + 1)
