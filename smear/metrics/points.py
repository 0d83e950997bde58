"""Boxes against points: where the truth is one point a cell, such as the centroids of ALL-IDB, a hit is a box round it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.metrics.statistics import Interval, bootstrap
from smear.types import Detections

CONFIDENCES = tuple(round(0.05 * k, 2) for k in range(1, 20))  # of the curve


def hit_points(points: NDArray[np.float64], found: NDArray[np.float32], *, scores: NDArray[np.float32] | None = None) -> NDArray[np.int64]:
    """Pair points with boxes one to one: each box, best score first, takes the free point inside it that is nearest to its centre.

    Args:
        points: (N, 2) x y, pixels. found: (M, 4), half-open, highest score first unless `scores` (M,) says otherwise.

    Returns:
        (K, 2) int64: index of the point, index of the box; K may be 0.
    """
    inside, distance = _inside(points, found), _distances(points, found)  # (M, N)
    order = range(len(found)) if scores is None else np.argsort(-scores, kind="stable")
    pairs = []
    for i in order if len(points) else ():
        away = np.where(inside[i], distance[i], np.inf)
        nearest = int(away.argmin())
        if math.isfinite(away[nearest]):
            pairs.append((nearest, int(i)))
            inside[:, nearest] = False  # taken
    return np.array(pairs, np.int64).reshape(-1, 2)


def point_metrics(
    points: Sequence[NDArray[np.float64]], found: Sequence[Detections], *, confidence: float, complete: bool = False
) -> dict[str, Any]:
    """How many points were hit; shares in [0, 1], higher is better, NaN where undefined.

    Args:
        points: (N_f, 2) of each field, N_f may be 0. found: one a field, in the same order and pixels, of the pointed classes alone.
        confidence: detections below this score do not count, but for the curve.
        complete: whether every cell of the class carries a point. If not (ALL-IDB points at blasts alone), a detection without
            a point is no error, and the precision is NaN.

    Returns:
        `recall`, `precision`, `offset` (median distance of a hit box's centre from its point, in halves of the box's mean side:
        0 is the centre, 1 about the border); `n_points` = `n_hits` + `n_missed`; `n_found` = `n_hits` + `n_doubled` (only round points that
        a better box has) + `n_without_point`; `n_fields`, `n_fields_with_points`, `confidence`, `complete`; `curve`: `confidence`, `recall`
        and `found_per_field` at each of `CONFIDENCES`.

    Raises:
        ValueError: the sequences differ in length.
    """
    if len(points) != len(found):
        raise ValueError(f"{len(points)} fields with points, {len(found)} results")
    sure = [d.take(d.scores >= confidence) for d in found]
    pairs = [hit_points(p, d.boxes, scores=d.scores) for p, d in zip(points, sure, strict=True)]
    n_points, n_found, n_hits = (sum(map(len, part)) for part in (points, sure, pairs))
    n_round_any = sum(int(_inside(p, d.boxes).any(axis=1).sum()) for p, d in zip(points, sure, strict=True))
    offsets = [_offsets(p[k[:, 0]], d.boxes[k[:, 1]]) for p, d, k in zip(points, sure, pairs, strict=True)]
    return {
        "recall": n_hits / n_points if n_points else math.nan,
        "precision": n_hits / n_found if complete and n_found else math.nan,
        "offset": float(np.median(np.concatenate(offsets))) if n_hits else math.nan,
        "n_points": n_points,
        "n_hits": n_hits,
        "n_missed": n_points - n_hits,
        "n_found": n_found,
        "n_doubled": n_round_any - n_hits,
        "n_without_point": n_found - n_round_any,
        "n_fields": len(points),
        "n_fields_with_points": sum(len(p) > 0 for p in points),
        "confidence": confidence,
        "complete": complete,
        "curve": _curve(points, found),
    }


def point_intervals(
    points: Sequence[NDArray[np.float64]], found: Sequence[Detections], groups: Sequence[str], *, confidence: float, complete: bool = False,
    n_resamples: int = 1000, seed: int = 0, unit: str = "group",
) -> dict[str, Interval]:  # fmt: skip
    """95 % intervals of `recall` and `precision` of `point_metrics`, drawing whole groups of fields again; arguments as there.

    Args:
        groups: the slide (patient, field) of each field. unit: what a group is.

    Raises:
        ValueError: the sequences differ in length.
    """
    if not len(points) == len(found) == len(groups):
        raise ValueError(f"{len(points)} fields with points, {len(found)} results, {len(groups)} groups")
    sure = [d.take(d.scores >= confidence) for d in found]
    hits = [len(hit_points(p, d.boxes, scores=d.scores)) for p, d in zip(points, sure, strict=True)]
    counts = np.array([hits, [len(p) for p in points], [len(d) for d in sure]], np.int64).reshape(3, -1)
    telling = np.ones(len(points), bool) if complete else counts[1] > 0  # a field without a point says nothing about the recall
    counts, groups = counts[:, telling], [name for name, kept in zip(groups, telling, strict=True) if kept]

    def score(index: NDArray[np.int64]) -> Mapping[str, float]:
        n_hits, n_points, n_found = counts[:, index].sum(axis=1)
        recall = float(n_hits / n_points) if n_points else math.nan
        return {"recall": recall, "precision": float(n_hits / n_found) if complete and n_found else math.nan}

    return bootstrap(groups, score, n_resamples=n_resamples, seed=seed, unit=unit)


def _curve(points: Sequence[NDArray[np.float64]], found: Sequence[Detections]) -> dict[str, list[float]]:
    """A box takes the same point whatever the boxes of lower score do, so one matching serves every confidence."""
    pairs = [hit_points(p, d.boxes, scores=d.scores) for p, d in zip(points, found, strict=True)]
    of_hits = np.concatenate([np.zeros(0, np.float32), *(d.scores[k[:, 1]] for d, k in zip(found, pairs, strict=True))])
    of_all = np.concatenate([np.zeros(0, np.float32), *(d.scores for d in found)])
    n_points, n_fields = sum(map(len, points)), len(points)
    return {
        "confidence": list(CONFIDENCES),
        "recall": [float((of_hits >= c).sum() / n_points) if n_points else math.nan for c in CONFIDENCES],
        "found_per_field": [float((of_all >= c).sum() / n_fields) if n_fields else math.nan for c in CONFIDENCES],
    }


def _inside(points: NDArray[np.float64], found: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M, N): whether box i holds point j."""
    return np.asarray(((found[:, None, :2] <= points[None]) & (points[None] < found[:, None, 2:])).all(axis=2))


def _distances(points: NDArray[np.float64], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """(M, N) pixels from the centre of box i to point j."""
    return np.sqrt(((boxes.centres(found)[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2))


def _offsets(points: NDArray[np.float64], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """(K,) distance of each point from the centre of its box, in halves of the box's mean side."""
    away = np.sqrt(((boxes.centres(found).astype(np.float64) - points) ** 2).sum(axis=1))
    return np.asarray(away / (boxes.diameters(found).astype(np.float64) / 2))
