"""How well the labels of all true cells are known at the end, when a cell that was not found counts as wrong."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smear.metrics.classification import areas, rates
from smear.metrics.pairs import Pair
from smear.metrics.statistics import Interval, bootstrap


@dataclass(frozen=True)
class Calls:
    """N answers to "is it the positive class?", asked of true cells and of detections that match none; all (N,).

    is_cell: a true cell of known kind. is_true: it is positive. is_answered: matched and labelled. is_right: its label is true.
    is_called: labelled positive. scores: of the positive class; a cell without an answer has the worst of its kind.
    """

    is_cell: NDArray[np.bool_]
    is_true: NDArray[np.bool_]
    is_answered: NDArray[np.bool_]
    is_right: NDArray[np.bool_]
    is_called: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, known: Sequence[Pair], extra: Sequence[Pair], positive: int) -> Self:
        n_extra = len(extra)
        answers = [p.answer for p in known]
        return cls(
            is_cell=np.array([True] * len(known) + [False] * n_extra, bool),
            is_true=np.array([p.truth == positive for p in known] + [False] * n_extra, bool),
            is_answered=np.array([a is not None for a in answers] + [False] * n_extra, bool),
            is_right=np.array([a == p.truth for a, p in zip(answers, known, strict=True)] + [False] * n_extra, bool),
            is_called=np.array([a == positive for a in answers] + [p.label == positive for p in extra], bool),
            scores=np.array([_score(p, positive) for p in known] + [0.0] * n_extra, np.float64),
        )

    def take(self, index: NDArray[np.int64]) -> Self:
        return type(self)(**{name: values[index] for name, values in vars(self).items()})

    def shares(self) -> dict[str, float]:
        """accuracy, precision, recall, specificity, f1 and roc_auc; NaN where undefined."""
        cells = self.is_cell
        is_true = self.is_true[cells]
        # a cell without an answer counts as called the other kind
        seen = rates(is_true, np.where(self.is_answered[cells], self.is_called[cells], ~is_true))
        hits, called, true = int((self.is_called & self.is_true).sum()), int(self.is_called.sum()), int(is_true.sum())
        return {
            "accuracy": float(self.is_right[cells].mean()) if cells.any() else math.nan,
            "precision": hits / called if called else math.nan,
            "recall": seen["recall"],
            "specificity": seen["specificity"],
            "f1": 2 * hits / (called + true) if called + true else math.nan,
            "roc_auc": areas(is_true, self.scores[cells])[0],
        }


def label_metrics(known: Sequence[Pair], extra: Sequence[Pair], positive: int) -> dict[str, Any]:
    """Metrics over every true cell of known kind; shares in [0, 1], higher is better, NaN where undefined.

    Missed, loose and unlabelled cells **count as wrong**: for accuracy, recall and specificity they are never correct, and for `roc_auc`
    they get the worst score of their kind (0 when `positive`, 1 when not). `precision` and `f1` count every detection called `positive`.

    Args:
        known: the true cells of known kind. extra: detections that match no true cell.
        positive: index of the positive class.
    """
    calls = Calls.of(known, extra, positive)
    return {
        **calls.shares(),
        "n": len(known),
        "n_missed": int((~calls.is_answered[calls.is_cell]).sum()),
        "n_extra_positive": int(calls.is_called[~calls.is_cell].sum()),
    }


def label_intervals(
    known: Sequence[Pair], extra: Sequence[Pair], positive: int, groups: Sequence[str], *, unit: str = "group", n_resamples: int = 1000
) -> dict[str, Interval]:
    """95 % intervals of the shares of `label_metrics`, drawing whole groups again; `groups` name that of each field."""
    calls = Calls.of(known, extra, positive)

    def score(index: NDArray[np.int64]) -> Mapping[str, float]:
        return calls.take(index).shares()

    return bootstrap([groups[p.field] for p in (*known, *extra)], score, unit=unit, n_resamples=n_resamples)


def _score(pair: Pair, positive: int) -> float:
    return float(pair.truth != positive) if pair.answer is None else float(pair.probabilities[positive])
