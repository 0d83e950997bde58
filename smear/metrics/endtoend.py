"""What is left of a true white cell after detecting and labelling it: every cell ends in exactly one count."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.classification import classification_metrics, rates, roc_auc
from smear.metrics.detection import Counts, match
from smear.types import Cell, Detections, FieldFailure, Outcome


@dataclass(frozen=True)
class Pair:
    """One true white cell with the detection that was matched to it, or a lone half.

    field: index of the field. truth: class index of the true cell, -1 for a white cell of unknown kind, None for an extra detection.
    found: the detected cell, None for a missed one. probabilities: (C,) in the order of the classes asked for, NaN when there are none.
    """

    field: int
    truth: int | None
    found: Cell | None
    probabilities: NDArray[np.float64]

    @property
    def label(self) -> int | None:
        """Class index of the label given; None for a missed or unlabelled cell."""
        return int(self.probabilities.argmax()) if np.isfinite(self.probabilities).all() else None


def end_to_end(
    truths: Sequence[Detections],
    results: Sequence[Outcome],
    classes: Sequence[str],
    *,
    truth_classes: Sequence[str] | None = None,
    white_classes: Collection[str] = ("WBC",),
    positive: str = "ALL",
    iou: float = 0.5,
) -> dict[str, Any]:
    """Score detection and labelling of white cells together; shares in [0, 1], higher is better, NaN where undefined.

    Detected white cells are matched to true ones greedily by score at `iou`, whatever their label. A failed field misses all its cells.

    - `white`: recall and precision of white cells (`n_truth = n_matched + n_missed`, `n_found = n_matched + n_extra`).
    - `owners`: each true cell of known kind once: found and `right`, found and `wrong`, sent to `review`, or `missed`;
      they add up to `n_labelled`.
    - `matched`: `classification_metrics` of the cells that were found and labelled.
    - `all`: those and the missed and unlabelled ones, which **count as wrong**: for accuracy, recall and specificity they are never
      correct, and for `roc_auc` they get the worst score of their kind (0 when `positive`, 1 when not). `precision` and `f1` count
      every detection called `positive`, extras included.

    Args:
        truths: one per field; labels index `truth_classes`.
        results: one per field, in the same order.
        classes: the classifier's classes, in any order the results know.
        truth_classes: names of the truth's labels, default `classes`; a name that is neither in `classes` nor in `white_classes` is
            no white cell.
        white_classes: names of white cells of unknown kind, which count for `white` alone.

    Raises:
        ValueError: the sequences differ in length, a label has no name, or a labelled result lacks one of `classes`.
    """
    pairs = tuple(pair_cells(truths, results, classes, truth_classes=truth_classes or classes, white_classes=white_classes, iou=iou))
    n_truth = sum(p.truth is not None for p in pairs)
    n_found = sum(p.found is not None for p in pairs)
    n_matched = sum(p.truth is not None and p.found is not None for p in pairs)
    white = Counts(n_truth, n_found, n_matched)
    known = [p for p in pairs if p.truth is not None and p.truth >= 0]
    labelled = [p for p in known if p.label is not None]
    return {
        "white": {
            "recall": white.recall,
            "precision": white.precision,
            "n_truth": n_truth,
            "n_found": n_found,
            "n_matched": n_matched,
            "n_missed": n_truth - n_matched,
            "n_extra": n_found - n_matched,
            "iou": iou,
        },
        "owners": _owners(known),
        "matched": classification_metrics(
            np.array([p.truth for p in labelled], np.int64),
            np.array([p.probabilities for p in labelled]).reshape(-1, len(classes)),
            classes,
            positive=positive,
        ),
        "all": _all_cells(known, [p for p in pairs if p.truth is None], classes.index(positive)),
        "n_labelled": len(known),
        "n_fields": len(results),
        "n_failed_fields": sum(isinstance(r, FieldFailure) for r in results),
    }


def pair_cells(
    truths: Sequence[Detections],
    results: Sequence[Outcome],
    classes: Sequence[str],
    *,
    truth_classes: Sequence[str],
    white_classes: Collection[str] = ("WBC",),
    iou: float = 0.5,
) -> Iterator[Pair]:
    """Yield every true white cell once (matched or missed), and every extra detected one, field by field."""
    if len(truths) != len(results):
        raise ValueError(f"{len(truths)} truths, {len(results)} results")
    kinds = np.array([classes.index(c) if c in classes else -1 if c in white_classes else -2 for c in truth_classes], np.int64)
    nothing = np.full(len(classes), math.nan)
    for index, (truth, result) in enumerate(zip(truths, results, strict=True)):
        if len(truth) and truth.labels.max() >= len(kinds):
            raise ValueError(f"label {truth.labels.max()} is outside the {len(kinds)} truth classes")
        kind = kinds[truth.labels]
        boxes, kind = truth.boxes[kind >= -1], kind[kind >= -1]
        cells = [] if isinstance(result, FieldFailure) else list(result.cells())
        columns = [] if isinstance(result, FieldFailure) else _columns(result.classes, classes)
        found_boxes = np.array([c.box for c in cells], np.float32).reshape(-1, 4)
        scores = np.array([c.detection_score for c in cells], np.float32)
        partner = {int(t): cells[int(f)] for t, f in match(boxes, found_boxes, iou, scores=scores)}
        for t in range(len(boxes)):
            cell = partner.get(t)
            yield Pair(index, int(kind[t]), cell, _probabilities(cell, columns) if cell else nothing)
        taken = {c.index for c in partner.values()}
        yield from (Pair(index, None, c, _probabilities(c, columns)) for c in cells if c.index not in taken)


def _columns(known: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    if not known:  # the run had no classifier
        return [None] * len(classes)
    if set(classes) - set(known):
        raise ValueError(f"the results are labelled {list(known)}, the metrics ask for {list(classes)}")
    return [known.index(c) for c in classes]


def _probabilities(cell: Cell, columns: Sequence[int | None]) -> NDArray[np.float64]:
    return np.array([math.nan if k is None else cell.probabilities[k] for k in columns], np.float64)


def _owners(known: Sequence[Pair]) -> dict[str, int]:
    counts = dict.fromkeys(("right", "wrong", "review", "missed"), 0)
    for pair in known:
        if pair.found is None:
            counts["missed"] += 1
        elif pair.found.needs_review:
            counts["review"] += 1
        else:
            counts["right" if pair.label == pair.truth else "wrong"] += 1
    return counts


def _all_cells(known: Sequence[Pair], extra: Sequence[Pair], positive: int) -> dict[str, Any]:
    """Metrics over every true cell of known kind; see the rule for missed cells in `end_to_end`."""
    is_true = np.array([p.truth == positive for p in known], bool)
    is_answered = np.array([p.label is not None for p in known], bool)
    is_right = np.array([p.label == p.truth for p in known], bool)
    is_called = np.array([p.label == positive for p in known], bool)
    scores = np.array([float(p.truth != positive) if p.label is None else p.probabilities[positive] for p in known], np.float64)
    n_extra_positive = sum(p.label == positive for p in extra)
    wrongly_called = np.where(is_answered, is_called, ~is_true)  # a missed cell counts as called the other kind
    hits, called = int((is_called & is_true).sum()), int(is_called.sum()) + n_extra_positive
    shares = rates(is_true, wrongly_called)
    return {
        "accuracy": float(is_right.mean()) if len(known) else math.nan,
        "precision": hits / called if called else math.nan,
        "recall": shares["recall"],
        "specificity": shares["specificity"],
        "f1": 2 * hits / (called + int(is_true.sum())) if called + is_true.sum() else math.nan,
        "roc_auc": roc_auc(is_true, scores),
        "n": len(known),
        "n_missed": int((~is_answered).sum()),
        "n_extra_positive": n_extra_positive,
    }
