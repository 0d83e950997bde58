"""COCO's matching done once, so that a resample of the fields is scored by adding up again: what makes a bootstrap of mAP cheap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smear.metrics.coco import IOUS, RECALLS, mean_of_known
from smear.metrics.detection import OPERATING_IOU, checked, match
from smear.metrics.statistics import Interval, group_members, interval_of, resamples
from smear.types import Detections


@dataclass(frozen=True)
class Matched:
    """Every detection of F fields with what COCO makes of it, best score first; equal scores in the order of the fields.

    field, label (M,) int64; hits (M, 10) bool, whether it takes a true cell at each of COCO's IoU thresholds; n_truth (F, C) int64.
    counts (F, C, 3) int64: true, found and hit at the operating confidence and IoU 0.5.
    """

    field: NDArray[np.int64]
    label: NDArray[np.int64]
    hits: NDArray[np.bool_]
    n_truth: NDArray[np.int64]
    counts: NDArray[np.int64]


def match_fields(truths: Sequence[Detections], found: Sequence[Detections], n_classes: int, *, confidence: float = 0.25) -> Matched:
    """Match every field once, class by class.

    Raises:
        ValueError: the sequences differ in length, or a label is outside the classes.
    """
    found = checked(truths, found, n_classes, None)
    hits, counts = [np.zeros((0, len(IOUS)), bool)], np.zeros((len(truths), n_classes, 3), np.int64)
    for f, (truth, seen) in enumerate(zip(truths, found, strict=True)):
        taken = np.zeros((len(seen), len(IOUS)), bool)
        for k in range(n_classes):
            true, rows = truth.boxes[truth.labels == k], np.flatnonzero(seen.labels == k)
            taken[rows] = hits_at(true, seen.boxes[rows], seen.scores[rows])
            sure = rows[seen.scores[rows] >= confidence]
            counts[f, k] = len(true), len(sure), len(match(true, seen.boxes[sure], OPERATING_IOU, scores=seen.scores[sure]))
        hits.append(taken)
    every = Detections.concat(found)
    field = np.repeat(np.arange(len(found)), [len(d) for d in found])
    order = np.argsort(-every.scores, kind="stable")
    return Matched(field[order], every.labels[order], np.concatenate(hits)[order], counts[:, :, 0], counts)


def hits_at(truth: NDArray[np.float32], found: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M, 10): which boxes take a true one at COCO's ten IoU; best score first, each takes the free one that it overlaps most."""
    hits = np.zeros((len(found), len(IOUS)), bool)
    if not len(truth):
        return hits
    overlap = _iou(found, truth)  # (M, N)
    free = np.ones((len(IOUS), len(truth)), bool)
    each = np.arange(len(IOUS))
    for i in np.argsort(-scores, kind="stable"):
        if overlap[i].max() < IOUS[0]:
            continue
        available = np.where(free, overlap[i], -1.0)  # (10, N)
        best = available.argmax(axis=1)
        hits[i] = available[each, best] >= IOUS
        free[each[hits[i]], best[hits[i]]] = False
    return hits


def average_precisions(matched: Matched, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, 10) COCO average precision when field f occurs `weights[f]` times; NaN for a class without a true cell.

    The curve has a point at every hit: between hits precision only falls, so the interpolated curve is that of COCOeval.
    """
    n_classes = matched.n_truth.shape[1]
    found = np.full((n_classes, len(IOUS)), math.nan)
    n_truth = weights @ matched.n_truth  # (C,)
    for k in np.flatnonzero(n_truth):
        rows = matched.label == k
        weight, hits = weights[matched.field[rows]], matched.hits[rows]
        seen = np.cumsum(weight)
        for t in range(len(IOUS)):
            at = np.flatnonzero(hits[:, t])
            found[k, t] = interpolated(np.cumsum(weight[at]), seen[at], int(n_truth[k]))
    return found


def interpolated(n_hits: NDArray[np.int64], n_seen: NDArray[np.int64], n_truth: int) -> float:
    """COCO's average precision from the hits and detections seen so far, at every hit: 101 recalls, best precision from there on.

    Args:
        n_hits, n_seen: (K,) not falling; K may be 0.
    """
    if not len(n_hits) or not n_hits[-1]:
        return 0.0
    precision = np.maximum.accumulate((n_hits / np.maximum(n_seen, 1))[::-1])[::-1]
    at = np.searchsorted(n_hits / n_truth, RECALLS, side="left")
    return float(np.append(precision, 0.0)[at].mean())


def bootstrap_detection(
    truths: Sequence[Detections],
    found: Sequence[Detections],
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    confidence: float = 0.25,
    n_resamples: int = 1000,
    seed: int = 0,
    unit: str = "group",
) -> dict[str, Interval]:
    """95 % intervals of the numbers of `coco_metrics`, drawing whole groups of fields again.

    Args:
        groups: the slide (patient, field) of each field. confidence: the operating point. unit: what a group is.

    Returns:
        `map50`, `map50_95`, `precision`, `recall`, and for each class `ap50.NAME`, `ap50_95.NAME`, `per_class.NAME.precision` and
        `per_class.NAME.recall`; NaN where undefined.

    Raises:
        ValueError: the sequences differ in length, or a label is outside `classes`.
    """
    if len(groups) != len(truths):
        raise ValueError(f"{len(groups)} groups, {len(truths)} fields")
    matched = match_fields(truths, found, len(classes), confidence=confidence)
    members = group_members(groups)
    which = np.zeros(len(truths), np.int64)
    for g, fields in enumerate(members):
        which[fields] = g
    whole = scores_of(matched, np.ones(len(truths), np.int64), classes)
    draws = [
        scores_of(matched, np.bincount(drawn, minlength=len(members))[which], classes)
        for drawn in resamples(len(members), n_resamples=n_resamples, seed=seed)
    ]
    return {name: interval_of(value, np.array([d[name] for d in draws]), n_groups=len(members), unit=unit) for name, value in whole.items()}


def scores_of(matched: Matched, weights: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """The numbers of `bootstrap_detection` when field f occurs `weights[f]` times."""
    ap = average_precisions(matched, weights)  # (C, 10)
    true, seen, hits = np.tensordot(weights, matched.counts, axes=1).T  # (C,) each
    scores = {
        "map50": mean_of_known(ap[:, 0]),
        "map50_95": mean_of_known(ap.mean(axis=1)),
        "precision": _share(hits.sum(), seen.sum()),
        "recall": _share(hits.sum(), true.sum()),
    }
    for k, name in enumerate(classes):
        scores |= {f"ap50.{name}": float(ap[k, 0]), f"ap50_95.{name}": float(ap[k].mean())}
        scores |= {f"per_class.{name}.precision": _share(hits[k], seen[k]), f"per_class.{name}.recall": _share(hits[k], true[k])}
    return scores


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(M, N) in double precision from corner, width and height, as COCO computes it."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None] + np.prod(b[:, 2:] - b[:, :2], axis=1)[None]
    return np.divide(inter, areas - inter, out=np.zeros_like(inter), where=areas > inter)


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else math.nan
