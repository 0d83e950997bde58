"""Cells of one slide err together: how much a count of them is worth for the average slide, and for the next one."""

import math

import numpy as np
from numpy.typing import NDArray


def intraclass_correlation(hits: NDArray[np.bool_], groups: NDArray) -> float:
    """How alike two cells of one group are, in [0, 1]: 0 as alike as any two, 1 all of a group the same.

    hits (N,) bool, groups (N,) of any hashable kind. NaN with fewer than two groups or none of two cells.

    Source: the analysis of variance estimator, as in Donner, International Statistical Review 54 (1986); negative values become 0.
    """
    sizes, shares = _by_group(hits, groups)
    n, m = sizes.sum(), len(sizes)
    if m < 2 or n <= m:
        return math.nan
    between = float((sizes * (shares - hits.mean()) ** 2).sum() / (m - 1))
    within = float((sizes * shares * (1 - shares)).sum() / (n - m))
    typical = (n - (sizes**2).sum() / n) / (m - 1)
    whole = between + (typical - 1) * within
    return min(1.0, max(0.0, float((between - within) / whole))) if whole > 0 else 0.0


def counts_of_next_group(hits: NDArray[np.bool_], groups: NDArray) -> tuple[float, float]:
    """Hits and trials, not whole, that say as much about the share of hits in a *new* group as these N cells do.

    The share is the mean over groups, larger ones weighing more but only as far as their cells tell something new; the trials
    are few when groups differ: at most 1 / intraclass correlation, however many cells were counted. (0, 0) when N is 0; where
    the correlation cannot be known (one group), the cells are worth one trial.

    Source: moments of the beta-binomial, Kleinman, Journal of the American Statistical Association 68 (1973).
    """
    if not len(hits):
        return 0.0, 0.0
    alike = intraclass_correlation(hits, groups)
    sizes, shares = _by_group(hits, groups)
    if math.isnan(alike):
        alike = 1.0 if len(sizes) < 2 else 0.0
    weights = sizes / (1 + (sizes - 1) * alike)
    n = 1 / (alike + 1 / float(weights.sum()))
    share = float((weights * shares).sum() / weights.sum())
    return share * n, n


def design_effect(hits: NDArray[np.bool_], groups: NDArray) -> float:
    """How many times more the share of hits varies than if the N cells were independent, at least 1; 1 where it cannot be known.

    N / design effect is the number of independent cells that tell as much about the average over groups.

    Source: Rao and Scott, Biometrics 48 (1992).
    """
    sizes, shares = _by_group(hits, groups)
    share, m = float(hits.mean()) if len(hits) else 0.0, len(sizes)
    if m < 2 or share in (0.0, 1.0):
        return 1.0
    residuals = sizes * (shares - share)
    variance = m / (m - 1) * float((residuals**2).sum()) / len(hits) ** 2
    return max(1.0, len(hits) * variance / (share * (1 - share)))


def _by_group(hits: NDArray[np.bool_], groups: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells and share of hits of every group."""
    if len(hits) != len(groups):
        raise ValueError(f"hits and groups differ in length: {len(hits)}, {len(groups)}")
    _, which = np.unique(groups, return_inverse=True)
    sizes = np.bincount(which).astype(np.float64)
    return sizes, np.bincount(which, weights=np.asarray(hits, np.float64)) / sizes if len(sizes) else sizes
