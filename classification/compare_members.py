"""An ensemble out of what its members said on the same fold, instead of training them again: the same seeds give the same members."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.ensemble import describe, weigh
from classification.recipes import Ensemble

SUMMED = ("train_seconds", "ms_per_crop", "ms_per_crop_gpu")  # an ensemble costs what its members cost together


def combine(
    ensemble: Ensemble,
    records: Sequence[Mapping[str, Any]],
    probabilities: Sequence[NDArray[np.float32]],
    on_validation: Sequence[NDArray[np.float32]],
    val_labels: NDArray[np.int64],
) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32]]:
    """What `classification.ensemble` would measure and say, from M members in the order of the recipe.

    Args:
        records: of their results; `about` and `SUMMED` are used. probabilities: (N, C) of the fold's test. on_validation: (V, C).

    Returns:
        The measured part of a record, and the probabilities of test and validation.
    """
    shares = [float((p.argmax(axis=1) == val_labels).mean()) for p in on_validation]
    weights = weigh(shares if ensemble.weights == "validation" else [1.0] * len(records))
    about = describe(ensemble.members, [record["about"] for record in records], weights)
    costs = {name: sum(values) if None not in (values := [record[name] for record in records]) else None for name in SUMMED}
    return {**costs, "about": about, "from_members": True}, _mean(weights, probabilities), _mean(weights, on_validation)


def _mean(weights: Sequence[float], probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.asarray(np.stack([weight * p for weight, p in zip(weights, probabilities, strict=True)]).sum(axis=0), np.float32)
