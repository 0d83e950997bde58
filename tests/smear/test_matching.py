"""smear.metrics.matching: adding up again is COCOeval on the resampled fields, number by number."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.detection import coco_metrics
from smear.metrics.matching import bootstrap_detection, hits_at, interpolated, match_fields, scores_of
from smear.metrics.statistics import group_members, interval_of, resamples
from smear.types import Detections

CLASSES = ("WBC", "RBC", "Platelets")


def paint(seed, n_fields=5, n_classes=3):
    """Truth, and results that miss, move and invent cells, with crowded boxes and distinct scores; field 0 is empty."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    scores = iter(rng.permutation(np.linspace(0.01, 0.99, n_fields * 20)).astype(np.float32))
    for f in range(n_fields):
        n = 0 if f == 0 else int(rng.integers(1, 9))
        corner, size = rng.uniform(0, 120, (n, 2)), rng.uniform(20, 50, (n, 2))
        boxes, labels = np.concatenate([corner, corner + size], axis=1), rng.integers(0, n_classes, n)
        again = rng.integers(0, max(n, 1), int(rng.integers(0, 10)) if n else 0)
        moved = boxes[again] + rng.normal(0, 4, (len(again), 4))
        truths.append(Detections(boxes, np.ones(n), labels))
        found.append(Detections(moved, [next(scores) for _ in again], labels[again]))
    return truths, found


def slow_scores(truths, found, index):
    """COCOeval on the drawn fields themselves."""
    result = coco_metrics([truths[i] for i in index], [found[i] for i in index], CLASSES, confidence=0.3)
    flat = {key: result[key] for key in ("map50", "map50_95", "precision", "recall")}
    for name in CLASSES:
        flat |= {f"{key}.{name}": result[key][name] for key in ("ap50", "ap50_95")}
        flat |= {f"per_class.{name}.{key}": result["per_class"][name][key] for key in ("precision", "recall")}
    return flat


@pytest.mark.parametrize("seed", range(8))
def test_a_weighted_sum_is_cocoeval_on_the_drawn_fields(seed):
    truths, found = paint(seed)
    matched = match_fields(truths, found, 3, confidence=0.3)
    for drawn in resamples(len(truths), n_resamples=6, seed=seed):
        fast = scores_of(matched, np.bincount(drawn, minlength=len(truths)), CLASSES)
        assert fast == pytest.approx(slow_scores(truths, found, drawn), abs=1e-9, nan_ok=True)


def test_the_intervals_are_those_of_the_slow_bootstrap():
    truths, found = paint(3, n_fields=6)
    groups = ["a", "a", "b", "c", "c", "d"]
    members = group_members(groups)
    slow = [slow_scores(truths, found, np.concatenate([members[g] for g in d])) for d in resamples(4, n_resamples=30, seed=7)]
    fast = bootstrap_detection(truths, found, CLASSES, groups, confidence=0.3, n_resamples=30, seed=7, unit="slide")
    for name, value in slow_scores(truths, found, range(6)).items():
        expected = interval_of(value, np.array([s[name] for s in slow]), n_groups=4, unit="slide")
        assert fast[name].method == expected.method
        assert [fast[name].value, fast[name].low, fast[name].high] == pytest.approx(
            [expected.value, expected.low, expected.high], abs=1e-9, nan_ok=True
        )


def test_no_fields_and_no_cells_are_undefined():
    for truths in ([], [Detections.empty()] * 3):
        found = bootstrap_detection(truths, truths, CLASSES, [str(i) for i in range(len(truths))], n_resamples=5)
        assert all(math.isnan(i.value) and math.isnan(i.low) and math.isnan(i.high) for i in found.values())


def test_perfect_results_are_one_but_not_certain():
    truths, _ = paint(1, n_fields=9)
    found = bootstrap_detection(truths, truths, CLASSES, [str(i) for i in range(9)], n_resamples=50)["map50"]
    assert found.value == found.high == 1
    assert 0.6 < found.low < 1


def test_groups_must_be_as_many_as_fields():
    with pytest.raises(ValueError, match="1 groups, 0 fields"):
        bootstrap_detection([], [], CLASSES, ["a"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_true_cell_is_taken_once_whatever_the_order_of_the_boxes(seed):
    truths, found = paint(seed, n_fields=2, n_classes=1)
    hits = hits_at(truths[1].boxes, found[1].boxes, found[1].scores)
    assert hits.shape == (len(found[1]), 10)
    assert (hits.sum(axis=0) <= len(truths[1])).all()
    shuffled = np.random.default_rng(seed).permutation(len(found[1]))
    assert (hits_at(truths[1].boxes, found[1].boxes[shuffled], found[1].scores[shuffled]) == hits[shuffled]).all()


def test_interpolation_by_hand():
    """Hits at ranks 1 and 3 of 2 true cells: precision 1 up to recall 0.5 (51 of the 101 recalls), 2/3 above."""
    assert interpolated(np.array([1, 2]), np.array([1, 3]), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert interpolated(np.array([], int), np.array([], int), 2) == 0


def test_a_hundred_fields_take_seconds_not_minutes():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 600, (100, 40, 2))
    truths = [Detections(np.concatenate([c, c + 40], axis=1), np.ones(40), np.arange(40) % 3) for c in corner]
    found = [Detections(t.boxes + rng.normal(0, 3, t.boxes.shape), rng.random(40), t.labels) for t in truths]
    started = time.process_time()
    bootstrap_detection(truths, found, CLASSES, [str(i // 5) for i in range(100)], n_resamples=100)
    assert time.process_time() - started < 5
