"""Means over the cells with their intervals by group, and whether a method beats its controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.explanations.cams import METHODS
from classification.explanations.heat import ZONES
from classification.explanations.looks import Look, Looks
from smear.metrics.statistics import bootstrap

Values = NDArray[np.float64]
CONTROLS = ("chance", "centre")


def mean_interval(values: Values, groups: Sequence[str], *, n_resamples: int, seed: int, unit: str, span: float = 0.0) -> dict[str, Any]:
    """Mean of the values (N,) that are not NaN, `n` of them, with `low` and `high`, 95 % by group (None: cannot be said).

    Args:
        span: values lie in [-span, span]; 0: they are shares in [0, 1].
    """
    known = np.isfinite(values)
    as_shares = (values + span) / (2 * span) if span else values  # what the bootstrap is made for

    def mean(rows: NDArray[np.int64]) -> dict[str, float]:
        kept = as_shares[rows][known[rows]]
        return {"mean": float(kept.mean()) if len(kept) else np.nan}

    found = bootstrap(groups, mean, n_resamples=n_resamples, seed=seed, unit=unit)["mean"]
    ends = {"mean": found.value, "low": found.low, "high": found.high}
    return {**({key: 2 * span * v - span for key, v in ends.items()} if span else ends), "n": int(known.sum())}


def score_looks(looks: Looks, groups: Sequence[str], *, n_resamples: int, seed: int, unit: str) -> dict[str, Any]:
    """Plain values for explain.json: `methods`, `centre` and `even`.

    Of a method: `title`, `layer`, `places`, `n_empty` (maps without heat), the intervals of `road` and `chance` (its own control), of
    `over_chance` and `over_centre` (road minus control, cell by cell), `beats` of each control (None: cannot be said), and `shares` by
    zone. Shares and roads are over the cells that have them.
    """
    how: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed, "unit": unit}
    methods = {}
    for name, look in looks.by_method.items():
        over = {"chance": look.road - look.chance, "centre": look.road - looks.centre}
        gains = {control: mean_interval(over[control], groups, span=2, **how) for control in CONTROLS}
        methods[name] = {
            "title": METHODS[name].title,
            "layer": look.layer.name,
            "places": list(look.layer.places),
            "n_empty": int((~look.heat.any(axis=(1, 2))).sum()),
            "road": mean_interval(look.road, groups, span=1, **how),
            "chance": mean_interval(look.chance, groups, span=1, **how),
            **{f"over_{control}": gain for control, gain in gains.items()},
            "beats": {control: _beats(gain) for control, gain in gains.items()},
            "shares": {zone: mean_interval(look.shares[zone], groups, **how) for zone in ZONES},
        }
    even = {zone: mean_interval(looks.even[zone], groups, **how) for zone in ZONES}
    return {"methods": methods, "centre": mean_interval(looks.centre, groups, span=1, **how), "even": even}


def cell_scores(looks: Looks, i: int) -> dict[str, Any]:
    """The numbers of one cell: by method its `road`, `chance` and `shares`, and `centre`."""
    return {
        "methods": {name: _of_cell(look, i) for name, look in looks.by_method.items()},
        "centre": float(looks.centre[i]),
        "even": {zone: float(looks.even[zone][i]) for zone in ZONES},
    }


def _of_cell(look: Look, i: int) -> Mapping[str, Any]:
    shares = {zone: float(look.shares[zone][i]) for zone in ZONES}
    return {"road": float(look.road[i]), "chance": float(look.chance[i]), "shares": shares}


def _beats(gain: Mapping[str, Any]) -> bool | None:
    return None if not np.isfinite([gain["low"], gain["mean"]]).all() else bool(gain["low"] > 0)
