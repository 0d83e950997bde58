"""Running counts of one slide or of a whole run, and the row of the report that they become."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smear.metrics.statistics import clopper_pearson
from smear.types import FieldFailure, Outcome

CONFIDENCE = 0.95
RED_CLASS, PLATELET_CLASS = "RBC", "Platelets"  # the detector's card may name another red class


@dataclass
class Tally:
    """Counts that grow with every outcome; `labels` and `review_labels` by class, the scale by field."""

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

    @property
    def n_labelled(self) -> int:
        return sum(self.labels.values())

    def add(self, outcome: Outcome) -> None:
        """Count one field; a failed one counts as that alone."""
        self.n_fields += 1
        if isinstance(outcome, FieldFailure):
            self.n_failed += 1
            return
        self.detected.update({name: outcome.count(name) for name in outcome.detector_classes})
        self.sources[outcome.scale.source] += 1
        if outcome.scale.is_known:
            self.rbc_px.append(outcome.scale.rbc_px)
            self.spread.append(outcome.scale.spread)
        for cell in outcome.cells():
            self.n_white += 1
            self.n_review += cell.needs_review
            if cell.label:
                self.labels[cell.label] += 1
                self.review_labels[cell.label] += cell.needs_review


def tally_row(tally: Tally, detector_classes: Sequence[str], classes: Sequence[str], red_class: str) -> dict[str, Any]:
    """Counts, shares of the labelled cells with their exact intervals, and the scale; what the detector does not know is None."""
    n_red = tally.detected[red_class] if red_class in detector_classes else None
    return {
        "n_fields": tally.n_fields,
        "n_failed_fields": tally.n_failed,
        "n_white": tally.n_white,
        "n_red": n_red,
        "n_platelets": tally.detected[PLATELET_CLASS] if PLATELET_CLASS in detector_classes else None,
        "wbc_per_rbc": tally.n_white / n_red if n_red else None,
        "n_labelled": tally.n_labelled,
        "n_needs_review": tally.n_review,
        "labels": {name: _share(tally.labels[name], tally.n_labelled, tally.review_labels[name]) for name in classes},
        "scale": _scale(tally),
    }


def _share(k: int, n: int, n_review: int) -> dict[str, Any]:
    low, high = clopper_pearson(k, n, CONFIDENCE)
    return {"n": k, "of": n, "share": k / n if n else None, "low": low, "high": high, "n_needs_review": n_review}


def _scale(tally: Tally) -> dict[str, Any]:
    return {
        "rbc_px": _median_known(tally.rbc_px),
        "rbc_px_low": min(tally.rbc_px, default=None),
        "rbc_px_high": max(tally.rbc_px, default=None),
        "spread": _median_known(tally.spread),
        "n_unknown": tally.n_fields - tally.n_failed - len(tally.rbc_px),
        "sources": dict(sorted(tally.sources.items())),
    }


def _median_known(values: Sequence[float]) -> float | None:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else None
