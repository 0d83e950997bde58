"""The parity gate: how far the same model in another precision answers differently, and whether that is little enough to be used.

Reference and variant see the same fields (or crops). Every check states what it counted, its limit, and n; too few fields or cells
are an error, never a pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.errors import ConfigError
from smear.metrics.detection import match
from smear.types import Detections

AGREEMENT_IOU = 0.5  # boxes of one class that overlap so are the same cell; the mean overlap is told beside it
MIN_FIELDS, MIN_CELLS = 10, 50
MIN_OF_A_KIND = 10  # true cells of each kind, below which an area under the curve says nothing
AGREEMENT, MAP, FLIPS, AUC = "box agreement", "change of mAP@50-95", "flips outside review", "change of AUC"  # the checks
MIN_AGREEMENT, MAX_AUC_CHANGE, MAX_FLIPS = 0.99, 0.005, 0.005
MAX_MAP_CHANGE = {"bf16": 0.005, "fp16": 0.005, "int8": 0.02}  # by precision


@dataclass(frozen=True)
class Check:
    """One number of the gate: `value` of `n` things (`of` says which), and the limit that it must keep."""

    name: str
    value: float
    limit: float
    n: int
    of: str
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "limit": self.limit, "at_least": self.at_least, "n": self.n, "of": self.of, "passed": self.passed}


@dataclass(frozen=True)
class Parity:
    """What the gate found. `figures` are the counts behind the checks; `not_judged` says which checks the data cannot make, and why."""

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]
    not_judged: Mapping[str, str]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the card: `passed`, `checks` by name, `not_judged`, and the figures."""
        checks = {check.name: check.to_json() for check in self.checks}
        return {"passed": self.passed, "checks": checks, "not_judged": dict(self.not_judged), **self.figures}

    def lines(self) -> list[str]:
        """For the eye: one line a check."""
        shown = [
            f"{'passed' if c.passed else 'FAILED':<7}{c.name:<24}{c.value:>9.5f}  {'at least' if c.at_least else 'at most'} {c.limit:g}"
            f"  ({c.n} {c.of})"
            for c in self.checks
        ]
        return shown + [f"{'-':<7}{name:<24}not judged: {why}" for name, why in self.not_judged.items()]


@dataclass(frozen=True)
class Answers:
    """What one side says of N cells with known or unknown kind: (N, C) probabilities, rows in the same order on both sides."""

    reference: NDArray[np.floating]
    variant: NDArray[np.floating]

    def __post_init__(self) -> None:
        if self.reference.ndim != 2 or self.reference.shape != self.variant.shape:
            raise ValueError(f"both sides must be (N, C), got {self.reference.shape} and {self.variant.shape}")


def box_agreement(reference: Sequence[Detections], variant: Sequence[Detections]) -> dict[str, Any]:
    """How many boxes of each side have a partner of the same class on the other, field by field.

    Boxes are paired one to one, best score first, at IoU `AGREEMENT_IOU`; both directions count: the share is
    2 × pairs / (boxes of the reference + boxes of the variant), so a box too many weighs as much as one too few.

    Args:
        reference, variant: one a field, already at the operating point.

    Returns:
        `agreement` in [0, 1] (NaN without any box), `n_reference`, `n_variant`, `n_pairs`; over the pairs `mean_iou`, `least_iou`,
        `mean_score_change` and `largest_score_change` (NaN without any).
    """
    n_reference, n_variant = sum(map(len, reference)), sum(map(len, variant))
    overlaps, changes = [], []
    for one, other in zip(reference, variant, strict=True):
        for i, j in pair_boxes(one, other):
            overlaps.append(float(boxes.iou(one.boxes[i : i + 1], other.boxes[j : j + 1])[0, 0]))
            changes.append(float(other.scores[j] - one.scores[i]))
    total = n_reference + n_variant
    return {
        "agreement": 2 * len(overlaps) / total if total else math.nan,
        "n_reference": n_reference,
        "n_variant": n_variant,
        "n_pairs": len(overlaps),
        "mean_iou": float(np.mean(overlaps)) if overlaps else math.nan,
        "least_iou": min(overlaps, default=math.nan),
        "mean_score_change": float(np.mean(changes)) if changes else math.nan,
        "largest_score_change": max(map(abs, changes), default=math.nan),
    }


