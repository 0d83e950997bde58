"""The share of cells that truly are of one kind, when the labeller errs: the estimate corrected for it, and its interval."""

from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Counts = tuple[float, float]  # hits and trials; calibration counts that stand for correlated cells need not be whole
Reals = NDArray[np.float64]

# Pseudo-counts a side, before the likelihood is formed: without them a calibration set that happens to hold no error gives
# an interval far too short (coverage 0.87 with 40 cells at specificity 0.95). Chosen by simulation, see `smear.metrics.coverage`.
PSEUDO_CELLS, PSEUDO_CALIBRATION = 0.25, 0.5
INNER, OUTER, BELT = 32, 24, 50  # halvings: 2^-32 of a rate, 2^-24 of a share, 2^-50 of a deviation
SPLINE = 200


def rogan_gladen(k: float, n: float, sensitivity: Counts, specificity: Counts) -> float:
    """The corrected share (q + Sp - 1) / (Se + Sp - 1) of k of n cells called positive, not clipped: chance may carry it out of [0, 1].

    NaN when nothing was counted or when the labeller is no better than chance.

    Source: Rogan and Gladen, American Journal of Epidemiology 107 (1978).
    """
    if min(n, sensitivity[1], specificity[1]) <= 0:
        return float("nan")
    false_positive = 1 - specificity[0] / specificity[1]
    gain = sensitivity[0] / sensitivity[1] - false_positive
    return (k / n - false_positive) / gain if gain > 0 else float("nan")


def is_correctable(sensitivity: Counts, specificity: Counts, confidence: float = 0.95) -> bool:
    """Whether the labeller is surely better than chance: the lower exact limits of both rates add up to more than 1."""
    return limits(*sensitivity, confidence)[0] + limits(*specificity, confidence)[0] > 1


