"""`report.json`: the outcomes of a run folded into counts, shares with intervals, doubts and provenance."""

import math
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from smear.metrics.statistics import clopper_pearson
from smear.models import ModelCard
from smear.report.records import SCHEMA, jsonable
from smear.types import FieldFailure, FieldResult, Outcome

NOTICE = "Research use only; not a diagnostic device."
CONFIDENCE = 0.95
RED_CLASS, PLATELET_CLASS = "RBC", "Platelets"  # the detector's card may name another red class
PACKAGES = ("leukofield", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "pydantic", "scipy", "scikit-learn")
CARD_KEYS = (
    *("name", "task", "architecture", "classes", "files", "input_px", "crop", "rbc_px", "thresholds", "temperature"),
    *("metrics", "training", "data", "licence", "limits"),
)
EXAMPLES = 20  # fields named under one warning; the count beside it is complete


@dataclass
class _Tally:
    """Running counts of one slide or of all."""

    n_fields: int = 0
    n_failed: int = 0
    n_white: int = 0
    n_review: int = 0
    detected: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    review_labels: Counter[str] = field(default_factory=Counter)
    rbc_px: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)


def summarise(
    outcomes: Iterable[Outcome],
    *,
    cards: Sequence[ModelCard] = (),
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fold outcomes, one at a time and in any order, into the plain dict that is `report.json`; NaN is already null.

    The share of a class is k of n labelled white cells, those that need a review included, with its exact 95 % Clopper-Pearson interval;
    unlabelled cells count as white cells and for the review, not for the share. `wbc_per_rbc` is null where no red cell was found.

    Args:
        cards: the cards of the models that were used; the detector's says which class is the red cell.
        config: the resolved configuration of the run.
        metrics: what an evaluation adds, else None: any of `detection` (`coco_metrics`), `pr_curves` (`pr_curves`), `cells_on_truth`
            (`classification_metrics`) and `end_to_end` (`end_to_end`), which the page shows.
    """
    total = _Tally()
    slides: dict[str, _Tally] = {}
    fields: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    warned: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {}
    detector_classes: dict[str, None] = {}
    classes: dict[str, None] = {}
    for outcome in outcomes:
        slide = slides.setdefault(outcome.field.slide, _Tally())
        for tally in (total, slide):
            _count(tally, outcome)
        if isinstance(outcome, FieldFailure):
            failures.append({"field": outcome.field.id, "slide": outcome.field.slide, "stage": outcome.stage, "error": outcome.error})
            continue
        detector_classes |= dict.fromkeys(outcome.detector_classes)
        classes |= dict.fromkeys(outcome.classes)
        for stage, value in outcome.seconds.items():
            seconds.setdefault(stage, []).append(value)
        fields.append(_field_row(outcome))
        for text in dict.fromkeys([*outcome.warnings, *(w for cell in outcome.cell_warnings for w in cell)]):
            warned.setdefault(text, []).append(outcome.field.id)
    red_class = next((card.red_class for card in cards if card.red_class), RED_CLASS)
    names = (tuple(detector_classes), tuple(classes), red_class)
    return jsonable(
        {
            "schema": SCHEMA,
            "notice": NOTICE,
            "confidence": CONFIDENCE,
            "classes": list(classes),
            "detector_classes": list(detector_classes),
            "total": _summary(total, *names),
            "slides": [{"slide": name, **_summary(tally, *names)} for name, tally in sorted(slides.items())],
            "fields": sorted(fields, key=lambda row: row["field"]),
            "failures": sorted(failures, key=lambda row: row["field"]),
            "warnings": [
                {"warning": text, "n_fields": len(ids), "fields": sorted(ids)[:EXAMPLES]}
                for text, ids in sorted(warned.items(), key=lambda item: (-len(item[1]), item[0]))
            ],
            "metrics": metrics,
            "cards": [_short_card(card) for card in cards],
            "config": config or {},
            "seconds": {stage: math.fsum(values) for stage, values in sorted(seconds.items())},
            "versions": versions(),
        }
    )


def versions() -> dict[str, str]:
    """Python and the installed packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _count(tally: _Tally, outcome: Outcome) -> None:
    tally.n_fields += 1
    if isinstance(outcome, FieldFailure):
        tally.n_failed += 1
        return
    tally.detected.update({name: outcome.count(name) for name in outcome.detector_classes})
    tally.sources[outcome.scale.source] += 1
    if outcome.scale.is_known:
        tally.rbc_px.append(outcome.scale.rbc_px)
        tally.spread.append(outcome.scale.spread)
    for cell in outcome.cells():
        tally.n_white += 1
        tally.n_review += cell.needs_review
        if cell.label:
            tally.labels[cell.label] += 1
            tally.review_labels[cell.label] += cell.needs_review


def _summary(tally: _Tally, detector_classes: Sequence[str], classes: Sequence[str], red_class: str) -> dict[str, Any]:
    n_red = tally.detected[red_class] if red_class in detector_classes else None
    n_labelled = sum(tally.labels.values())
    return {
        "n_fields": tally.n_fields,
        "n_failed_fields": tally.n_failed,
        "n_white": tally.n_white,
        "n_red": n_red,
        "n_platelets": tally.detected[PLATELET_CLASS] if PLATELET_CLASS in detector_classes else None,
        "wbc_per_rbc": tally.n_white / n_red if n_red else None,
        "n_labelled": n_labelled,
        "n_needs_review": tally.n_review,
        "labels": {name: _share(tally.labels[name], n_labelled, tally.review_labels[name]) for name in classes},
        "scale": {
            "rbc_px": float(np.median(tally.rbc_px)) if tally.rbc_px else None,
            "rbc_px_low": min(tally.rbc_px, default=None),
            "rbc_px_high": max(tally.rbc_px, default=None),
            "spread": _median_known(tally.spread),
            "n_unknown": tally.n_fields - tally.n_failed - len(tally.rbc_px),
            "sources": dict(sorted(tally.sources.items())),
        },
    }


def _share(k: int, n: int, n_review: int) -> dict[str, Any]:
    low, high = clopper_pearson(k, n, CONFIDENCE)
    return {"n": k, "of": n, "share": k / n if n else None, "low": low, "high": high, "n_needs_review": n_review}


def _median_known(values: Sequence[float]) -> float | None:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else None


def _field_row(result: FieldResult) -> dict[str, Any]:
    cells = tuple(result.cells())
    return {
        "field": result.field.id,
        "slide": result.field.slide,
        "shape_hw": list(result.shape_hw),
        "n_white": len(cells),
        "detected": {name: result.count(name) for name in result.detector_classes},
        "labels": {name: sum(c.label == name for c in cells) for name in result.classes},
        "n_needs_review": sum(c.needs_review for c in cells),
        "rbc_px": result.scale.rbc_px,
        "scale_spread": result.scale.spread,
        "scale_n": result.scale.n,
        "scale_source": result.scale.source,
        "warnings": list(result.warnings),
        "seconds": sum(result.seconds.values()),
    }


def _short_card(card: ModelCard) -> dict[str, Any]:
    full = card.model_dump(mode="json")
    return {key: full.get(key) for key in CARD_KEYS}
