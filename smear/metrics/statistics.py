"""Intervals: exact ones for counted things, and a bootstrap over groups for everything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used, and an analysis needs none until its report
from numpy.typing import NDArray

from smear.types import Field

UNITS = ("patient", "slide", "field")  # what is drawn again: the coarsest that is known, cells of one patient are not independent


@dataclass(frozen=True)
class Interval:
    """A number with the range that it can be believed in: low <= high, both NaN when the groups are too few to say.

    n_groups: independent groups behind it. method: how low and high came about, in words.
    """

    value: float
    low: float
    high: float
    n_groups: int
    method: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share k / n, as (low, high) in [0, 1]; nothing counted (n = 0) says nothing: (0, 1).

    It covers the true share at least `confidence` of the time, whatever that share is, so it is wide for few cells.

    Raises:
        ValueError: not 0 <= k <= n, or the confidence is not in (0, 1).

    Source: Clopper and Pearson, Biometrika 26 (1934); quantiles of the beta distribution, the same as `scipy.stats.binomtest`.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k must be in [0, n = {n}], got {k}")
    _check_confidence(confidence)
    if n == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = float(scipy.special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    return low, float(scipy.special.betainccinv(k + 1, n - k, tail)) if k < n else 1.0


def bootstrap(
    groups: Sequence[str],
    score: Callable[[NDArray[np.int64]], Mapping[str, float]],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    unit: str = "group",
) -> dict[str, Interval]:
    """Percentile intervals of shares in [0, 1], drawing whole groups (patients, slides, fields) with replacement.

    Cells of one slide resemble each other, so drawing cells would give intervals that are too narrow. Few groups give narrow ones still:
    on simulated slides of 20 cells, 95 % intervals covered the truth in 94 % (40 slides), 91 % (10) and 85 % (5); by cell in 62 to 67 %.

    Args:
        groups: (N,) the group of each item; N may be 0.
        score: gets the indices of the items of a resample (a group drawn twice comes twice), in group order; names → values, NaN where
            undefined. The names must not depend on the resample.
        unit: what a group is, for `method`.

    Returns:
        One interval a name; `value` is that of all items. Resamples where the value is undefined are left out. One group cannot vary:
        low and high are NaN. See `interval_of` for values that are 0 or 1 in every resample.

    Raises:
        ValueError: `n_resamples` is not positive, or the confidence is not in (0, 1).

    Source: Field and Welsh, Bootstrapping clustered data, JRSS B 69 (2007), the cluster bootstrap.
    """
    members = group_members(groups)
    whole = dict(score(np.arange(len(groups), dtype=np.int64)))
    draws: dict[str, list[float]] = {name: [] for name in whole}
    for drawn in resamples(len(members), n_resamples=n_resamples, seed=seed):
        index = np.concatenate([members[g] for g in drawn])
        for name, value in score(index).items():
            draws[name].append(value)
    return {
        name: interval_of(value, np.array(draws[name]), n_groups=len(members), confidence=confidence, unit=unit)
        for name, value in whole.items()
    }


def resamples(n_groups: int, *, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """(R, G) groups drawn with replacement, each row sorted; R is 0 for fewer than two groups, which cannot vary.

    Raises:
        ValueError: `n_resamples` is not positive.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    if n_groups < 2:
        return np.zeros((0, n_groups), np.int64)
    return np.sort(np.random.default_rng(seed).integers(0, n_groups, (n_resamples, n_groups)), axis=1)


def interval_of(value: float, draws: NDArray[np.float64], *, n_groups: int, confidence: float = 0.95, unit: str = "group") -> Interval:
    """The interval of a share from its (R,) resampled values, NaN where undefined.

    Where every resample says 0 (or 1) the percentiles have no width, and would promise a certainty that G groups cannot give. Then the
    exact interval of G hits of G groups (or none) stands in: the mean of a share is at least the share of groups in which it is perfect.

    Raises:
        ValueError: the confidence is not in (0, 1).
    """
    _check_confidence(confidence)
    known = draws[np.isfinite(draws)]
    name = f"{confidence:.0%} percentile bootstrap over {n_groups} {unit}s"
    if n_groups and value in (0.0, 1.0) and (known == value).all():
        low, high = clopper_pearson(n_groups if value else 0, n_groups, confidence)
        return Interval(value, low, high, n_groups, f"{confidence:.0%} exact over {n_groups} {unit}s: all alike")
    if not len(known) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), n_groups, name)
    low, high = np.quantile(known, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(value, float(low), float(high), n_groups, f"{name}, {len(known)} resamples")


def group_members(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """The items of each group, groups in the order of their first item."""
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    which = np.array([number[name] for name in groups], np.int64)
    order = np.argsort(which, kind="stable")
    return np.split(order, np.cumsum(np.bincount(which, minlength=len(number)))[:-1]) if len(number) else []


def field_groups(fields: Sequence[Field]) -> tuple[tuple[str, ...], str]:
    """The independent group of each field and what a group is: its patient if known, else its slide, else itself."""
    known = [((unit, name) for unit, name in zip(UNITS, (f.patient, f.slide, f.id), strict=True) if name) for f in fields]
    return name_groups([next(pairs, ("field", f.id)) for pairs, f in zip(known, fields, strict=True)])


def name_groups(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], str]:
    """One name a (unit, name) pair, and the unit if all share one, else "group"; a patient 7 and a slide 7 are two groups."""
    units = {unit for unit, _ in pairs}
    return tuple(f"{unit} {name}" for unit, name in pairs), units.pop() if len(units) == 1 else "group"


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
