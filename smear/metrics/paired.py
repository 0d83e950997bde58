"""Two models on the same fields: the change of every number with its interval, and McNemar's test of the cells that differ."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from smear.metrics.statistics import group_members, resamples

Score = Callable[[NDArray[np.int64]], Mapping[str, float]]
Verdict = Literal["better", "same", "worse", "undefined"]


@dataclass(frozen=True)
class Difference:
    """One number of two models, higher is better. low, high: the interval of `change`, NaN when the groups are too few to say.

    n_groups: independent groups that were drawn again. method: how the interval came about.
    """

    old: float
    new: float
    low: float
    high: float
    n_groups: int
    method: str

    @property
    def change(self) -> float:
        """New minus old; NaN when one of them is undefined."""
        return self.new - self.old

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the change lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0

    def verdict(self, tolerance: float, *, certain: bool = False) -> Verdict:
        """better or worse when the change is larger than `tolerance` (in the unit of the number), else same.

        Args:
            certain: only a change whose interval excludes zero is better or worse.
        """
        if math.isnan(self.change):
            return "undefined"
        if abs(self.change) <= tolerance or (certain and not self.is_certain):
            return "same"
        return "better" if self.change > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "change": self.change, "certain": self.is_certain}


def paired_bootstrap(
    groups: Sequence[str],
    old: Score,
    new: Score,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    unit: str = "group",
) -> dict[str, Difference]:
    """Percentile intervals of new - old, both models scored on the same resample of whole groups (slides, fields).

    What both models find hard raises and lowers both together and drops out, so the interval is narrower than two intervals side by side.

    Args:
        groups: (N,) the group of each item; N may be 0.
        old, new: get the indices of a resample's items (a group drawn twice comes twice); names → values, NaN where undefined.
        unit: what a group is, for `method`.

    Returns:
        One difference for every name that both give. Resamples where a difference is undefined are left out; one group cannot vary,
        so low and high are NaN.

    Raises:
        ValueError: `n_resamples` is not positive, or the confidence is not in (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), paired; groups as in `smear.metrics.statistics.bootstrap`.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    members = group_members(groups)
    everything = np.arange(len(groups), dtype=np.int64)
    before, after = old(everything), new(everything)
    names = [name for name in before if name in after]
    draws: dict[str, list[float]] = {name: [] for name in names}
    for drawn in resamples(len(members), n_resamples=n_resamples, seed=seed):
        index = np.concatenate([members[g] for g in drawn])
        one, other = old(index), new(index)
        for name in names:
            draws[name].append(other[name] - one[name])
    return {
        name: difference_of(
            before[name], after[name], np.array(draws[name], np.float64), n_groups=len(members), confidence=confidence, unit=unit
        )
        for name in names
    }


def difference_of(
    old: float, new: float, draws: NDArray[np.float64], *, n_groups: int, confidence: float = 0.95, unit: str = "group"
) -> Difference:
    """The difference with its percentile interval from (R,) resampled values of new - old, NaN where undefined."""
    how = f"{confidence:.0%} paired percentile bootstrap over {n_groups} {unit}s"
    return Difference(float(old), float(new), *_ends(draws, confidence), n_groups, how)


def mcnemar(n_fixed: int, n_broken: int) -> float:
    """The chance, in (0, 1], of a split of the differing cells at least this uneven, if neither model were better (exact, two-sided).

    Cells count as independent here, which cells of one slide are not: with few slides the true chance is larger.

    Args:
        n_fixed: cells that only the new model gets right. n_broken: cells that only the old one does. 1 when both are 0.

    Raises:
        ValueError: a count is negative.

    Source: McNemar, Psychometrika 12 (1947), in its exact form; Fagerland et al., BMC Medical Research Methodology 13, 91 (2013).
    """
    if min(n_fixed, n_broken) < 0:
        raise ValueError(f"counts must be 0 or more, got {n_fixed} and {n_broken}")
    if n_fixed + n_broken == 0:
        return 1.0
    return float(scipy.stats.binomtest(n_fixed, n_fixed + n_broken, 0.5).pvalue)


def _ends(draws: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
