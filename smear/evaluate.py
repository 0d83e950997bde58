"""Score an analyser on labelled fields: detection, cells on their true boxes, and both end to end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import annotations
from smear.annotations import DataSet
from smear.errors import AnnotationError
from smear.evidence import Evidence, Question
from smear.images import header, read_bytes
from smear.metrics.classification import classification_intervals, classification_metrics
from smear.metrics.detection_report import detection_report
from smear.metrics.endtoend import count_pairs, score_pairs
from smear.metrics.labels import label_intervals
from smear.metrics.owners import ERRORS_PER_OWNER, list_errors
from smear.metrics.pairs import Pair, pair_cells, white_truth
from smear.metrics.statistics import bootstrap, field_groups
from smear.types import Detections, Field, FieldFailure, FieldResult, Outcome

FLOOR = 0.005  # curves need the detections below the operating point too
IN_ALL = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "roc_auc")


@dataclass(frozen=True)
class Labelled:
    """Fields with their truth; `classes` name the labels, some of them kinds of white cells, some regions that nobody labelled."""

    fields: tuple[Field, ...]
    truths: tuple[Detections, ...]
    classes: tuple[str, ...]
    white_classes: tuple[str, ...] = ()
    ignored_classes: tuple[str, ...] = ()


def read_labelled(data: DataSet, split: str) -> Labelled:
    """The fields and truth of a split; slide and patient come from the manifest when there is one. No image is decoded.

    Raises:
        AnnotationError, ImageError: a label file or image is wrong; an evaluation has no use for a part of the truth.
    """
    manifest = annotations.read_manifest(data.root) or {}
    known = {entry["file"]: entry for entry in manifest.get("files", [])}
    fields, truths = [], []
    for path in data.images(split):
        name = path.relative_to(data.root).as_posix() if path.is_relative_to(data.root) else path.name
        entry = known.get(name, {})
        fields.append(Field(name, path, slide=entry.get("slide") or "", patient=entry.get("patient")))
        shape_hw = header(read_bytes(fields[-1]), name=str(path)).shape_hw
        truths.append(annotations.read_labels(annotations.label_path(path), shape_hw, len(data.classes)))
    return Labelled(tuple(fields), tuple(truths), data.classes, data.white_classes, data.ignored_classes)


def ask(labelled: Labelled, classes: Sequence[str], *, white_classes: Sequence[str], confidence: float) -> Question:
    """What to gather of every field: white cells are what the detector, the classifier or the data call so.

    Args:
        classes: of the classifier, in its order; empty without one. white_classes: of the detector.
    """
    white = dict.fromkeys((*white_classes, *(c for c in labelled.classes if c in (*labelled.white_classes, *classes))))
    return Question(labelled.classes, tuple(white), tuple(classes), confidence)


def evaluate(
    labelled: Labelled, evidence: Sequence[Evidence], question: Question, *, white_class: str, detector_classes: Sequence[str]
) -> dict[str, Any]:
    """All metrics of one run, as plain values.

    Args:
        evidence: one a field, in the order of `labelled`.
        white_class: the detector's name of white cells; kinds of white cells that it does not know count as it for detection.

    Returns:
        map50, map50_95, precision, recall, ap50, … at the top; `end_to_end`, and `cells_on_truth` where the truth knows kinds;
        `errors` (`list_errors`), `n_errors` (complete), `errors_per_owner` (how many are listed); `intervals`; `pr_curves`.
    """
    labelled = replace(labelled, white_classes=question.white_classes)
    detection = score_detection(
        labelled, [e.outcome for e in evidence], white_class=white_class, detector_classes=detector_classes, confidence=question.confidence
    )
    pairs = tuple(
        pair_cells(
            labelled.truths,
            [e.cells for e in evidence],
            question.classes,
            truth_classes=labelled.classes,
            white_classes=question.white_classes,
            ignored_classes=labelled.ignored_classes,
            stained=[e.stained for e in evidence],
        )
    )
    errors, n_errors = list_errors(pairs, [f.id for f in labelled.fields], question.classes, unknown=white_class)
    listed = {"errors": errors, "n_errors": n_errors, "errors_per_owner": ERRORS_PER_OWNER}
    cells = _score_cells(labelled, evidence, question, pairs)
    intervals = {**detection.pop("intervals", {}), **_white_intervals(labelled, pairs), **cells.pop("intervals", {})}
    return {**detection, **cells, "intervals": intervals, **listed}


def _score_cells(labelled: Labelled, evidence: Sequence[Evidence], question: Question, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What became of the white cells; without known kinds only of their boxes."""
    results = [e.cells for e in evidence]
    if not set(question.classes) & set(labelled.classes):
        found = {k: v for k, v in count_pairs(pairs, results, question.classes).items() if k not in ("owners", "owners_by_class")}
        return {**_of_white(found["white"]), "end_to_end": found}
    found = score_pairs(pairs, results, question.classes, on_truth=[e.on_truth for e in evidence])
    top = {
        key: found["all"][key] for key in IN_ALL if key in found["all"] and key not in ("precision", "recall")
    }  # those are the detector's
    known, extra = [p for p in pairs if (p.truth or 0) >= 0 and p.truth is not None], [p for p in pairs if p.found and not p.is_matched]
    groups, unit = field_groups(labelled.fields)
    found["all"]["intervals"] = _plain(label_intervals(known, extra, 0, groups, unit=unit))
    named = {"recall": "sensitivity", "precision": "label_precision"}
    intervals = {named.get(key, key): value for key, value in found["all"]["intervals"].items()}
    on_truth = _on_truth(labelled, evidence, question, groups, unit)
    return {**_of_white(found["white"]), **top, "cells_on_truth": on_truth, "end_to_end": found, "intervals": intervals}