def pair_boxes(one: Detections, other: Detections) -> NDArray[np.int64]:
    """(K, 2) rows of both that are the same cell: one to one, of one class, IoU at least `AGREEMENT_IOU`."""
    pairs = [np.zeros((0, 2), np.int64)]
    for label in np.unique(one.labels):
        mine, theirs = np.flatnonzero(one.labels == label), np.flatnonzero(other.labels == label)
        found = match(one.boxes[mine], other.boxes[theirs], AGREEMENT_IOU, scores=other.scores[theirs])
        pairs.append(np.stack([mine[found[:, 0]], theirs[found[:, 1]]], axis=1))
    return np.concatenate(pairs)


def label_flips(answers: Answers, review_below: float) -> dict[str, Any]:
    """How many cells are called by another name, and how many of these a person would not have looked at.

    A flip lies outside the review band when at least one side accepts its label (its best probability is at least `review_below`).

    Returns:
        `n` cells, `n_accepted` by at least one side, `n_flips`, `n_flips_outside`, `largest_change` of a probability (NaN without cells),
        `review_below`.
    """
    accepted = np.zeros(len(answers.reference), bool)
    for side in (answers.reference, answers.variant):
        accepted |= side.max(axis=1, initial=0) >= review_below
    n = len(accepted)
    flipped = answers.reference.argmax(axis=1) != answers.variant.argmax(axis=1) if n else accepted
    change = np.abs(answers.reference - answers.variant)
    return {
        "n": n,
        "n_accepted": int(accepted.sum()),
        "n_flips": int(flipped.sum()),
        "n_flips_outside": int((flipped & accepted).sum()),
        "largest_change": float(change.max()) if change.size else math.nan,
        "review_below": review_below,
    }


def check_boxes(agreement: Mapping[str, Any], *, reference: float, variant: float, n_fields: int, precision: str) -> list[Check]:
    """The checks of a detector, from `box_agreement` and the mAP@50-95 of both sides.

    Raises:
        ConfigError: too few fields or boxes, or no true box.
    """
    n_boxes = int(agreement["n_reference"])
    if n_fields < MIN_FIELDS or n_boxes < MIN_CELLS:
        raise ConfigError(
            f"the parity gate needs at least {MIN_FIELDS} fields and {MIN_CELLS} boxes found, has {n_fields} and {n_boxes}; "
            "give it a larger labelled set"
        )
    if math.isnan(reference):
        raise ConfigError("the parity gate needs labelled boxes of the detector's classes, and the fields have none")
    change = abs(variant - reference)
    return [
        Check(AGREEMENT, agreement["agreement"], MIN_AGREEMENT, n_boxes, "boxes", at_least=True),
        Check(MAP, change, MAX_MAP_CHANGE[precision], n_fields, "fields"),
    ]


def check_labels(flips: Mapping[str, Any]) -> Check:
    """The check of labels, whoever changed them.

    Raises:
        ConfigError: too few cells.
    """
    n = int(flips["n"])
    if n < MIN_CELLS:
        raise ConfigError(f"the parity gate needs at least {MIN_CELLS} labelled cells, has {n}; give it a larger labelled set")
    return Check(FLIPS, flips["n_flips_outside"] / n, MAX_FLIPS, n, "cells")


def check_auc(reference: float, variant: float, *, n_positive: int, n_negative: int) -> Check:
    """The check of the area under the ROC curve.

    Raises:
        ConfigError: too few true cells of a kind.
    """
    if min(n_positive, n_negative) < MIN_OF_A_KIND:
        raise ConfigError(
            f"the parity gate needs at least {MIN_OF_A_KIND} true cells of each kind for the AUC, has {n_positive} and {n_negative}"
        )
    return Check(AUC, abs(variant - reference), MAX_AUC_CHANGE, n_positive + n_negative, "cells")
