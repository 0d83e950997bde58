"""What validation decides after training: the temperature, when to ask for a review, and how well stains are crossed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from classification.crops import GROUPS, CropTable
from smear.errors import AnnotationError
from smear.metrics.classification import roc_auc
from smear.metrics.conformal import conformal_key, conformal_thresholds, review_curve

ALPHAS = (0.05, 0.1)  # chances that a label set misses the truth, for which the card holds thresholds
TEMPERATURES = (0.05, 20.0)  # beyond this a network is broken rather than over-confident


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The number that, dividing (N, 1) or (N, C) logits, makes their probabilities fit the labels best (negative log-likelihood).

    One number cannot change the order of two cells. 1.0 when N is 0. Source: Guo et al. 2017.
    """
    if not len(labels):
        return 1.0
    both = np.asarray(logits, np.float64)
    if both.shape[1] == 1:
        both = np.concatenate([both, np.zeros_like(both)], axis=1)

    def loss(log_temperature: float) -> float:
        return float(-scipy.special.log_softmax(both / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean())

    found = scipy.optimize.minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def review_threshold(probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, accuracy: float, max_share: float) -> float:
    """The lowest confidence such that the cells at or above it are right with at least this `accuracy`.

    When that would send more than `max_share` of the cells to review, the confidence that sends this share. At least
    1 / C: no label is less sure. Cells are (N, C) float32 with labels (N,); N = 0 gives 1 / C.
    """
    floor = 1 / probabilities.shape[1]
    if not len(labels):
        return floor
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right_above = np.cumsum((probabilities.argmax(axis=1) == labels)[order]) / np.arange(1, len(labels) + 1)
    enough = np.flatnonzero(right_above >= accuracy)
    wanted = float(confidence[order[enough[-1]]]) if len(enough) else 1.0
    return max(floor, min(wanted, float(np.quantile(confidence, max_share))))


def stain_aucs(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], stains: NDArray[np.str_], *, min_cells: int = 1
) -> dict[str, float]:
    """ROC-AUC within each stain that has at least `min_cells` of both kinds; cells of stain "" are left out."""
    aucs = {}
    for stain in sorted(set(stains.tolist()) - {""}):
        inside = stains == stain
        if min(int(positive[inside].sum()), int((~positive[inside]).sum())) >= min_cells:
            aucs[stain] = roc_auc(positive[inside], scores[inside])
    return aucs


def pair_aucs(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], stains: NDArray[np.str_], *, min_cells: int = 1
) -> dict[tuple[str, str], float]:
    """ROC-AUC of the positives of one stain against the rest of another (or the same), for all pairs with `min_cells` each.

    A network that reads the stain instead of the cell fails in some pair, even where every stain holds one class alone.
    """
    names = sorted(set(stains.tolist()) - {""})
    groups = {(name, kind): scores[(stains == name) & (positive == kind)] for name in names for kind in (True, False)}
    aucs = {}
    for a in names:
        for b in names:
            high, low = groups[a, True], groups[b, False]
            if min(len(high), len(low)) >= min_cells:
                aucs[a, b] = roc_auc(np.repeat([True, False], [len(high), len(low)]), np.concatenate([high, low]))
    return aucs


def worst(aucs: dict) -> float:
    """The smallest area; NaN when there is none."""
    return min(aucs.values(), default=math.nan)


def require_disjoint(table: CropTable, calibration: NDArray[np.int64], training: NDArray[np.int64]) -> None:
    """Check that the rows that calibrate share no patient, slide, field or group with those that train, and that this can be known.

    Raises:
        AnnotationError: a row of either names none of these, or a group has rows in both.
    """
    sources = table.column("source")
    for key in GROUPS:
        values = table.column(key)
        both = {(s, v) for s, v in _pairs(sources, values, calibration) if v} & set(_pairs(sources, values, training))
        if both:
            source, value = min(both)
            raise AnnotationError(
                f"{key} {value!r} of {source} has crops to train and to calibrate on; all crops of one {key} belong to one split"
            )
    for rows, what in ((calibration, "calibrate"), (training, "train")):
        known = np.any([table.column(key)[rows] != "" for key in GROUPS], axis=0)
        if not known.all():
            path = table.paths[rows[int(np.flatnonzero(~known)[0])]]
            raise AnnotationError(f"{path}: names no patient, slide, field or group; crops to {what} on must, or they cannot be kept apart")


def promises(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str], groups: Sequence[str], *, unit: str, data: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """What validation cells (N, C), (N,) can promise: the review curve for `ModelCard.metrics`, the label-set thresholds for `.thresholds`.

    groups: (N,) the slide, or other `unit`, of each cell. data: the names of the sets.
    """
    best, is_wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    curve = {**review_curve(best, is_wrong, groups), "unit": unit, "split": "val", "set": data, "chosen_on": "validation"}
    found = {alpha: conformal_thresholds(probabilities, labels, alpha) for alpha in ALPHAS}
    return curve, {conformal_key(alpha, name): float(v) for alpha, values in found.items() for name, v in zip(classes, values, strict=True)}


def _pairs(sources: NDArray[np.str_], values: NDArray[np.str_], rows: NDArray[np.int64]) -> list[tuple[str, str]]:
    return list(zip(sources[rows].tolist(), values[rows].tolist(), strict=True))
