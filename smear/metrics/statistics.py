"""Intervals for counted things."""

from scipy import stats


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share k / n, as (low, high) in [0, 1]; nothing counted (n = 0) says nothing: (0, 1).

    It covers the true share at least `confidence` of the time, whatever that share is, so it is wide for few cells.

    Raises:
        ValueError: not 0 <= k <= n, or the confidence is not in (0, 1).

    Source: Clopper and Pearson, Biometrika 26 (1934), as in `scipy.stats.binomtest`.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k must be in [0, n = {n}], got {k}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