def limits(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share, for counts that need not be whole; (0, 1) when n is 0."""
    tail = (1 - confidence) / 2
    low = float(scipy.special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    return low, float(scipy.special.betainccinv(k + 1, n - k, tail)) if k < n else 1.0


def corrected_interval(k: float, n: float, sensitivity: Counts, specificity: Counts, confidence: float = 0.95) -> tuple[float, float]:
    """The interval (low, high) in [0, 1] of the true share of positives, when k of n cells were called positive.

    It holds the uncertainty of all three counts: the shares that a likelihood-ratio test, with sensitivity and specificity free,
    does not reject. Near 0 and 1 its two limits follow Feldman and Cousins, so that the coverage stays near `confidence` there too
    (a central interval would cover 97.5 % at a share of 0), and it is never empty nor a single point when fewer positives are called
    than the labeller's own errors would make. (0, 1) when nothing was counted or the labeller is not surely better than chance.

    Measured (`python -m smear.metrics.coverage` prints the table, 0 to 60 % blasts, 50 to 1000 cells): 94.3 to 96.5 % for sensitivity
    0.87 and specificity 0.80 of 50 calibration cells each or more; 93.1 to 95.7 % for 0.99 and 0.99 of 1000; above 95.1 %, up to
    99.8 % without blasts, for 0.97 and 0.95 of 60 and 40.

    Raises:
        ValueError: counts that are not 0 <= hits <= trials, or a confidence outside (0, 1).

    Sources: Rogan and Gladen 1978 (model); Lang and Reiczigel, Preventive Veterinary Medicine 113 (2014) (same question, Wald type);
    Feldman and Cousins, Physical Review D 57 (1998) (limits at a boundary).
    """
    for hits, trials in ((k, n), sensitivity, specificity):
        if not 0 <= hits <= trials:
            raise ValueError(f"counts must be 0 <= hits <= trials, got {hits} of {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if n == 0 or not is_correctable(sensitivity, specificity, confidence):
        return 0.0, 1.0
    inside, outside = np.zeros(2), np.ones(2)  # first the lower limit, then the upper one, halved together
    for _ in range(OUTER):
        middle = (inside + outside) / 2
        above, below = rejections(middle, k, n, sensitivity, specificity, confidence)
        moves = np.array([above[0], not below[1]])  # the limit lies further up
        inside, outside = np.where(moves, middle, inside), np.where(moves, outside, middle)
    end = 2.0**-OUTER
    return (0.0 if inside[0] == 0 else float(inside[0])), (1.0 if outside[1] > 1 - end else float(outside[1]))


def rejections(
    share: ArrayLike, k: ArrayLike, n: ArrayLike, sensitivity: tuple[ArrayLike, ArrayLike], specificity: tuple[ArrayLike, ArrayLike],
    confidence: float = 0.95,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # fmt: skip
    """Whether so many positives are too many, and whether they are too few, for a true share; all arguments broadcast.

    The two flags change once each as the share grows: what neither rejects is `corrected_interval`.
    """
    p, k, n, hits, positives, passed, negatives = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (share, k, n, *sensitivity, *specificity))
    )
    k, n = k + PSEUDO_CELLS, n + 2 * PSEUDO_CELLS
    hits, positives = hits + PSEUDO_CALIBRATION, positives + 2 * PSEUDO_CALIBRATION
    passed, negatives = passed + PSEUDO_CALIBRATION, negatives + 2 * PSEUDO_CALIBRATION
    called, found, rejected = _most_likely(p, k, n, hits, positives, passed, negatives)
    loss = _loss(k, n, called) + _loss(hits, positives, found) + _loss(passed, negatives, rejected)
    excess = k / n - p * hits / positives - (1 - p) * (1 - passed / negatives)
    root = np.sign(excess) * np.sqrt(np.maximum(2 * loss, 0))  # standard normal when `share` is true
    variance = called * (1 - called) / n + p**2 * found * (1 - found) / positives + (1 - p) ** 2 * rejected * (1 - rejected) / negatives
    gain = np.maximum(hits / positives + passed / negatives - 1, 0)
    unit = gain / np.sqrt(np.maximum(variance, 1e-300))  # standard deviations that a share of 1 is worth
    low, high = _belt(p * unit, (1 - p) * unit, confidence)
    return root > high, root < low


def _most_likely(
    p: Reals, k: Reals, n: Reals, hits: Reals, positives: Reals, passed: Reals, negatives: Reals
) -> tuple[Reals, Reals, Reals]:
    """The rate of calls, the sensitivity and the specificity that fit all counts best when the true share is p.

    With the slope u of the likelihood along the rate of calls q, each of the two rates solves a quadratic equation;
    the rate of calls that follows from them falls as the q assumed grows, so that halving finds the one q that is its own answer.
    """
    low, high = np.full(p.shape, 1e-12), np.full(p.shape, 1 - 1e-12)
    found, rejected = hits / positives, passed / negatives
    for _ in range(INNER):
        q = (low + high) / 2
        slope = (k - n * q) / (q * (1 - q))
        found, rejected = _pulled(hits, positives, p * slope), _pulled(passed, negatives, -(1 - p) * slope)
        rises = p * found + (1 - p) * (1 - rejected) > q
        low, high = np.where(rises, q, low), np.where(rises, high, q)
    return p * found + (1 - p) * (1 - rejected), found, rejected


def _pulled(k: Reals, n: Reals, pull: Reals) -> Reals:
    """The root s in [0, 1] of k - n s + pull s (1 - s) = 0, in the form that cancels nothing."""
    gap = n - pull
    root = np.sqrt(np.maximum(gap**2 + 4 * pull * k, 0))
    with np.errstate(divide="ignore", invalid="ignore"):  # the form not chosen may be 0 / 0
        return np.clip(np.where(gap > 0, 2 * k / (gap + root), (root - gap) / (2 * pull)), 0, 1)


def _loss(k: Reals, n: Reals, rate: Reals) -> Reals:
    """How much less likely k of n is at this rate than at its best one, as a difference of logarithms."""
    xlogy = scipy.special.xlogy
    return xlogy(k, k / n) + xlogy(n - k, 1 - k / n) - xlogy(k, rate) - xlogy(n - k, 1 - rate)


def _belt(from_zero: Reals, from_one: Reals, confidence: float) -> tuple[Reals, Reals]:
    """The accepted range of a standard normal deviation, for a share so many standard deviations away from 0 and from 1."""
    low_a, high_a = _one_boundary(from_zero, confidence)
    low_b, high_b = _one_boundary(from_one, confidence)
    z = scipy.special.ndtri((1 + confidence) / 2)
    return np.where(from_zero < z, low_a, -high_b), np.where(from_one < z, -low_b, high_a)


def _one_boundary(distance: Reals, confidence: float) -> tuple[Reals, Reals]:
    at, highs = _belt_table(confidence)
    away = np.clip(distance, at[0], at[-1])
    high = np.interp(away, at, highs)
    return np.where(distance >= at[-1], -high, -(away**2 + high**2) / (2 * away)), high


@lru_cache(maxsize=8)
def _belt_table(confidence: float) -> tuple[Reals, Reals]:
    """Upper ends of the likelihood-ratio ordered acceptance range of a normal mean known to be 0 or more, by its distance from 0."""
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    at = np.linspace(1e-4, z, SPLINE)
    low, high = np.full(SPLINE, float(scipy.special.ndtri(confidence)) - 1e-9), np.full(SPLINE, z + 1e-9)
    for _ in range(BELT):
        middle = (low + high) / 2
        covered = scipy.special.ndtr(middle) - scipy.special.ndtr(-(at**2 + middle**2) / (2 * at))
        low, high = np.where(covered < confidence, middle, low), np.where(covered < confidence, high, middle)
    return at, high
