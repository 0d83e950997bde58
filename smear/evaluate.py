"""Score an analyser on labelled fields: detection, cells on their true boxes, and both end to end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from smear import annotations
from smear.analyze import Analyzer, at_confidence
from smear.annotations import DataSet
from smear.errors import AnnotationError
from smear.images import read_image
from smear.metrics.classification import classification_metrics
from smear.metrics.detection import coco_metrics, pr_curves
from smear.metrics.endtoend import end_to_end
from smear.types import Detections, Field, FieldResult, Outcome

FLOOR = 0.005  # curves need the detections below the operating point too
IN_ALL = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "roc_auc")


@dataclass(frozen=True)
class Labelled:
    """Fields with their truth; `classes` name the labels."""

    fields: tuple[Field, ...]
    truths: tuple[Detections, ...]
    classes: tuple[str, ...]


def read_labelled(data: DataSet, split: str) -> Labelled:
    """The fields and truth of a split; slide and patient come from the manifest when there is one.

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
        truths.append(annotations.read_labels(annotations.label_path(path), read_image(path).shape[:2], len(data.classes)))
    return Labelled(tuple(fields), tuple(truths), data.classes)


def evaluate(
    analyzer: Analyzer,
    labelled: Labelled,
    outcomes: Sequence[Outcome],
    *,
    white_class: str,
    detector_classes: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """All metrics of one run, as plain values.

    Args:
        outcomes: one a field, in the order of `labelled`, with detections down to `FLOOR`.
        white_class: the detector's name of white cells; truth of kind ALL or HEM counts as it for detection.
        confidence: the operating point of precision and recall, and of what is a cell.

    Returns:
        map50, map50_95, precision, recall, ap50, … at the top; `cells_on_truth` and `end_to_end` where the truth knows kinds; `pr_curves`.
    """
    cells = [at_confidence(o, confidence) if isinstance(o, FieldResult) else o for o in outcomes]
    detection = score_detection(labelled, outcomes, white_class=white_class, detector_classes=detector_classes, confidence=confidence)
    classes = next((o.classes for o in outcomes if isinstance(o, FieldResult) and o.classes), ())
    names = labelled.classes if classes else _white_names(labelled.classes, white_class, detector_classes)
    wanted = tuple(classes) or (white_class,)
    positive = "ALL" if "ALL" in wanted else wanted[0]
    found = end_to_end(labelled.truths, cells, wanted, truth_classes=names, white_classes=(white_class,), positive=positive)
    metrics = {**detection, "white_recall": found["white"]["recall"], "white_precision": found["white"]["precision"]}
    if not set(classes) & set(labelled.classes):
        return {**metrics, "white": found["white"]}
    on_truth = _on_truth(analyzer, labelled, outcomes, classes)
    top = {key: found["all"].get(key) for key in IN_ALL if key in found["all"] and key not in metrics}
    return {**metrics, **top, "cells_on_truth": on_truth, "end_to_end": found}


def score_detection(
    labelled: Labelled, outcomes: Sequence[Outcome], *, white_class: str, detector_classes: Sequence[str], confidence: float,
    beside: Callable[[Sequence[Detections], Sequence[Detections], Sequence[str]], dict[str, float]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """COCO metrics over the classes that truth and detector share; a class that the truth does not label is not scored.

    Args:
        beside: a second opinion on the same boxes, returned under `ultralytics`.

    Raises:
        AnnotationError: they share none.
    """
    names = _white_names(labelled.classes, white_class, detector_classes)
    shared = tuple(c for c in detector_classes if c in names)
    if not shared:
        raise AnnotationError(
            f"classes {list(labelled.classes)} of the data and {list(detector_classes)} of the detector have none in common"
        )
    truths = [_renamed(t, names, shared) for t in labelled.truths]
    found = [_renamed(o.detections if isinstance(o, FieldResult) else Detections.empty(), detector_classes, shared) for o in outcomes]
    extra = {"ultralytics": beside(truths, found, shared)} if beside else {}
    return {**coco_metrics(truths, found, shared, confidence=confidence), **extra, "pr_curves": pr_curves(truths, found, shared)}


def _white_names(names: Sequence[str], white_class: str, detector_classes: Sequence[str]) -> tuple[str, ...]:
    """The truth's names as the detector knows them: a kind of white cell that it does not tell apart is a white cell."""
    return tuple(white_class if c in ("ALL", "HEM") and c not in detector_classes else c for c in names)


def _renamed(detections: Detections, names: Sequence[str], wanted: Sequence[str]) -> Detections:
    """The detections of the wanted classes, labels indexing those."""
    index = np.array([wanted.index(n) if n in wanted else -1 for n in names], np.int64)
    labels = index[detections.labels]
    return replace(detections, labels=np.maximum(labels, 0)).take(labels >= 0)


def _on_truth(analyzer: Analyzer, labelled: Labelled, outcomes: Sequence[Outcome], classes: Sequence[str]) -> dict[str, Any]:
    """The classifier alone: every true cell of known kind, cut by its true box at the measured scale of its field."""
    kinds = np.array([classes.index(c) if c in classes else -1 for c in labelled.classes], np.int64)
    truth, probabilities = [np.zeros(0, np.int64)], [np.zeros((0, len(classes)), np.float32)]
    for field, cells, outcome in zip(labelled.fields, labelled.truths, outcomes, strict=True):
        kind = kinds[cells.labels]
        if isinstance(outcome, FieldResult) and (kind >= 0).any():
            truth.append(kind[kind >= 0])
            probabilities.append(analyzer.label_boxes(read_image(Path(field.path)), cells.boxes[kind >= 0], outcome.scale))
    return classification_metrics(np.concatenate(truth), np.concatenate(probabilities), classes)
