"""Which epoch is the best and when to stop: scores of the validation split, by cell, by stain and across stains."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.calibration import pair_aucs, stain_aucs, worst
from classification.probabilities import to_probabilities
from classification.settings import TrainSettings
from smear.errors import ConfigError
from smear.metrics.classification import classification_metrics


def validation_scores(
    logits: NDArray[np.float32], labels: NDArray[np.int64], stains: NDArray[np.str_], settings: TrainSettings
) -> dict[str, float]:
    """Loss and areas of one epoch, not calibrated (which changes no order); `selected`, higher is better, is the one that `select` names.

    Raises:
        ConfigError: the area that `select` names does not exist in this validation split.
    """
    if not np.isfinite(logits).all():
        return dict.fromkeys(("val_loss", "val_accuracy", "val_auc", "worst_stain_auc", "worst_pair_auc", "selected"), math.nan)
    probabilities = to_probabilities(logits, 1.0)
    found = classification_metrics(labels, probabilities, settings.classes, positive=settings.classes[0])
    positive, scores = labels == 0, logits[:, 0] if logits.shape[1] == 1 else logits[:, 0] - np.delete(logits, 0, axis=1).max(axis=1)
    row = {
        "val_loss": float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean()),
        "val_accuracy": found["accuracy"],
        "val_auc": found["roc_auc"],
        "worst_stain_auc": worst(stain_aucs(positive, scores, stains, min_cells=settings.min_cells)),
        "worst_pair_auc": worst(pair_aucs(positive, scores, stains, min_cells=settings.min_cells)),
    }
    if settings.select == "val_loss":
        return {**row, "selected": -row["val_loss"]}
    if not math.isfinite(row[settings.select]):
        raise ConfigError(
            f"select: {settings.select} does not exist: no stain of the validation split has {settings.min_cells} crops of each kind; "
            "use 'worst_pair_auc' or 'val_auc', or lower min_cells"
        )
    return {**row, "selected": row[settings.select]}


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """The epoch with the highest selected area; of equals the one with the lowest loss, then the first."""
    return int(max(history, key=lambda row: (row["selected"], -row["val_loss"], -row["epoch"]))["epoch"])


def has_stalled(history: Sequence[Mapping[str, float]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better."""
    return bool(history) and len(history) - best_epoch(history) >= patience


def describe_predictions(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], stains: NDArray[np.str_], classes: Sequence[str], *, min_cells: int
) -> dict[str, Any]:
    """Metrics per cell, and the areas within and across stains, for a card or a `metrics.json`."""
    positive, scores = labels == 0, probabilities[:, 0]
    within, across = (compute(positive, scores, stains, min_cells=min_cells) for compute in (stain_aucs, pair_aucs))
    return {
        **classification_metrics(labels, probabilities, classes, positive=classes[0]),
        "per_stain": {
            str(stain): {
                "n": int((stains == stain).sum()),
                "n_positive": int(positive[stains == stain].sum()),
                "roc_auc": within.get(stain),
            }
            for stain in sorted(set(stains.tolist()) - {""})
        },
        "worst_stain_auc": worst(within),
        "worst_pair_auc": worst(across),
    }
