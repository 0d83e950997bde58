"""What became of the white cells of labelled fields, with intervals: pairs folded into counts, metrics and oracle runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.evidence import Evidence, Question
from smear.labelled import Labelled
from smear.metrics.classification import classification_intervals, classification_metrics
from smear.metrics.endtoend import count_pairs, score_pairs
from smear.metrics.labels import label_intervals
from smear.metrics.pairs import Pair, pair_cells, white_truth
from smear.metrics.statistics import Interval, bootstrap, field_groups
from smear.types import FieldFailure, Outcome

AT_TOP = ("accuracy", "specificity", "f1", "roc_auc")  # of all true cells; precision and recall at the top are the detector's
POSITIVE = 0  # the first class of a classifier is the one it looks for, as its sigmoid is P(classes[0])


def pair_labelled(
    labelled: Labelled, cells: Sequence[Outcome], question: Question, *, stained: Sequence[NDArray[np.floating]] | None = None
) -> tuple[Pair, ...]:
    """`pair_cells` for the fields of a labelled set; `cells` are their outcomes at the operating point."""
    return tuple(
        pair_cells(
            labelled.truths,
            cells,
            question.classes,
            truth_classes=question.truth_classes,
            white_classes=question.white_classes,
            ignored_classes=labelled.ignored_classes,
            stained=stained,
        )
    )


def score_cells(
    labelled: Labelled, evidence: Sequence[Evidence], question: Question, pairs: Sequence[Pair], *, n_resamples: int = 1000
) -> dict[str, Any]:
    """`white_recall`, `white_precision`, `end_to_end` and `intervals`; where kinds are known also `cells_on_truth`, `accuracy`, …

    `cells_on_truth`, `end_to_end.all` and `end_to_end.matched` have `intervals` of their own; those at the top are of the numbers at the
    top, and `sensitivity` and `label_precision` of all cells.
    """
    results = [e.cells for e in evidence]
    drawn = _Drawn(*field_groups(labelled.fields), n_resamples)
    spread = _white_intervals(drawn, pairs)
    if not question.knows_kinds:
        found = {k: v for k, v in count_pairs(pairs, results, question.classes).items() if k not in ("owners", "owners_by_class")}
        return {**_of_white(found), "end_to_end": found, "intervals": spread}
    found = score_pairs(pairs, results, question.classes, positive=question.classes[POSITIVE], on_truth=[e.on_truth for e in evidence])
    known, loose = [p for p in pairs if p.truth is not None and p.truth >= 0], [p for p in pairs if p.found and not p.is_matched]
    found["all"]["intervals"] = _plain(label_intervals(known, loose, POSITIVE, drawn.groups, unit=drawn.unit, n_resamples=n_resamples))
    found["matched"]["intervals"] = _matched_intervals([p for p in known if p.answer is not None], question, drawn)
    named = {"recall": "sensitivity", "precision": "label_precision"}
    spread |= {named.get(key, key): value for key, value in found["all"]["intervals"].items()}
    top = {key: found["all"][key] for key in AT_TOP}
    on_truth = _on_truth(labelled, evidence, question, drawn)
    return {**_of_white(found), **top, "cells_on_truth": on_truth, "end_to_end": found, "intervals": spread}


@dataclass(frozen=True)
class _Drawn:
    """What the bootstrap draws: the group of each field, what a group is, how often."""

    groups: tuple[str, ...]
    unit: str
    n_resamples: int


def _on_truth(labelled: Labelled, evidence: Sequence[Evidence], question: Question, drawn: _Drawn) -> dict[str, Any]:
    """The classifier alone: every true cell of known kind of the fields that could be read, cut by its true box."""
    kinds, fields = [np.zeros(0, np.int64)], []
    for field, (truth, one) in enumerate(zip(labelled.truths, evidence, strict=True)):
        if isinstance(one.cells, FieldFailure):
            continue
        white = white_truth(truth, question.classes, truth_classes=question.truth_classes, white_classes=question.white_classes)
        kinds.append(white.kinds[white.kinds >= 0])
        fields += [field] * len(kinds[-1])
    true = np.concatenate(kinds)
    probabilities = np.concatenate([np.zeros((0, len(question.classes)), np.float32), *(e.on_truth for e in evidence)])
    found = classification_metrics(true, probabilities, question.classes, positive=question.classes[POSITIVE])
    return {**found, "intervals": _class_intervals(true, probabilities, fields, question, drawn)}


def _matched_intervals(matched: Sequence[Pair], question: Question, drawn: _Drawn) -> dict[str, Any]:
    true = np.array([p.truth for p in matched], np.int64)
    probabilities = np.array([p.probabilities for p in matched]).reshape(-1, len(question.classes))
    return _class_intervals(true, probabilities, [p.field for p in matched], question, drawn)


def _class_intervals(
    true: NDArray[np.int64], probabilities: NDArray[np.floating], fields: Sequence[int], question: Question, drawn: _Drawn
) -> dict[str, Any]:
    """`classification_intervals` of cells that lie in these fields."""
    groups, positive = [drawn.groups[f] for f in fields], question.classes[POSITIVE]
    return _plain(
        classification_intervals(
            true, probabilities, question.classes, groups, positive=positive, unit=drawn.unit, n_resamples=drawn.n_resamples
        )
    )


def _white_intervals(drawn: _Drawn, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of the recall and precision of white cells, drawing whole patients or slides again."""
    counts = np.zeros((len(drawn.groups), 3), np.int64)  # true, found, both
    for pair in pairs:
        counts[pair.field] += (pair.truth is not None, pair.found is not None, pair.is_matched)

    def score(index: NDArray[np.int64]) -> dict[str, float]:
        n_truth, n_found, n_both = counts[index].sum(axis=0)
        return {"white_recall": n_both / n_truth if n_truth else np.nan, "white_precision": n_both / n_found if n_found else np.nan}

    return _plain(bootstrap(drawn.groups, score, unit=drawn.unit, n_resamples=drawn.n_resamples))


def _of_white(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"white_recall": found["white"]["recall"], "white_precision": found["white"]["precision"], "white": found["white"]}


def _plain(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in intervals.items()}
