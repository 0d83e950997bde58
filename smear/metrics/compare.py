"""Cell by cell: what an old and a new model made of the same true cells, and the scores of each on any choice of fields."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.classification import roc_auc
from smear.metrics.detection import match
from smear.metrics.paired import mcnemar
from smear.metrics.pairs import MATCH_IOU, Pair


@dataclass(frozen=True)
class CellScores:
    """The white cells of a run as arrays, to be scored on any choice of its F fields.

    n_true, n_found, n_matched: (F,) white cells per field. field: (N,) of the true cells of known kind; is_true: those of the positive
    class; answer: the class given, -1 without one; kind: the true class; p: of the positive class, the worst of its kind without an answer.
    """

    n_true: NDArray[np.int64]
    n_found: NDArray[np.int64]
    n_matched: NDArray[np.int64]
    field: NDArray[np.int64]
    kind: NDArray[np.int64]
    answer: NDArray[np.int64]
    p: NDArray[np.float64]
    positive: int

    @classmethod
    def of(cls, pairs: Sequence[Pair], n_fields: int, *, positive: int) -> "CellScores":
        known = [p for p in pairs if p.truth is not None and p.truth >= 0]
        return cls(
            n_true=_per_field([p for p in pairs if p.truth is not None], n_fields),
            n_found=_per_field([p for p in pairs if p.found is not None], n_fields),
            n_matched=_per_field([p for p in pairs if p.is_matched], n_fields),
            field=np.array([p.field for p in known], np.int64),
            kind=np.array([p.truth for p in known], np.int64),
            answer=np.array([-1 if p.answer is None else p.answer for p in known], np.int64),
            p=np.array([float(p.truth != positive) if p.answer is None else p.probabilities[positive] for p in known], np.float64),
            positive=positive,
        )

    def score(self, times: NDArray[np.int64]) -> dict[str, float]:
        """The numbers when field f counts `times[f]` times; shares in [0, 1], NaN where undefined.

        White cells: `white_recall`, `white_precision`. Labels of all true cells, a missed one being wrong, where a kind is known:
        `accuracy`, `sensitivity`, `specificity`, `balanced_accuracy`, `roc_auc`.
        """
        white = {
            "white_recall": _ratio(times @ self.n_matched, times @ self.n_true),
            "white_precision": _ratio(times @ self.n_matched, times @ self.n_found),
        }
        return white | (label_scores(self.kind, self.answer, self.p, times[self.field], self.positive) if len(self.kind) else {})


def label_scores(
    kind: NDArray[np.int64], answer: NDArray[np.int64], p: NDArray[np.float64], times: NDArray[np.int64], positive: int
) -> dict[str, float]:
    """Shares in [0, 1] of N labelled cells of which each counts `times` (N,); NaN where no such cell counts.

    Args:
        kind: (N,) true class. answer: (N,) class given, -1 for none, which is wrong. p: (N,) score of the positive class.
    """
    is_right, is_true = answer == kind, kind == positive
    sensitivity = _ratio(times @ (is_right & is_true), times @ is_true)
    specificity = _ratio(times @ ((answer != positive) & (answer >= 0) & ~is_true), times @ ~is_true)
    counted = np.repeat(np.arange(len(times)), times)
    return {
        "accuracy": _ratio(times @ is_right, times.sum()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "roc_auc": roc_auc(is_true[counted], p[counted]) if len(counted) else math.nan,
    }


def compare_cells(old: Sequence[Pair], new: Sequence[Pair], names: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """Which true cells the new model fixed and broke, of those whose fate changed.

    A cell of known kind is right when it is found and its label is true, one of unknown kind when it is found.

    Args:
        old, new: pairs of the same truth, as `pair_cells` yields them. names: id of each field.

    Returns:
        `fixed`, `broken` and `moved` (another owner, as right or as wrong as before): rows of `field`, `truth`, `box` and, for `old` and
        `new`, `owner`, `label`, `p`; `counts`: {`labels`, `found`}: `both`, `neither`, `fixed`, `broken` and McNemar's `p`.

    Raises:
        ValueError: the pairs are not of the same true cells.
    """
    before, after = ([p for p in pairs if p.truth is not None] for pairs in (old, new))
    if [(p.field, p.row, p.truth) for p in before] != [(p.field, p.row, p.truth) for p in after]:
        raise ValueError("the two runs were not paired with the same true cells")
    rows: dict[str, list[dict[str, Any]]] = {"fixed": [], "broken": [], "moved": []}
    for one, other in zip(before, after, strict=True):
        fate = "fixed" if _is_right(other) > _is_right(one) else "broken" if _is_right(other) < _is_right(one) else "moved"
        if fate != "moved" or one.owner != other.owner:
            rows[fate].append(_row(one, other, names, classes))
    known = [(one, other) for one, other in zip(before, after, strict=True) if (one.truth or 0) >= 0]
    counts = {
        "labels": _contingency([(_is_right(a), _is_right(b)) for a, b in known]),
        "found": _contingency([(a.is_matched, b.is_matched) for a, b in zip(before, after, strict=True)]),
    }
    return {**rows, "counts": counts}


def compare_extras(old: Sequence[Pair], new: Sequence[Pair], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Detections that match no true cell: those `gone` with the new model, and those that came `new`, `both` only counted as boxes."""
    found: dict[str, list[dict[str, Any]]] = {"gone": [], "new": []}
    extras = [[p for p in pairs if p.truth is None] for pairs in (old, new)]
    for field in sorted({p.field for side in extras for p in side}):
        one, other = ([p for p in side if p.field == field] for side in extras)
        kept = match(_boxes(one), _boxes(other), MATCH_IOU)
        found["gone"] += [_extra(p, names) for i, p in enumerate(one) if i not in kept[:, 0]]
        found["new"] += [_extra(p, names) for i, p in enumerate(other) if i not in kept[:, 1]]
    return found


