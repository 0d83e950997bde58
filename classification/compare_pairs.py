"""Which systems differ on the same crops: every pair of them tested, and the crops that none of them gets right."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.compare_table import Scored, Truth
from smear.metrics.delong import Placements, delong, delong_of_groups, holm, placements
from smear.metrics.paired import difference_of, mcnemar

TESTS = ("delong_p", "delong_group_p", "mcnemar_p")
DIFFERENCES = ("accuracy", "balanced_accuracy", "f1", "roc_auc")
BEST_BY = "roc_auc"
CAVEAT = (
    "DeLong's and McNemar's tests take crops as independent, which crops of one group are not: their chances are too small. "
    "delong_group_p and the intervals of the differences count groups. The best system was found on these very crops."
)


def compare_pairs(truth: Truth, scored: Sequence[Scored]) -> dict[str, Any]:
    """The S complete systems of one split kind against each other, on the same crops.

    Returns:
        - `pairs`: S (S - 1) / 2 rows in the order of the systems: `first`, `second`; `first_right`, `second_right` (crops that only this
          one labels right); `TESTS` (None where undefined: DeLong is for two classes) and each of them as `…_holm`, adjusted over all
          pairs; `differences`: first minus second of `DIFFERENCES`, with the interval by drawing groups again (old: second, new: first).
        - `best`: the system with the highest area, None without systems; `against_best`: the S - 1 pairs with it, as above with the best
          first, adjusted over these alone. `caveat`: how far to trust them.
    """
    names = [some.run.recipe.name for some in scored]
    if not names:
        return {"pairs": [], "best": None, "against_best": [], "caveat": CAVEAT}
    placed = [_placed(truth, some) for some in scored]
    areas = [float(some.draws[BEST_BY][0]) for some in scored]
    best = int(np.argmax(np.nan_to_num(areas, nan=-1)))
    pairs = [_pair(truth, scored, placed, i, j) for i, j in combinations(range(len(scored)), 2)]
    against = [_pair(truth, scored, placed, best, j) for j in range(len(scored)) if j != best]
    return {"pairs": _adjusted(pairs), "best": names[best], "against_best": _adjusted(against), "caveat": CAVEAT}


def all_wrong(truth: Truth, scored: Sequence[Scored], files: Sequence[str]) -> dict[str, Any]:
    """The crops that every one of S complete systems labels wrongly: `n_systems`, and `cells` of `row`, `file`, `label`, `group`, and
    `given`: class → by how many systems. Fewer than two systems agree on nothing: no cells."""
    if len(scored) < 2:
        return {"n_systems": len(scored), "cells": []}
    given = np.stack([some.probabilities.argmax(axis=1) for some in scored])  # (S, N)
    return {
        "n_systems": len(scored),
        "cells": [
            {
                "row": row,
                "file": files[row],
                "label": truth.classes[truth.labels[row]],
                "group": truth.groups[row],
                "given": {truth.classes[c]: n for c, n in sorted(Counter(given[:, row].tolist()).items())},
            }
            for row in np.flatnonzero((given != truth.labels).all(axis=0)).tolist()
        ],
    }


def _placed(truth: Truth, scored: Scored) -> Placements | None:
    positive = truth.positive
    return None if positive is None else placements(truth.labels == positive, scored.probabilities[:, positive])


def _pair(truth: Truth, scored: Sequence[Scored], placed: Sequence[Placements | None], i: int, j: int) -> dict[str, Any]:
    first, second = scored[i], scored[j]
    right, other = _right(truth, first), _right(truth, second)
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    row: dict[str, Any] = {"first": first.run.recipe.name, "second": second.run.recipe.name}
    row |= {"first_right": only_first, "second_right": only_second, "mcnemar_p": mcnemar(only_first, only_second)}
    row |= _areas_differ(truth, placed[i], placed[j])
    differences = {}
    for name in DIFFERENCES:
        old, new = second.draws[name], first.draws[name]
        differences[name] = difference_of(old[0], new[0], new[1:] - old[1:], n_groups=truth.n_groups, unit=truth.unit).to_json()
    return {**row, "differences": differences}


def _areas_differ(truth: Truth, one: Placements | None, other: Placements | None) -> dict[str, float]:
    if one is None or other is None:
        return {"delong_p": float("nan"), "delong_group_p": float("nan")}
    is_true = truth.labels == truth.positive
    by_group = delong_of_groups(one, other, truth.which[is_true], truth.which[~is_true], truth.n_groups)
    return {"delong_p": delong(one, other), "delong_group_p": by_group}


def _adjusted(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    adjusted = {test: holm([pair[test] for pair in pairs]) for test in TESTS}
    return [pair | {f"{test}_holm": adjusted[test][i] for test in TESTS} for i, pair in enumerate(pairs)]


def _right(truth: Truth, scored: Scored) -> NDArray[np.bool_]:
    return np.asarray(scored.probabilities.argmax(axis=1) == truth.labels)
