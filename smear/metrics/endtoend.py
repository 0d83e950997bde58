"""What is left of a true white cell after detecting and labelling it: every cell ends in exactly one count."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.classification import classification_metrics
from smear.metrics.detection import Counts
from smear.metrics.flow import cell_flow
from smear.metrics.labels import label_metrics
from smear.metrics.oracle import oracle_runs
from smear.metrics.owners import owner_counts
from smear.metrics.pairs import MATCH_IOU, Pair, pair_cells
from smear.types import Detections, FieldFailure, Outcome

__all__ = ["Pair", "count_pairs", "end_to_end", "pair_cells", "score_pairs"]


def end_to_end(
    truths: Sequence[Detections],
    results: Sequence[Outcome],
    classes: Sequence[str],
    *,
    truth_classes: Sequence[str] | None = None,
    white_classes: Collection[str] = ("WBC",),
    ignored_classes: Collection[str] = (),
    positive: str | None = None,
    stained: Sequence[NDArray[np.floating]] | None = None,
    on_truth: Sequence[NDArray[np.floating]] | None = None,
    iou: float = MATCH_IOU,
) -> dict[str, Any]:
    """Score detection and labelling of white cells together: `pair_cells`, then `score_pairs`.

    Args:
        truths: one per field; labels index `truth_classes`.
        results: one per field, in the same order.
        classes: the classifier's classes, in any order the results know.
        truth_classes: names of the truth's labels, default `classes`; a name that is neither in `classes` nor in `white_classes` is
            no white cell.
        white_classes: names of white cells of unknown kind. ignored_classes: names of regions where an extra detection is no error.
        positive: default the first class.
        stained: see `pair_cells`. on_truth: see `score_pairs`.

    Raises:
        ValueError: the sequences differ in length, a label has no name, or a labelled result lacks one of `classes`.
    """
    pairs = tuple(
        pair_cells(
            truths,
            results,
            classes,
            truth_classes=truth_classes or classes,
            white_classes=white_classes,
            ignored_classes=ignored_classes,
            stained=stained,
            iou=iou,
        )
    )
    return score_pairs(pairs, results, classes, positive=positive, on_truth=on_truth, iou=iou)


def score_pairs(
    pairs: Sequence[Pair],
    results: Sequence[Outcome],
    classes: Sequence[str],
    *,
    positive: str | None = None,
    on_truth: Sequence[NDArray[np.floating]] | None = None,
    iou: float = MATCH_IOU,
) -> dict[str, Any]:
    """Fold pairs into counts and shares; shares in [0, 1], higher is better, NaN where undefined.

    - what `count_pairs` returns.
    - `matched`: `classification_metrics` of the cells that were matched and labelled.
    - `all`: `label_metrics`, where missed, loose and unlabelled cells count as wrong.
    - `oracle`: `oracle_runs`, when `on_truth` is given.

    Args:
        on_truth: per field, the (K, C) probabilities of its true cells of known kind on their true boxes; a failed field's are not read.
    """
    known = [p for p in pairs if p.truth is not None and p.truth >= 0]
    labelled = [p for p in known if p.answer is not None]
    first = classes.index(positive or classes[0])
    found = {
        **count_pairs(pairs, results, classes, iou=iou),
        "matched": classification_metrics(
            np.array([p.truth for p in labelled], np.int64),
            np.array([p.probabilities for p in labelled]).reshape(-1, len(classes)),
            classes,
            positive=classes[first],
        ),
        "all": label_metrics(known, [p for p in pairs if p.found and not p.is_matched], first),
    }
    if on_truth is None:
        return found
    read = [not isinstance(r, FieldFailure) for r in results]
    beside = [np.zeros((0, len(classes))), *(p for p, is_read in zip(on_truth, read, strict=True) if is_read)]
    return {**found, "oracle": oracle_runs([p for p in pairs if read[p.field]], np.concatenate(beside), classes, positive=first)}


def count_pairs(pairs: Sequence[Pair], results: Sequence[Outcome], classes: Sequence[str], *, iou: float = MATCH_IOU) -> dict[str, Any]:
    """Fold pairs into counts, whether or not any kind is known.

    - `white`: recall and precision of white cells (`n_truth = n_matched + n_loose + n_missed`, `n_found = n_matched + n_loose + n_extra`),
      and the precision of those that lie where labels can be expected (`precision_without_ignored`).
    - `owners`, `owners_by_class`, `owners_white`, `extras`: `owner_counts`; they add up to `n_labelled` (the first two), `white.n_truth`
      and `white.n_extra`. `flow`: the same as nodes and links (`cell_flow`).
    - `n_labelled` (true cells of known kind), `n_fields`, `n_failed_fields`.
    """
    counts, white = owner_counts(pairs, classes), _white(pairs)
    n_judged = white["n_found"] - counts["extras"]["ignored"]
    return {
        "white": {**white, "precision_without_ignored": white["n_matched"] / n_judged if n_judged else math.nan, "iou": iou},
        **counts,
        "flow": cell_flow(counts),
        "n_labelled": sum(counts["owners"].values()),
        "n_fields": len(results),
        "n_failed_fields": sum(isinstance(r, FieldFailure) for r in results),
    }


def _white(pairs: Sequence[Pair]) -> dict[str, Any]:
    n_truth = sum(p.truth is not None for p in pairs)
    n_found = sum(p.found is not None for p in pairs)
    n_matched = sum(p.is_matched for p in pairs)
    n_loose = sum(p.is_loose for p in pairs)
    white = Counts(n_truth, n_found, n_matched)
    return {
        "recall": white.recall,
        "precision": white.precision,
        "n_truth": n_truth,
        "n_found": n_found,
        "n_matched": n_matched,
        "n_loose": n_loose,
        "n_missed": n_truth - n_matched - n_loose,
        "n_extra": n_found - n_matched - n_loose,
    }