def _is_right(pair: Pair) -> bool:
    return pair.is_matched and (pair.truth == -1 or pair.answer == pair.truth)


def _contingency(fates: Sequence[tuple[bool, bool]]) -> dict[str, float]:
    fixed, broken = sum(b > a for a, b in fates), sum(b < a for a, b in fates)
    both = sum(a and b for a, b in fates)
    counts = {"both": both, "neither": len(fates) - both - fixed - broken, "fixed": fixed, "broken": broken}
    return {**counts, "p": mcnemar(fixed, broken)}


def _row(old: Pair, new: Pair, names: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    truth = "" if old.truth is None or old.truth < 0 else classes[old.truth]
    box = [] if old.true_box is None else [float(v) for v in old.true_box]
    return {"field": names[old.field], "truth": truth, "box": box, "old": _fate(old, classes), "new": _fate(new, classes)}


def _fate(pair: Pair, classes: Sequence[str]) -> dict[str, Any]:
    label = pair.label
    return {
        "owner": pair.owner,
        "label": "" if label is None else classes[label],
        "p": None if label is None else float(pair.probabilities[label]),
        "score": None if pair.found is None else pair.found.detection_score,
    }


def _extra(pair: Pair, names: Sequence[str]) -> dict[str, Any]:
    assert pair.found is not None
    box, score = [float(v) for v in pair.found.box], pair.found.detection_score
    return {"field": names[pair.field], "owner": pair.owner, "label": pair.found.label, "score": score, "box": box}


def _boxes(pairs: Sequence[Pair]) -> NDArray[np.float32]:
    return np.array([p.found.box for p in pairs if p.found is not None], np.float32).reshape(-1, 4)


def _per_field(pairs: Sequence[Pair], n_fields: int) -> NDArray[np.int64]:
    return np.bincount(np.array([p.field for p in pairs], np.int64), minlength=n_fields)


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else math.nan
