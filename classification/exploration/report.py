"""All that is found out about a set of crops, as plain values for `eda.json`, and what is known of each crop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.exploration import MAP_CELLS, clues, copies, doubts, maps, oddities, spread
from classification.exploration.answers import answer
from classification.exploration.crops import Crops
from classification.exploration.numbers import Numbers
from classification.folds import choose_rows
from smear.errors import MissingExtra

N_ODD = 200  # in eda.json; eda.csv has the score of every crop
N_LOADINGS = 6  # features told of each of the first two components
Watch = Callable[..., Iterable[Any]]  # (items, what is done to them) → the same items, perhaps with a progress bar


@dataclass(frozen=True)
class Found:
    """What `explore` found: `report` for eda.json; by row of the N crops pca and umap (N, 2) and odd (N,), NaN where there is none.

    drawn: the rows that the maps show.
    """

    report: dict[str, Any]
    pca: NDArray[np.float64]
    umap: NDArray[np.float64]
    odd: NDArray[np.float64]
    drawn: NDArray[np.int64]


def explore(
    crops: Crops, numbers: Numbers, *, map_cells: int = MAP_CELLS, seed: int = 0, watch: Watch = lambda items, what: items
) -> Found:
    """Everything about N ≥ 1 crops; parts that cannot be told of so few say why."""
    pairs = copies.find_copies(crops, watch=watch)
    kept_whole = copies.together(crops.groups, pairs)
    places, told_maps, drawn = _maps(crops, numbers, map_cells, seed)
    odd, told_odd = _odd(crops, numbers, seed)
    report: dict[str, Any] = {
        **_about(crops, numbers, seed),
        "spread": _spread(crops),
        "sizes": spread.sizes_by_class(crops, numbers),
        "colours": _colours(crops, numbers),
        "clues": clues.find_clues(crops, numbers, seed=seed),
        "maps": {**told_maps, "n_drawn": len(drawn), "n_known": len(numbers.known)},
        "odd": told_odd,
        "twins": {"counts": copies.count_copies(pairs), "pairs": [_named(pair, crops) for pair in pairs]},
        "suspects": doubts.find_doubts(numbers.values, crops.table.labels, crops.table.classes, kept_whole, seed=seed),
    }
    for suspect in report["suspects"]["found"]:
        suspect |= {"file": crops.files[suspect["row"]], "group": str(crops.groups[suspect["row"]])}
    return Found({**report, "answer": answer(report)}, *places, odd, drawn)


def _about(crops: Crops, numbers: Numbers, seed: int) -> dict[str, Any]:
    counts = np.bincount(crops.table.labels, minlength=len(crops.table.classes))
    return {
        "classes": list(crops.table.classes),
        "n": len(crops),
        "n_per_class": {name: int(n) for name, n in zip(crops.table.classes, counts, strict=True)},
        "n_groups": len(np.unique(crops.groups)),
        "group": crops.unit,
        "made_stains": crops.made_stains,
        "families": list(numbers.families),
        "n_features": len(numbers.names),
        "seed": seed,
        "warnings": [*crops.warnings, *numbers.notes],
        "dropped": list(crops.dropped),
    }


def _spread(crops: Crops) -> dict[str, Any]:
    labels, classes = crops.labels, crops.table.classes
    by = {"split": crops.splits, "source": crops.sources, "stain": crops.stains}
    return {**{what: spread.classes_by(values, labels, classes) for what, values in by.items()}, "groups": spread.group_kinds(crops.table)}


def _colours(crops: Crops, numbers: Numbers) -> dict[str, Any]:
    """Colours of cell and ground, by class and by source."""
    by = {"class": (np.array(crops.labels, np.str_), crops.table.classes), "source": (crops.sources, sorted(set(crops.sources.tolist())))}
    parts = {"cell": numbers.cell, "ground": numbers.ground}
    return {part: {what: spread.colours_by(values, *how) for what, how in by.items()} for part, values in parts.items()}


def _maps(
    crops: Crops, numbers: Numbers, most: int, seed: int
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], dict[str, Any], NDArray[np.int64]]:
    """PCA and UMAP (N, 2) each, what is told of them, and the rows that are drawn."""
    known = numbers.known
    pca, umap = (np.full((len(crops), 2), np.nan) for _ in range(2))
    found = maps.principal(numbers.values[known])
    k = min(2, found.scores.shape[1])
    pca[known, :k] = found.scores[:, :k]
    chosen = choose_rows(crops.groups[known], most=most, seed=seed)
    loadings = [_loadings(axis, numbers.names) for axis in found.axes[:2]]
    told = {"pca": {"explained": found.explained, "loadings": loadings}, "umap": {"why_not": _why_no_umap(len(chosen), k)}}
    if told["umap"]["why_not"] is None:
        try:
            umap[known[chosen]] = maps.umap_map(found.scores[chosen], seed=seed)
        except MissingExtra as error:
            told["umap"]["why_not"] = str(error)
    return (pca, umap), told, known[chosen]


def _why_no_umap(n: int, k: int) -> str | None:
    if n < maps.MIN_CELLS:
        return f"{n} cells have no neighbourhoods to map; it takes {maps.MIN_CELLS}"
    return None if k == 2 else "the cells do not differ in their features"


def _loadings(axis: NDArray[np.float64], names: tuple[str, ...]) -> list[list[Any]]:
    """The features that weigh most in a component, with their weights."""
    return [[names[i], float(axis[i])] for i in np.argsort(-np.abs(axis), kind="stable")[:N_LOADINGS]]


def _odd(crops: Crops, numbers: Numbers, seed: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    known, scores = numbers.known, np.full(len(crops), np.nan)
    told: dict[str, Any] = {"method": oddities.METHOD, "n_looked_at": len(known), "n_unmeasured": len(crops) - len(known), "cells": []}
    found = oddities.find_odd(numbers.values[known], numbers.names, seed=seed)
    if found is None:
        why = f"{len(known)} measured cells have no middle to be far from; it takes {oddities.MIN_CELLS} that differ"
        return scores, {**told, "n_beyond": 0, "n_components": 0, "why_not": why}
    scores[known] = found.scores
    order = np.argsort(-found.scores, kind="stable")[:N_ODD]
    cells = [
        {
            "row": int(known[i]),
            **_whose(crops, int(known[i])),
            "score": float(found.scores[i]),
            "reasons": [list(r) for r in found.reasons[i]],
        }
        for i in order
        if found.scores[i] > 1
    ]
    n_beyond = int((found.scores > 1).sum())
    return scores, {**told, "cells": cells, "n_beyond": n_beyond, "n_components": found.n_components, "why_not": None}


def _whose(crops: Crops, row: int) -> dict[str, str]:
    return {"file": crops.files[row], "label": crops.labels[row], "group": str(crops.groups[row])}


def _named(pair: dict[str, Any], crops: Crops) -> dict[str, Any]:
    both = [pair["a"], pair["b"]]
    columns = {"splits": crops.splits, "labels": np.array(crops.labels, np.str_), "groups": crops.groups}
    return {**pair, "files": [crops.files[i] for i in both], **{name: [str(values[i]) for i in both] for name, values in columns.items()}}
