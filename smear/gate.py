"""The parity gate on real pictures: what reference and variant say of the same fields or crops, put before `smear.parity`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import ConfigError
from smear.evaluate import headline, shared_boxes
from smear.labelled import Labelled
from smear.metrics.classification import roc_auc
from smear.metrics.detection import coco_metrics
from smear.parity import AUC, FLIPS, Answers, Check, Parity, box_agreement, check_auc, check_boxes, check_labels, label_flips, pair_boxes
from smear.regress import Run, labels_on_truth
from smear.types import FieldResult

Sides = Sequence[tuple[FieldResult, FieldResult]]  # of each field that could be read: the reference's cells and the variant's


def judge_fields(labelled: Labelled, reference: Run, variant: Run, *, task: str, precision: str) -> Parity:
    """Judge a detector ("detect") or classifier ("classify") that ran end to end, the other model being the same on both sides.

    A detector is judged by its boxes and mAP, and by what the classifier makes of its cells where the fields have enough of them; a
    classifier by the labels of the cells that were found, and by its AUC on the true boxes.

    Raises:
        ConfigError: too few fields, boxes or cells to judge.
        AnnotationError: set and detector share no class.
    """
    sides = [
        (a.cells, b.cells)
        for a, b in zip(reference.evidence, variant.evidence, strict=True)
        if isinstance(a.cells, FieldResult) and isinstance(b.cells, FieldResult)
    ]
    flips = label_flips(_answers(sides, len(reference.question.classes)), sides[0][0].review_below if sides else math.inf)
    figures = {"n_fields": len(sides), "n_failed": len(labelled.fields) - len(sides), "labels": flips}
    judge = _judge_detector if task == "detect" else _judge_classifier
    judged = judge(labelled, (reference, variant), sides, flips, precision)
    return replace(judged, figures={**figures, **judged.figures})


def judge_crops(kinds: NDArray[np.int64], answers: Answers, *, review_below: float, positive: int = 0) -> Parity:
    """Judge a classifier on N crops of known kind (N,), an index of the columns of the answers.

    Raises:
        ConfigError: too few crops, or too few of a kind.
    """
    flips = label_flips(answers, review_below)
    areas = _areas(kinds, answers, positive)
    checks = (check_labels(flips), _check_areas(areas, kinds, positive))
    return Parity(checks, {"n_crops": len(kinds), "labels": flips, "auc": areas}, {})


def _judge_detector(labelled: Labelled, runs: tuple[Run, Run], sides: Sides, flips: dict[str, Any], precision: str) -> Parity:
    agreement = box_agreement([a.detections for a, _ in sides], [b.detections for _, b in sides])
    scores = [_scores(labelled, run) for run in runs]
    maps, areas = ({"reference": scores[0][key], "variant": scores[1][key]} for key in ("map50_95", "roc_auc"))
    kinds, positive = labels_on_truth(labelled, runs[0], runs[0].question.classes)[1], _positive(runs[0])
    checks = check_boxes(agreement, **maps, n_fields=len(sides), precision=precision)
    more, not_judged = _where_possible({FLIPS: lambda: check_labels(flips), AUC: lambda: _check_areas(areas, kinds, positive)})
    return Parity((*checks, *more), {"boxes": agreement, "map50_95": maps, "auc": areas}, not_judged)


def _judge_classifier(labelled: Labelled, runs: tuple[Run, Run], sides: Sides, flips: dict[str, Any], precision: str) -> Parity:
    del sides, precision  # one limit for all
    positive = _positive(runs[0])
    (_, kinds, reference), (_, _, variant) = (labels_on_truth(labelled, run, runs[0].question.classes) for run in runs)
    areas = _areas(kinds, Answers(reference, variant), positive)
    return Parity((check_labels(flips), _check_areas(areas, kinds, positive)), {"auc": areas}, {})


def _scores(labelled: Labelled, run: Run) -> dict[str, float]:
    """`map50_95` of the shared classes and `roc_auc` end to end; NaN where the truth knows no kinds."""
    card, outcomes = run.opened.detector.card, [e.outcome for e in run.evidence]
    white, classes = card.white_classes[0], card.classes
    truths, found, shared = shared_boxes(labelled, outcomes, white_class=white, detector_classes=classes)
    area = headline(labelled, outcomes, run.question, white_class=white, detector_classes=classes).get("roc_auc", math.nan)
    return {"map50_95": coco_metrics(truths, found, shared)["map50_95"], "roc_auc": area}


def _answers(sides: Sides, n_classes: int) -> Answers:
    """Both sides' labels of the white cells that both found; without a classifier there are none."""
    nothing = np.zeros((0, n_classes), np.float32)
    reference, variant = [nothing], [nothing]
    for one, other in sides if n_classes else ():
        pairs = pair_boxes(one.detections.take(one.is_white), other.detections.take(other.is_white))
        reference.append(one.probabilities[one.is_white][pairs[:, 0]])
        variant.append(other.probabilities[other.is_white][pairs[:, 1]])
    return Answers(np.concatenate(reference), np.concatenate(variant))


def _areas(kinds: NDArray[np.int64], answers: Answers, positive: int) -> dict[str, float]:
    """ROC-AUC of both sides over N cells of known kind (N,); NaN when one kind is absent."""
    is_positive = kinds == positive
    return {
        "reference": roc_auc(is_positive, answers.reference[:, positive]),
        "variant": roc_auc(is_positive, answers.variant[:, positive]),
    }


def _check_areas(areas: Mapping[str, float], kinds: NDArray[np.int64], positive: int) -> Check:
    n_positive = int((kinds == positive).sum())
    return check_auc(areas["reference"], areas["variant"], n_positive=n_positive, n_negative=len(kinds) - n_positive)


def _positive(run: Run) -> int:
    return run.question.classes.index("ALL") if "ALL" in run.question.classes else 0


def _where_possible(checks: dict[str, Callable[[], Check]]) -> tuple[list[Check], dict[str, str]]:
    """The checks that the data can make, and why the others cannot be made."""
    made, not_judged = [], {}
    for name, check in checks.items():
        try:
            made.append(check())
        except ConfigError as error:
            not_judged[name] = str(error)
    return made, not_judged
