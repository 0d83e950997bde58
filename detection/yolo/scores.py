"""How ultralytics itself would score the same boxes; its numbers stand beside those of COCOeval."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import ap_per_class, smooth

from smear import boxes
from smear.types import Detections


@dataclass(frozen=True)
class Hits:
    """ultralytics' matching of M detections: correct (M, 10) at its IoU thresholds, scores, labels (M,), and every true label (T,)."""

    correct: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray


def own_hits(truths: Sequence[Detections], found: Sequence[Detections]) -> Hits:
    """ultralytics' own matching of the same boxes, field by field."""
    by_score = [d.take(np.argsort(-d.scores, kind="stable")) for d in found]
    matcher = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    hits = [np.zeros((0, 10), bool)]
    for truth, d in zip(truths, by_score, strict=True):
        overlap = torch.from_numpy(boxes.iou(truth.boxes, d.boxes))
        labels = (torch.tensor(d.labels), torch.tensor(truth.labels))
        hits.append(BaseValidator.match_predictions(matcher, *labels, overlap).numpy().reshape(-1, 10))
    every = Detections.concat(by_score)
    true_labels = np.concatenate([np.zeros(0, np.int64), *(t.labels for t in truths)])
    return Hits(np.concatenate(hits), every.scores, every.labels, true_labels)


def score_hits(hits: Hits, classes: Sequence[str]) -> dict[str, Any]:
    """ultralytics' map50, map50_95, precision and recall, the `confidence` it reads the last two at, and `ap50`, `ap50_95` by class."""
    _, _, precision, recall, _, ap, present, _, _, f1, at, _ = ap_per_class(hits.correct, hits.scores, hits.labels, hits.true_labels)
    parts = {"map50": ap[:, 0], "map50_95": ap, "precision": precision, "recall": recall} if len(ap) else {}
    numbers = {name: float(np.mean(parts[name])) if parts else float("nan") for name in ("map50", "map50_95", "precision", "recall")}
    return {
        **numbers,
        "confidence": float(at[smooth(f1.mean(0), 0.1).argmax()]) if len(ap) else float("nan"),  # as ap_per_class chooses it
        "ap50": {classes[k]: float(v) for k, v in zip(present, ap[:, 0], strict=True)} if len(ap) else {},
        "ap50_95": {classes[k]: float(v) for k, v in zip(present, ap.mean(axis=1), strict=True)} if len(ap) else {},
    }


def own_metrics(truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, float]:
    """ultralytics' own numbers for the same boxes: map50, map50_95, and precision and recall at its best-F1 confidence."""
    numbers = score_hits(own_hits(truths, found), classes)
    return {name: numbers[name] for name in ("map50", "map50_95", "precision", "recall")}
