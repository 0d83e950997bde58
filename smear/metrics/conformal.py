"""Labels with a promise: the confidence from which on labels err at most so often, and label sets that hold the truth so often."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from smear.metrics.clusters import design_effect
from smear.metrics.prevalence import limits

POINTS = 100  # of a review curve
STARTS = (0.2, 0.4, 0.6, 0.8, 1.0)  # coverages from which thresholds are tested downwards
PROMISE = 0.95  # chance, over validation sets, that a promised error rate holds
EVERY_CELL = 2.0  # a confidence that no label reaches: every cell is sent to review


def review_curve(confidence: NDArray[np.floating], is_wrong: NDArray[np.bool_], groups: Sequence[str] | None = None) -> dict[str, Any]:
    """What accepting only the surest cells would have cost on N validation cells; plain values for a model card.

    Args:
        confidence: (N,) the best probability of each cell. is_wrong: (N,) whether its label was wrong.
        groups: (N,) the slide (or the like) of each cell; None: cells are independent.

    Returns:
        Lists with one entry a threshold, strictest first: `confidence` (cells at or above it are accepted), `accepted` and `wrong` (cells),
        `coverage` and `error` (shares of all and of the accepted), `design_effect` (how many accepted cells are worth one independent);
        `n`, `n_groups`. The thresholds are those of fixed coverages, which `error_threshold` needs; empty lists when N is 0.

    Raises:
        ValueError: lengths differ.
    """
    if len(is_wrong) != len(confidence) or (groups is not None and len(groups) != len(confidence)):
        raise ValueError("confidence, is_wrong and groups differ in length")
    n = len(confidence)
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    sure, wrong = np.asarray(confidence, np.float64)[order], np.asarray(is_wrong, bool)[order]
    _, whose = np.unique(np.array(groups), return_inverse=True) if groups is not None else (None, np.arange(n))
    whose = whose[order]
    ranks = np.unique(np.ceil(n * np.arange(1, POINTS + 1) / POINTS).astype(int)) if n else np.zeros(0, int)
    accepted = [int(np.searchsorted(-sure, -sure[rank - 1], side="right")) for rank in ranks]  # cells as sure as the last are in too
    return {
        "confidence": [float(sure[rank - 1]) for rank in ranks],
        "coverage": [a / n for a in accepted],
        "error": [float(wrong[:a].mean()) for a in accepted],
        "accepted": accepted,
        "wrong": [int(wrong[:a].sum()) for a in accepted],
        "design_effect": [1.0 if groups is None else design_effect(wrong[:a], whose[:a]) for a in accepted],
        "n": n,
        "n_groups": n if groups is None else len(set(groups)),
    }


def error_threshold(curve: Mapping[str, Any], max_error: float, *, promise: float = PROMISE) -> float | None:
    """The lowest confidence of a `review_curve` from which on labels err at most `max_error`; None when no threshold can promise it.

    With a chance of at least `promise` over validation sets, the error rate of *future* cells at or above it is at most `max_error`,
    when those are like the validation cells (exchangeable: same laboratories, stains, kinds of patients). It promises nothing about
    a laboratory never seen, nor about one single slide.

    Learn then Test: hypotheses "errs more" in an order fixed beforehand (falling thresholds of fixed coverages, from several starts
    that share the risk), each rejected when the Clopper-Pearson upper bound lies below `max_error`, until one is not. Given the
    threshold, which is a rank of the confidences, the errors above it are binomial. Cells of one slide err together: their counts are
    divided by the design effect.

    Raises:
        ValueError: a share outside (0, 1).

    Sources: Angelopoulos, Bates, Candès, Jordan and Lei, Annals of Applied Statistics 19 (2025) (arXiv 2110.01052); Geifman and
    El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017; Rao and Scott, Biometrics 48 (1992).
    """
    if not (0 < max_error < 1 and 0 < promise < 1):
        raise ValueError(f"max_error and promise must be in (0, 1), got {max_error}, {promise}")
    bounds = error_bounds(curve, promise=promise)
    last = -1
    for start in STARTS:
        first = next((i for i, coverage in enumerate(curve["coverage"]) if coverage >= start - 1e-9), len(bounds))
        held = next((i for i in range(first, len(bounds)) if bounds[i] > max_error), len(bounds)) - 1
        last = max(last, held if held >= first else -1)
    return float(curve["confidence"][last]) if last >= 0 else None


def error_bounds(curve: Mapping[str, Any], *, promise: float = PROMISE) -> list[float]:
    """The upper bound of the error rate above each threshold of the curve, one-sided, at the level that `error_threshold` tests at."""
    wrong, n, effect = (np.array(curve[key], np.float64) for key in ("wrong", "accepted", "design_effect"))
    right = np.maximum(n - wrong, 1e-9) / effect  # all wrong: the bound is 1
    return scipy.special.betainccinv(wrong / effect + 1, right, (1 - promise) / len(STARTS)).tolist()


def accepted_error(confidence: NDArray[np.floating], is_wrong: NDArray[np.bool_], review_below: float) -> dict[str, Any]:
    """What a promise came to on N other cells: `n`, `n_accepted`, `n_wrong`, `coverage`, `error` (NaN when none is accepted) and its
    exact 95 % interval `low`, `high`."""
    kept = np.asarray(confidence, np.float64) >= review_below
    n, wrong = int(kept.sum()), int(np.asarray(is_wrong, bool)[kept].sum())
    low, high = limits(wrong, n)
    shares = {"coverage": n / len(kept) if len(kept) else math.nan, "error": wrong / n if n else math.nan, "low": low, "high": high}
    return {"n": len(kept), "n_accepted": n, "n_wrong": wrong, **shares}


def conformal_thresholds(probabilities: NDArray[np.floating], labels: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """For each of C classes the probability from which on it belongs into a cell's label set, (C,) in [0, 1]; see `label_sets`.

    Class by class, so that the truth of a future cell *of each class* is in its set with a chance of at least 1 - alpha, when it is
    like the validation cells: probabilities (N, C), labels (N,). A class with fewer than 1 / alpha - 1 cells is in every set (0.0).

    Source: split conformal prediction with class-conditional quantiles, Vovk, Gammerman and Shafer 2005; Sadinle, Lei and Wasserman,
    Journal of the American Statistical Association 114 (2019).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    found = np.zeros(probabilities.shape[1])
    for c in range(probabilities.shape[1]):
        own = np.sort(np.asarray(probabilities, np.float64)[labels == c, c])
        rank = math.floor((len(own) + 1) * alpha + 1e-9)  # so many of own and the next one may lie below
        found[c] = own[rank - 1] if rank >= 1 else 0.0
    return found


def conformal_key(alpha: float, name: str) -> str:
    """Where `ModelCard.thresholds` holds the threshold of one class."""
    return f"conformal_{alpha:g}_{name}"


def thresholds_of_card(thresholds: Mapping[str, float], classes: Sequence[str], alpha: float) -> NDArray[np.float64] | None:
    """The (C,) thresholds of a card for `label_sets`; None when it has none for this alpha."""
    found = [thresholds.get(conformal_key(alpha, name)) for name in classes]
    return None if None in found else np.array(found, np.float64)


def label_sets(probabilities: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N, C) bool: the classes that a cell may be. The most probable one always is; with two the cell is in doubt. N may be 0."""
    probabilities = np.asarray(probabilities, np.float64)
    sets = probabilities >= np.asarray(thresholds, np.float64)
    if len(sets):
        sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
