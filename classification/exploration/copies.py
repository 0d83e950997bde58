"""Crops that show the same cell: twins as rows of the table, and which of them lie across groups, splits or labels."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.exploration.crops import Crops
from smear.audit.linked import connected
from smear.audit.twins import TRANSFORMS, find_twins

ACROSS = ("splits", "labels", "groups", "sources")  # in the order of what they cost


def find_copies(crops: Crops, *, watch: Callable[..., Iterable[Any]] = lambda items, what: items) -> list[dict[str, Any]]:
    """One entry a pair: rows `a` and `b`, `kind` (exact, near), `transform` (done to `a` gives `b`), `distance`, what it lies `across`.

    The worst come first; a file that is listed twice is an exact twin of itself.
    """
    rows_of: dict[Path, list[int]] = {}
    for row, path in enumerate(crops.table.paths):
        rows_of.setdefault(path, []).append(row)
    looks = {path: crops.looks[rows[0]].print for path, rows in rows_of.items()}
    same = [(a, b) for rows in rows_of.values() for i, a in enumerate(rows) for b in rows[i + 1 :]]
    pairs = [_pair(crops, a, b, "exact", TRANSFORMS[0], 0.0) for a, b in same]
    for twin in find_twins(list(rows_of), looks=looks, watch=watch):
        pairs += [_pair(crops, a, b, twin.kind, twin.transform, twin.distance) for a in rows_of[twin.a] for b in rows_of[twin.b]]
    return sorted(pairs, key=_worst_first)


def count_copies(pairs: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Kind → `pairs`, `within_groups`, and how many lie across each of `ACROSS`."""
    counts = {}
    for kind in ("exact", "near"):
        some = [pair for pair in pairs if pair["kind"] == kind]
        across = {what: sum(what in pair["across"] for pair in some) for what in ACROSS}
        counts[kind] = {"pairs": len(some), "within_groups": len(some) - across["groups"], **across}
    return counts


def twin_of(pairs: Sequence[dict[str, Any]], n: int) -> list[int | None]:
    """Of each of n crops the one that is most like it; None where it has no twin."""
    found: list[int | None] = [None] * n
    for pair in sorted(pairs, key=lambda pair: (pair["distance"], pair["a"], pair["b"])):
        for one, other in ((pair["a"], pair["b"]), (pair["b"], pair["a"])):
            found[one] = other if found[one] is None else found[one]
    return found


def together(groups: NDArray[np.str_], pairs: Sequence[dict[str, Any]]) -> NDArray[np.int64]:
    """(N,) numbers from 0: what must not be learned from and judged at once, a group and all groups that its twins lie in."""
    names = groups.tolist()
    component = connected(list(dict.fromkeys(names)), [(names[pair["a"]], names[pair["b"]]) for pair in pairs])
    return np.array([component[name] for name in names], np.int64)


def _pair(crops: Crops, a: int, b: int, kind: str, transform: str, distance: float) -> dict[str, Any]:
    values = {"splits": crops.splits, "labels": crops.table.labels, "groups": crops.groups, "sources": crops.sources}
    across = [what for what in ACROSS if values[what][a] != values[what][b]]
    return {"a": a, "b": b, "kind": kind, "transform": transform, "distance": distance, "across": across}


def _worst_first(pair: dict[str, Any]) -> tuple[Any, ...]:
    return (*(what not in pair["across"] for what in ACROSS), pair["distance"], pair["a"], pair["b"])
