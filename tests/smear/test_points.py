"""smear.metrics.points: a hit is a box round a point, one to one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.points import CONFIDENCES, hit_points, point_intervals, point_metrics
from smear.types import Detections


def at(*places):
    return np.array(places, np.float64).reshape(-1, 2)


def found(*rows):
    """Detections from (x0, y0, x1, y1, score)."""
    return Detections([r[:4] for r in rows], [r[4] for r in rows], [0] * len(rows)) if rows else Detections.empty()


def slow_hits(points, boxes, scores):
    """Best score first, the nearest free point inside."""
    free, n = set(range(len(points))), 0
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        x0, y0, x1, y1 = boxes[i]
        held = [j for j in free if x0 <= points[j][0] < x1 and y0 <= points[j][1] < y1]
        if held:
            free.remove(min(held, key=lambda j: math.dist(points[j], ((x0 + x1) / 2, (y0 + y1) / 2))))
            n += 1
    return n


def test_nothing_pointed_and_nothing_found_is_undefined():
    for points in ([], [at()]):
        result = point_metrics(points, [Detections.empty()] * len(points), confidence=0.5)
        assert math.isnan(result["recall"])
        assert math.isnan(result["offset"])
        assert result["n_points"] == result["n_found"] == 0
        assert len(result["curve"]["recall"]) == len(CONFIDENCES)


def test_a_worked_example():
    points = [at((10, 10), (50, 50), (90, 90))]
    boxes = [found((0, 0, 20, 20, 0.9), (2, 2, 22, 22, 0.8), (45, 45, 65, 65, 0.7), (200, 200, 220, 220, 0.9), (80, 80, 100, 100, 0.1))]
    result = point_metrics(points, boxes, confidence=0.5)
    assert [result[k] for k in ("n_points", "n_hits", "n_missed")] == [3, 2, 1]
    assert [result[k] for k in ("n_found", "n_doubled", "n_without_point")] == [4, 1, 1]
    assert result["recall"] == pytest.approx(2 / 3)
    assert math.isnan(result["precision"])
    assert result["offset"] == pytest.approx((0 + math.hypot(5, 5) / 10) / 2)
    assert point_metrics(points, boxes, confidence=0.5, complete=True)["precision"] == 0.5
    assert result["curve"]["recall"][CONFIDENCES.index(0.1)] == 1
    assert result["curve"]["found_per_field"][CONFIDENCES.index(0.9)] == 2


def test_a_perfect_run_hits_every_centre():
    points = [at((10, 10)), at(), at((30, 30), (60, 60))]
    boxes = [found(*((x - 5, y - 5, x + 5, y + 5, 0.9) for x, y in p)) for p in points]
    result = point_metrics(points, boxes, confidence=0.5, complete=True)
    assert (result["recall"], result["precision"], result["offset"]) == (1, 1, 0)
    assert (result["n_fields"], result["n_fields_with_points"]) == (3, 2)


def test_a_box_round_two_points_takes_the_nearer_one_alone():
    pairs = hit_points(at((2, 10), (11, 10)), np.float32([[0, 0, 20, 20]]))
    assert pairs.tolist() == [[1, 0]]


def test_the_border_of_a_box_is_half_open():
    box = np.float32([[10, 10, 20, 20]])
    assert len(hit_points(at((10, 10)), box)) == 1
    assert len(hit_points(at((20, 15)), box)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 8), st.integers(0, 8))
def test_hits_are_one_to_one_inside_and_as_many_as_the_slow_version_says(seed, n, m):
    rng = np.random.default_rng(seed)
    points, corner = rng.uniform(0, 60, (n, 2)), rng.uniform(0, 50, (m, 2)).astype(np.float32)
    boxes, scores = np.concatenate([corner, corner + np.float32(25)], axis=1), rng.permutation(np.linspace(0.1, 0.9, m)).astype(np.float32)
    pairs = hit_points(points, boxes, scores=scores)
    assert len(pairs) == slow_hits(points, boxes, scores)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all((boxes[b, :2] <= points[p]).all() and (points[p] < boxes[b, 2:]).all() for p, b in pairs)
    order = rng.permutation(m)
    assert len(hit_points(points, boxes[order], scores=scores[order])) == len(pairs)
    detections = [Detections(boxes, scores, np.zeros(m))]
    curve = point_metrics([points], detections, confidence=0.3)["curve"]
    for c, recall in itertools.islice(zip(curve["confidence"], curve["recall"], strict=True), 0, None, 4):
        again = point_metrics([points], detections, confidence=c)["recall"]
        assert recall == pytest.approx(again, nan_ok=True)


def test_intervals_come_from_the_slides():
    points = [at((10, 10))] * 6
    boxes = [found((0, 0, 20, 20, 0.9)) if i % 2 else Detections.empty() for i in range(6)]
    intervals = point_intervals(points, boxes, list("aabbcc"), confidence=0.5, n_resamples=200, unit="slide")
    assert intervals["recall"].value == intervals["recall"].low == intervals["recall"].high == 0.5  # every slide has hit one of two
    by_field = point_intervals(points, boxes, list("abcdef"), confidence=0.5, n_resamples=200)["recall"]
    assert by_field.low < 0.5 < by_field.high
    assert math.isnan(intervals["precision"].value)


def test_a_field_without_a_point_makes_the_recall_no_surer():
    points, boxes = [at((10, 10)), at(), at()], [found((0, 0, 20, 20, 0.9))] * 3
    assert point_intervals(points, boxes, list("abc"), confidence=0.5, n_resamples=50)["recall"].n_groups == 1
    assert point_intervals(points, boxes, list("abc"), confidence=0.5, n_resamples=50, complete=True)["precision"].n_groups == 3


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="1 fields with points, 0 results"):
        point_metrics([at()], [], confidence=0.5)
    with pytest.raises(ValueError, match="0 groups"):
        point_intervals([at()], [Detections.empty()], [], confidence=0.5)
