"""Score an analyser on labelled fields: detection, cells on their true boxes, and both end to end."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from smear.analyze import at_confidence
from smear.errors import AnnotationError
from smear.evidence import Evidence, Question
from smear.labelled import Labelled
from smear.metrics.detection import coco_metrics
from smear.metrics.detection_report import detection_report
from smear.metrics.endtoend import count_pairs, score_pairs
from smear.metrics.owners import ERRORS_PER_OWNER, list_errors
from smear.score_cells import pair_labelled, score_cells
from smear.types import Detections, FieldResult, Outcome

FLOOR = 0.005  # curves need the detections below the operating point too


def ask(labelled: Labelled, classes: Sequence[str], *, white_classes: Sequence[str], confidence: float) -> Question:
    """What to gather of every field: white cells are what the detector, the classifier or the data call so.

    Args:
        classes: of the classifier, in its order; empty without one. white_classes: of the detector.
    """
    white = dict.fromkeys((*white_classes, *(c for c in labelled.classes if c in (*labelled.white_classes, *classes))))
    return Question(labelled.classes, tuple(white), tuple(classes), confidence)


def evaluate(
    labelled: Labelled,
    evidence: Sequence[Evidence],
    question: Question,
    *,
    white_class: str,
    detector_classes: Sequence[str],
    n_resamples: int = 1000,
) -> dict[str, Any]:
    """All metrics of one run, as plain values.

    Args:
        evidence: one a field, in the order of `labelled`.
        white_class: the detector's name of white cells; kinds of white cells that it does not know count as it for detection.
        n_resamples: of the patients, slides or fields, for the intervals.

    Returns:
        map50, map50_95, precision, recall, ap50, … at the top; `end_to_end`, and `cells_on_truth` where the truth knows kinds;
        `errors` (`list_errors`), `n_errors` (complete), `errors_per_owner` (so many are listed); `intervals`; `pr_curves`.
    """
    labelled = replace(labelled, white_classes=question.white_classes)
    detection = score_detection(
        labelled,
        [e.outcome for e in evidence],
        white_class=white_class,
        detector_classes=detector_classes,
        confidence=question.confidence,
        n_resamples=n_resamples,
    )
    pairs = pair_labelled(labelled, [e.cells for e in evidence], question, stained=[e.stained for e in evidence])
    errors, n_errors = list_errors(pairs, [f.id for f in labelled.fields], question.classes, unknown=white_class)
    listed = {"errors": errors, "n_errors": n_errors, "errors_per_owner": ERRORS_PER_OWNER}
    cells = score_cells(labelled, evidence, question, pairs, n_resamples=n_resamples)
    intervals = {**detection.pop("intervals", {}), **cells.pop("intervals")}
    return {**detection, **cells, "intervals": intervals, **listed}


def headline(
    labelled: Labelled, outcomes: Sequence[Outcome], question: Question, *, white_class: str, detector_classes: Sequence[str]
) -> dict[str, float]:
    """The few numbers that a stress test compares, each as in `evaluate`, without intervals: `map50`, `white_recall`, `white_precision`,
    and `accuracy` and `roc_auc` end to end where the truth knows kinds."""
    labelled = replace(labelled, white_classes=question.white_classes)
    truths, found, shared = shared_boxes(labelled, outcomes, white_class=white_class, detector_classes=detector_classes)
    cells = [at_confidence(o, question.confidence) if isinstance(o, FieldResult) else o for o in outcomes]
    pairs = pair_labelled(labelled, cells, question)
    white = count_pairs(pairs, cells, question.classes)["white"]
    scores = {"white_recall": white["recall"], "white_precision": white["precision"]}
    if question.knows_kinds:
        labels = score_pairs(pairs, cells, question.classes)["all"]
        scores |= {"accuracy": labels["accuracy"], "roc_auc": labels["roc_auc"]}
    return {"map50": coco_metrics(truths, found, shared, confidence=question.confidence)["map50"], **scores}


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
