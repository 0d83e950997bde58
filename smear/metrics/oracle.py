"""Whose loss is it: the run again with true boxes, and with true labels, in the place of our own."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.classification import classification_metrics
from smear.metrics.labels import label_metrics
from smear.metrics.pairs import Pair


def oracle_runs(pairs: Sequence[Pair], on_truth: NDArray[np.floating], classes: Sequence[str], *, positive: int = 0) -> dict[str, Any]:
    """Score the cells of known kind of the fields that could be read, three times; shares in [0, 1], NaN without a cell.

    - `true_boxes`: true boxes and our classifier (`classification_metrics`).
    - `true_labels`: our detector and true labels (`label_metrics`: a cell that no box matches is wrong, an extra detection is rejected).
    - `both`: our detector and our classifier, what we have (`label_metrics`).
    - `loss`: what accuracy lacks to 1, split cell by cell; the three parts add up to `total`. `detector`: lost, though the classifier is
      right on the true box (missed, or cut by a worse box). `classifier`: matched, and labelled wrongly with the true box too.
      `joint`: not matched, and the classifier would have been wrong anyway. `n` counts each, and `luck`: right with our box alone.

    Args:
        pairs: of `pair_cells`, cells of failed fields left out; extra detections count where precision is reckoned.
        on_truth: (K, C) probabilities on the true box of the K pairs of known kind, in their order; rows sum to 1.
        positive: index of the positive class.

    Raises:
        ValueError: `on_truth` has another length.
    """
    known = [p for p in pairs if p.truth is not None and p.truth >= 0]
    if len(known) != len(on_truth):
        raise ValueError(f"{len(known)} true cells, {len(on_truth)} labels on true boxes")
    truth = np.array([p.truth for p in known], np.int64)
    exact = np.eye(len(classes))[truth].reshape(-1, len(classes))
    told = [replace(p, probabilities=exact[i]) if p.found else p for i, p in enumerate(known)]  # our detector and true labels
    name = classes[positive]
    return {
        "true_boxes": classification_metrics(truth, on_truth, classes, positive=name),
        "true_labels": label_metrics(told, (), positive),
        "both": label_metrics(known, [p for p in pairs if p.found and not p.is_matched], positive),
        "loss": _split(known, truth, np.asarray(on_truth, np.float64).reshape(-1, len(classes))),
    }


def _split(known: Sequence[Pair], truth: NDArray[np.int64], on_truth: NDArray[np.float64]) -> dict[str, Any]:
    is_right = np.array([p.answer == p.truth for p in known], bool)
    is_matched = np.array([p.is_matched for p in known], bool)
    right_on_truth = on_truth.argmax(axis=1) == truth if len(truth) else np.zeros(0, bool)
    lost = ~is_right
    parts = {
        "detector": lost & right_on_truth,
        "classifier": lost & ~right_on_truth & is_matched,
        "joint": lost & ~right_on_truth & ~is_matched,
    }
    counts = {name: int(part.sum()) for name, part in parts.items()}
    share = {name: n / len(known) if known else math.nan for name, n in counts.items()}
    total = float(lost.mean()) if known else math.nan
    return {**share, "total": total, "n": {**counts, "luck": int((is_right & ~right_on_truth).sum()), "cells": len(known)}}
