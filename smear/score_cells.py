"""What became of the white cells of labelled fields, with intervals: pairs folded into counts, metrics and oracle runs."""

from collections.abc import Mapping, Sequence
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


def score_cells(labelled: Labelled, evidence: Sequence[Evidence], question: Question, pairs: Sequence[Pair]) -> dict[str, Any]:
    """`white_recall`, `white_precision`, `end_to_end` and `intervals`; where kinds are known also `cells_on_truth`, `accuracy`, …

    `cells_on_truth`, `end_to_end.all` and `end_to_end.matched` have `intervals` of their own; those at the top are of the numbers at the
    top, and `sensitivity` and `label_precision` of all cells.
    """
    results = [e.cells for e in evidence]
    groups, unit = field_groups(labelled.fields)
    spread = _plain(_white_intervals(groups, unit, pairs))
    if not question.knows_kinds:
        found = {k: v for k, v in count_pairs(pairs, results, question.classes).items() if k not in ("owners", "owners_by_class")}
        return {**_of_white(found), "end_to_end": found, "intervals": spread}
    found = score_pairs(pairs, results, question.classes, positive=question.classes[POSITIVE], on_truth=[e.on_truth for e in evidence])
    known, loose = [p for p in pairs if p.truth is not None and p.truth >= 0], [p for p in pairs if p.found and not p.is_matched]
    found["all"]["intervals"] = _plain(label_intervals(known, loose, POSITIVE, groups, unit=unit))
    found["matched"]["intervals"] = _label_spread([p for p in known if p.answer is not None], question, groups, unit)
    named = {"recall": "sensitivity", "precision": "label_precision"}
    spread |= {named.get(key, key): value for key, value in found["all"]["intervals"].items()}
    top = {key: found["all"][key] for key in AT_TOP}
    on_truth = _on_truth(labelled, evidence, question, groups, unit)
    return {**_of_white(found), **top, "cells_on_truth": on_truth, "end_to_end": found, "intervals": spread}


def _on_truth(labelled: Labelled, evidence: Sequence[Evidence], question: Question, groups: Sequence[str], unit: str) -> dict[str, Any]:
    """The classifier alone: every true cell of known kind of the fields that could be read, cut by its true box."""
    kinds, drawn = [np.zeros(0, np.int64)], []
    for field, (truth, one) in enumerate(zip(labelled.truths, evidence, strict=True)):
        if isinstance(one.cells, FieldFailure):
            continue
        white = white_truth(truth, question.classes, truth_classes=question.truth_classes, white_classes=question.white_classes)
        kinds.append(white.kinds[white.kinds >= 0])
        drawn += [groups[field]] * len(kinds[-1])
    true, positive = np.concatenate(kinds), question.classes[POSITIVE]
    probabilities = np.concatenate([np.zeros((0, len(question.classes)), np.float32), *(e.on_truth for e in evidence)])
    found = classification_metrics(true, probabilities, question.classes, positive=positive)
    spread = classification_intervals(true, probabilities, question.classes, drawn, positive=positive, unit=unit)
    return {**found, "intervals": _plain(spread)}


def _label_spread(labelled: Sequence[Pair], question: Question, groups: Sequence[str], unit: str) -> dict[str, Any]:
    true = np.array([p.truth for p in labelled], np.int64)
    probabilities = np.array([p.probabilities for p in labelled]).reshape(-1, len(question.classes))
    drawn = [groups[p.field] for p in labelled]
    positive = question.classes[POSITIVE]
    return _plain(classification_intervals(true, probabilities, question.classes, drawn, positive=positive, unit=unit))


def _white_intervals(groups: Sequence[str], unit: str, pairs: Sequence[Pair]) -> dict[str, Interval]:
    """Of the recall and precision of white cells, drawing whole patients or slides again."""
    counts = np.zeros((len(groups), 3), np.int64)  # true, found, both
    for pair in pairs:
        counts[pair.field] += (pair.truth is not None, pair.found is not None, pair.is_matched)

    def score(index: NDArray[np.int64]) -> dict[str, float]:
        n_truth, n_found, n_both = counts[index].sum(axis=0)
        return {"white_recall": n_both / n_truth if n_truth else np.nan, "white_precision": n_both / n_found if n_found else np.nan}

    return bootstrap(groups, score, unit=unit)


def _of_white(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"white_recall": found["white"]["recall"], "white_precision": found["white"]["precision"], "white": found["white"]}


def _plain(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in intervals.items()}
