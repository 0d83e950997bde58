"""`report.json`: the outcomes of a run folded into counts, shares with intervals, doubts and provenance."""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from smear.models import ModelCard
from smear.report.blasts import blast_row
from smear.report.records import SCHEMA, jsonable
from smear.report.tally import CONFIDENCE, RED_CLASS, Tally, tally_row
from smear.types import FieldFailure, FieldResult, Outcome

NOTICE = "Research use only; not a diagnostic device."
PACKAGES = ("leukofield", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "pydantic", "scipy", "scikit-learn")
CARD_KEYS = (
    *("name", "task", "architecture", "classes", "files", "input_px", "crop", "rbc_px", "thresholds", "temperature"),
    *("metrics", "training", "data", "licence", "limits"),
)
EXAMPLES = 20  # fields named under one warning; the count beside it is complete


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
    `blasts` is the estimate of the slide and of all together, null without a classifier that knows blasts.

    Args:
        cards: the cards of the models that were used; the detector's says which class is the red cell, the classifier's how often it errs.
        config: the resolved configuration of the run.
        metrics: what an evaluation adds, else None; the page shows what it knows of it.
    """
    fold = Fold()
    for outcome in outcomes:
        fold.add(outcome)
    return fold.report(cards=cards, config=config, metrics=metrics)


def versions() -> dict[str, str]:
    """Python and the installed packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass
class Fold:
    """All that is kept of the outcomes that went by; `summarise` for whoever has them one at a time."""

    total: Tally = field(default_factory=Tally)
    slides: dict[str, Tally] = field(default_factory=dict)
    fields: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    warned: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    detector_classes: dict[str, None] = field(default_factory=dict)
    classes: dict[str, None] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        for tally in (self.total, self.slides.setdefault(outcome.field.slide, Tally())):
            tally.add(outcome)
        if isinstance(outcome, FieldFailure):
            self.failures.append({"field": outcome.field.id, "slide": outcome.field.slide, "stage": outcome.stage, "error": outcome.error})
            return
        self.detector_classes |= dict.fromkeys(outcome.detector_classes)
        self.classes |= dict.fromkeys(outcome.classes)
        for stage, value in outcome.seconds.items():
            self.seconds.setdefault(stage, []).append(value)
        self.fields.append(_field_row(outcome))
        for text in dict.fromkeys([*outcome.warnings, *(w for cell in outcome.cell_warnings for w in cell)]):
            self.warned.setdefault(text, []).append(outcome.field.id)

    def report(
        self, *, cards: Sequence[ModelCard] = (), config: Mapping[str, Any] | None = None, metrics: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What `summarise` returns, for the outcomes so far."""
        return jsonable(
            {
                "schema": SCHEMA,
                "notice": NOTICE,
                "confidence": CONFIDENCE,
                "classes": list(self.classes),
                "detector_classes": list(self.detector_classes),
                **_rows(self, cards),
                "fields": sorted(self.fields, key=lambda row: row["field"]),
                "failures": sorted(self.failures, key=lambda row: row["field"]),
                "warnings": _warnings(self.warned),
                "metrics": metrics,
                "cards": [_short_card(card) for card in cards],
                "config": config or {},
                "seconds": {stage: math.fsum(values) for stage, values in sorted(self.seconds.items())},
                "versions": versions(),
            }
        )


def _rows(fold: Fold, cards: Sequence[ModelCard]) -> dict[str, Any]:
    """`total` and `slides`, each with its counts and its blast estimate."""
    red_class = next((card.red_class for card in cards if card.red_class), RED_CLASS)

    def row(tally: Tally) -> dict[str, Any]:
        counts = tally_row(tally, tuple(fold.detector_classes), tuple(fold.classes), red_class)
        return {**counts, "blasts": blast_row(tally, tuple(fold.classes), cards)}

    return {
        "total": row(fold.total),
        "slides": [{"slide": name, **row(tally)} for name, tally in sorted(fold.slides.items())],
    }


def _warnings(warned: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Each kind of warning with its fields, the most frequent first; those that differ after the colon, in their numbers, are one kind."""
    kinds: dict[str, dict[str, None]] = {}
    texts: dict[str, list[str]] = {}
    for text, ids in warned.items():
        kind = text.split(": ", 1)[0]
        kinds[kind] = kinds.get(kind, {}) | dict.fromkeys(ids)
        texts.setdefault(kind, []).append(text)
    rows = [(texts[kind][0] if len(texts[kind]) == 1 else kind, sorted(ids)) for kind, ids in kinds.items()]
    return [
        {"warning": name, "n_fields": len(ids), "fields": ids[:EXAMPLES]} for name, ids in sorted(rows, key=lambda r: (-len(r[1]), r[0]))
    ]


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
        "quality": getattr(result, "quality", {}),
        "warnings": list(result.warnings),
        "seconds": sum(result.seconds.values()),
    }


def _short_card(card: ModelCard) -> dict[str, Any]:
    full = card.model_dump(mode="json")
    return {key: full.get(key) for key in CARD_KEYS}