def score_detection(
    labelled: Labelled, outcomes: Sequence[Outcome], *, white_class: str, detector_classes: Sequence[str], confidence: float,
    beside: Callable[[Sequence[Detections], Sequence[Detections], Sequence[str]], dict[str, Any]] | None = None, n_resamples: int = 1000,
) -> dict[str, Any]:  # fmt: skip
    """`detection_report` over the classes that truth and detector share; a class that the truth does not label is not scored.

    Args:
        beside: a second opinion on the same boxes, returned under `ultralytics`.
        n_resamples: of the slides, for the intervals.

    Raises:
        AnnotationError: they share none.
    """
    truths, found, shared = shared_boxes(labelled, outcomes, white_class=white_class, detector_classes=detector_classes)
    extra = {"ultralytics": beside(truths, found, shared)} if beside else {}
    report = detection_report(labelled.fields, truths, found, outcomes, shared, confidence=confidence, n_resamples=n_resamples)
    return {**report, **extra}


def shared_boxes(
    labelled: Labelled, outcomes: Sequence[Outcome], *, white_class: str, detector_classes: Sequence[str]
) -> tuple[list[Detections], list[Detections], tuple[str, ...]]:
    """True and found boxes of every field, of the classes that truth and detector share, and these; a failed field found none.

    Raises:
        AnnotationError: they share none.
    """
    names = _detector_names(labelled, white_class, detector_classes)
    shared = tuple(c for c in detector_classes if c in names)
    if not shared:
        raise AnnotationError(
            f"classes {list(labelled.classes)} of the data and {list(detector_classes)} of the detector have none in common"
        )
    truths = [_renamed(t, names, shared) for t in labelled.truths]
    found = [_renamed(o.detections if isinstance(o, FieldResult) else Detections.empty(), detector_classes, shared) for o in outcomes]
    return truths, found, shared


def _detector_names(labelled: Labelled, white_class: str, detector_classes: Sequence[str]) -> tuple[str, ...]:
    """The truth's names as the detector knows them: a kind of white cell that it does not tell apart is a white cell."""
    return tuple(white_class if c in labelled.white_classes and c not in detector_classes else c for c in labelled.classes)


def _renamed(detections: Detections, names: Sequence[str], wanted: Sequence[str]) -> Detections:
    """The detections of the wanted classes, labels indexing those."""
    index = np.array([wanted.index(n) if n in wanted else -1 for n in names], np.int64)
    labels = index[detections.labels]
    return replace(detections, labels=np.maximum(labels, 0)).take(labels >= 0)


def _on_truth(labelled: Labelled, evidence: Sequence[Evidence], question: Question, groups: Sequence[str], unit: str) -> dict[str, Any]:
    """The classifier alone: every true cell of known kind of the fields that could be read, cut by its true box."""
    kinds, drawn = [np.zeros(0, np.int64)], []
    for field, (truth, one) in enumerate(zip(labelled.truths, evidence, strict=True)):
        if isinstance(one.cells, FieldFailure):
            continue
        white = white_truth(truth, question.classes, truth_classes=labelled.classes, white_classes=question.white_classes)
        kinds.append(white.kinds[white.kinds >= 0])
        drawn += [groups[field]] * len(kinds[-1])
    true = np.concatenate(kinds)
    probabilities = np.concatenate([np.zeros((0, len(question.classes)), np.float32), *(e.on_truth for e in evidence)])
    found = classification_metrics(true, probabilities, question.classes, positive=question.classes[0])
    spread = classification_intervals(true, probabilities, question.classes, drawn, positive=question.classes[0], unit=unit)
    return {**found, "intervals": _plain(spread)}


def _white_intervals(labelled: Labelled, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of the recall and precision of white cells, drawing whole patients or slides again."""
    groups, unit = field_groups(labelled.fields)
    counts = np.zeros((len(labelled.fields), 3), np.int64)  # true, found, both
    for pair in pairs:
        counts[pair.field] += (pair.truth is not None, pair.found is not None, pair.is_matched)

    def score(index: NDArray[np.int64]) -> dict[str, float]:
        n_truth, n_found, n_both = counts[index].sum(axis=0)
        return {"white_recall": n_both / n_truth if n_truth else np.nan, "white_precision": n_both / n_found if n_found else np.nan}

    return _plain(bootstrap(groups, score, unit=unit))


def _of_white(white: dict[str, Any]) -> dict[str, Any]:
    return {"white_recall": white["recall"], "white_precision": white["precision"], "white": white}


def _plain(intervals: dict[str, Any]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in intervals.items()}
