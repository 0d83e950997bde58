"""DeLong's test of two areas under the ROC curve on the same cells, plain and for cells that come in groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded when they are first used
from numpy.typing import NDArray

TOO_SMALL = 1e-15  # a variance below this is rounding: two systems that order all cells alike


@dataclass(frozen=True)
class Placements:
    """How each cell stands among those of the other kind; ties count half.

    auc: the mean of either. of_true (M,): the share of the rest that a true cell outscores. of_rest (N,): the share of the true
    cells that outscore a cell of the rest. Both float64 in [0, 1], in the order of the cells; auc is NaN when M or N is 0.
    """

    auc: float
    of_true: NDArray[np.float64]
    of_rest: NDArray[np.float64]


def placements(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> Placements:
    """The structural components of the area; O(N log N).

    Source: DeLong et al., Biometrics 44 (1988); by sorting as in Sun and Xu, IEEE Signal Processing Letters 21 (2014).
    """
    true, rest = np.asarray(scores, np.float64)[is_true], np.asarray(scores, np.float64)[~is_true]
    if not (len(true) and len(rest)):
        return Placements(math.nan, np.full(len(true), math.nan), np.full(len(rest), math.nan))
    of_true = _share_below(true, rest)
    return Placements(float(of_true.mean()), of_true, 1 - _share_below(rest, true))


def delong(one: Placements, other: Placements) -> float:
    """The chance, in [0, 1], of areas at least this far apart if both systems were equally good (two-sided); NaN below 2 cells a kind.

    Cells count as independent here, which cells of one slide are not: the true chance is larger. See `delong_of_groups`.
    """
    if min(len(one.of_true), len(one.of_rest)) < 2:
        return math.nan
    d_true, d_rest = one.of_true - other.of_true, one.of_rest - other.of_rest
    return _p(one.auc - other.auc, float(d_true.var(ddof=1) / len(d_true) + d_rest.var(ddof=1) / len(d_rest)))


def delong_of_groups(
    one: Placements, other: Placements, groups_true: NDArray[np.int64], groups_rest: NDArray[np.int64], n_groups: int
) -> float:
    """The same for cells that come in groups (slides, patients), which may hold both kinds; NaN below 2 groups of a kind.

    With one cell a group it is `delong`. It leans on the number of groups being large; with few, the chance is still too small.

    Args:
        groups_true: (M,) the group of each true cell, in [0, n_groups). groups_rest: (N,) of the others.

    Source: Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53 (1997), for the difference of two areas.
    """
    kinds = [(one.of_true - other.of_true, groups_true), (one.of_rest - other.of_rest, groups_rest)]
    difference = one.auc - other.auc
    sums, with_kind = [], []
    for d, groups in kinds:
        n_cells = np.bincount(groups, minlength=n_groups)
        sums.append((np.bincount(groups, weights=d, minlength=n_groups) - n_cells * difference) / max(len(d), 1))
        with_kind.append(int((n_cells > 0).sum()))
    if min(with_kind) < 2:
        return math.nan
    own = sum(n / (n - 1) * float(s @ s) for n, s in zip(with_kind, sums, strict=True))
    shared = 2 * n_groups / (n_groups - 1) * float(sums[0] @ sums[1])
    return _p(difference, own + shared)


def holm(chances: Sequence[float]) -> list[float]:
    """Chances of several tests, each raised such that calling those below a level significant errs once at most that often.

    NaN stays NaN and is not counted as a test.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    p = np.array(chances, np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    p[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return [float(value) for value in p]


def _share_below(scores: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,): for each score the share of (N,) others that are lower, equal ones counting half."""
    ordered = np.sort(among)
    counts = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return np.asarray(counts / (2 * len(among)))


def _p(difference: float, variance: float) -> float:
    if not math.isfinite(difference):
        return math.nan
    if variance < TOO_SMALL:
        return 1.0 if abs(difference) < math.sqrt(TOO_SMALL) else 0.0
    return float(2 * scipy.special.ndtr(-abs(difference) / math.sqrt(variance)))
