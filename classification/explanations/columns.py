"""What the columns of a classical system are called, which family each is of, and what its SHAP values come to by both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.baselines import FittedClassical
from classification.classical import deep
from classification.classical.columns import STORE, matrix
from classification.explanations.shapley import BACKGROUND, Shap, explain_labels
from classification.features.families import FAMILIES
from classification.readable import Watch
from classification.systems import Cells

MISSING = "something missing"  # the last column of a system that may not be able to measure everything
TOP = 20  # features of the table
TOP_OF_CELL = 3


def columns_of(part: FittedClassical) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The F names of the columns, and the family of each."""
    family_of = {feature: family.name for family in FAMILIES.values() for feature in family.names}
    names = part.measure.names
    families = tuple(family_of.get(name, deep.FAMILY) for name in names)
    return ((*names, MISSING), (*families, MISSING)) if part.measure.may_miss else (names, families)


def weigh_columns(
    part: FittedClassical, cells: Cells, labels: NDArray[np.int64], others: Cells, *, seed: int, watch: Watch = lambda rows, n: rows
) -> Shap:
    """SHAP values of the class `labels` (N,) of N cells, N may be 0, against features of `others`, at least one.

    Raises:
        MissingExtra: shap is not installed.
        ImageError: a crop cannot be read any more.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(others))[:BACKGROUND])
    x, background = (_measured(part, some) for some in (cells, others.take(drawn)))
    _, families = columns_of(part)
    return explain_labels(part.members, x, labels, background, families, n_classes=len(part.classes), seed=seed, watch=watch)


def score_columns(shap: Shap, names: Sequence[str], families: Sequence[str]) -> dict[str, Any]:
    """Plain values for explain.json: `top` features by mean |SHAP| and `families` by its sum, both with their `share` of all; and how."""
    strength = np.abs(shap.values).mean(axis=0) if len(shap.values) else np.zeros(len(names))  # (F,)
    total = float(strength.sum())
    order = np.argsort(-strength, kind="stable")[:TOP]

    def entry(name: str, strong: float) -> dict[str, Any]:
        return {"name": name, "mean_abs_shap": strong, "share": strong / total if total else None}

    summed = {family: float(strength[[i for i, own in enumerate(families) if own == family]].sum()) for family in dict.fromkeys(families)}
    return {
        "method": shap.method,
        "evaluations_per_cell": shap.evaluations,
        "n_features": len(names),
        "n_players": shap.players,
        "top": [entry(names[i], float(strength[i])) | {"family": families[i]} for i in order],
        "families": [entry(name, strong) for name, strong in sorted(summed.items(), key=lambda item: -item[1])],
    }


def top_of_cell(shap: Shap, names: Sequence[str], i: int) -> dict[str, Any]:
    """The strongest features of one cell, with what each adds to the probability of its label; `base` and `output` of it."""
    order = np.argsort(-np.abs(shap.values[i]), kind="stable")[:TOP_OF_CELL]
    top = [{"name": names[k], "shap": float(shap.values[i, k])} for k in order if shap.values[i, k]]
    return {"top": top, "base": float(shap.base[i]), "output": float(shap.output[i])}


def _measured(part: FittedClassical, cells: Cells) -> NDArray[np.float64]:
    values, _ = STORE.get(cells.pictures, part.measure, device=part.device)
    return matrix(values, flag=part.measure.may_miss)
