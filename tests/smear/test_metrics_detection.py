"""smear.metrics.detection: the numbers are COCO's, and a slow obvious version agrees."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear import boxes
from smear.metrics.detection import coco_metrics, match, operating_counts, pr_curves
from smear.types import Detections

CLASSES = ("WBC", "RBC", "Platelets")
IOUS = np.linspace(0.5, 0.95, 10)


def paint(rng, n_images=6, n_cells=7, n_classes=3):
    """Truth, and results that miss some cells, move some, invent some, with distinct scores."""
    truths, found = [], []
    scores = rng.permutation(np.linspace(0.05, 0.99, n_images * (n_cells + 3))).reshape(n_images, -1)
    for i in range(n_images):
        corner, size = rng.uniform(0, 300, (n_cells, 2)), rng.uniform(20, 60, (n_cells, 2))
        true = np.concatenate([corner, corner + size], axis=1)
        labels = rng.integers(0, n_classes, n_cells)
        kept = rng.random(n_cells) < 0.8
        moved = true[kept] + rng.normal(0, 4, (kept.sum(), 4))
        extra = rng.uniform(0, 300, (3, 2))
        all_boxes = np.concatenate([moved, np.concatenate([extra, extra + 30], axis=1)])
        all_labels = np.concatenate([labels[kept], rng.integers(0, n_classes, 3)])
        truths.append(Detections(true, np.ones(n_cells), labels))
        found.append(Detections(all_boxes, scores[i, : len(all_boxes)], all_labels))
    return truths, found


def slow_average_precision(truths, found, label, iou):
    """Rank all detections, match each to the best free true box, interpolate precision at 101 recalls."""
    ranked = sorted(
        ((d.scores[i], image, d.boxes[i]) for image, d in enumerate(found) for i in range(len(d)) if d.labels[i] == label),
        key=lambda row: -row[0],
    )
    true = {image: [b for b, name in zip(t.boxes, t.labels, strict=True) if name == label] for image, t in enumerate(truths)}
    n_truth = sum(map(len, true.values()))
    if not n_truth:
        return math.nan
    used, hits = set(), []
    for _, image, box in ranked:
        best, best_iou = None, iou
        for k, other in enumerate(true[image]):
            overlap = float(boxes.iou(box[None], other[None])[0, 0])
            if (image, k) not in used and overlap >= best_iou:
                best, best_iou = k, overlap
        hits.append(best is not None)
        if best is not None:
            used.add((image, best))
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        reached = [sum(hits[:k]) / k for k in range(1, len(hits) + 1) if sum(hits[:k]) / n_truth >= recall - 1e-12]
        total += max(reached, default=0.0)
    return total / 101


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_the_slow_version(seed):
    truths, found = paint(np.random.default_rng(seed))
    result = coco_metrics(truths, found, CLASSES)
    for label, name in enumerate(CLASSES):
        each = [slow_average_precision(truths, found, label, iou) for iou in IOUS]
        assert result["ap50"][name] == pytest.approx(each[0], abs=1e-6)
        assert result["ap50_95"][name] == pytest.approx(np.mean(each), abs=1e-6)
    assert result["map50"] == pytest.approx(np.mean(list(result["ap50"].values())))
    assert result["map50_95"] == pytest.approx(np.mean(list(result["ap50_95"].values())))


def test_no_fields_and_no_cells_leave_everything_undefined():
    for truths in ([], [Detections.empty()]):
        result = coco_metrics(truths, truths, CLASSES)
        assert all(math.isnan(result[key]) for key in ("map50", "map50_95", "precision", "recall"))
        assert result["n_truth"] == 0
        assert result["n_images"] == len(truths)


def test_detections_where_nothing_is_true_cost_precision_and_leave_average_precision_undefined():
    found = [Detections([[0, 0, 9, 9]], [0.9], [0])]
    result = coco_metrics([Detections.empty()], found, CLASSES)
    assert math.isnan(result["map50"])
    assert result["precision"] == 0
    assert math.isnan(result["recall"])


def test_nothing_found_scores_zero():
    truth = [Detections([[0, 0, 9, 9]], [1], [0])]
    result = coco_metrics(truth, [Detections.empty()], CLASSES)
    assert result["map50"] == result["recall"] == 0
    assert math.isnan(result["precision"])


def test_perfect_results_score_one_and_an_absent_class_is_left_out():
    truths, _ = paint(np.random.default_rng(1), n_classes=2)
    result = coco_metrics(truths, truths, CLASSES)
    assert [result[key] for key in ("map50", "map50_95", "precision", "recall")] == [1, 1, 1, 1]
    assert math.isnan(result["ap50"]["Platelets"])
    assert math.isnan(result["per_class"]["Platelets"]["recall"])


def test_a_field_with_400_cells_loses_none():
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 20.0
    truth = Detections(np.concatenate([grid, grid + 15], axis=1), np.linspace(0.3, 1, 400), np.ones(400))
    assert coco_metrics([truth], [truth], CLASSES)["map50"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_fields_and_cells_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truths, found = paint(rng)
    order = rng.permutation(len(truths))
    shuffled = [found[i].take(rng.permutation(len(found[i]))) for i in order]
    again = coco_metrics([truths[i].take(rng.permutation(len(truths[i]))) for i in order], shuffled, CLASSES)
    once = coco_metrics(truths, found, CLASSES)
    assert [again[key] for key in ("map50", "map50_95", "precision", "recall")] == pytest.approx(
        [once[key] for key in ("map50", "map50_95", "precision", "recall")]
    )
    assert again["per_class"] == once["per_class"]


def test_precision_and_recall_pool_the_classes_at_the_operating_confidence():
    truth = Detections([[0, 0, 10, 10], [50, 50, 60, 60], [80, 0, 90, 10]], [1, 1, 1], [0, 1, 1])
    found = Detections([[0, 0, 10, 10], [50, 50, 60, 60], [80, 0, 90, 10], [0, 50, 9, 60]], [0.9, 0.8, 0.2, 0.7], [0, 1, 1, 1])
    result = coco_metrics([truth], [found], CLASSES, confidence=0.25)
    assert result["precision"] == pytest.approx(2 / 3)
    assert result["recall"] == pytest.approx(2 / 3)
    assert result["per_class"]["RBC"] == {"precision": 0.5, "recall": 0.5, "n_truth": 2, "n_found": 2, "n_hits": 1}


def test_a_box_of_another_class_is_no_hit():
    truth, found = Detections([[0, 0, 10, 10]], [1], [0]), Detections([[0, 0, 10, 10]], [0.9], [1])
    assert [(c.n_truth, c.n_found, c.n_hits) for c in operating_counts([truth], [found], 2, confidence=0)] == [(1, 0, 0), (0, 1, 0)]


def test_boxes_are_clipped_to_the_field_when_its_size_is_known():
    truth, found = [Detections([[0, 0, 10, 10]], [1], [0])], [Detections([[-20, 0, 10, 10]], [0.9], [0])]
    assert coco_metrics(truth, found, CLASSES)["map50"] == 0
    assert coco_metrics(truth, found, CLASSES, shapes_hw=[(100, 100)])["map50_95"] == 1


def test_curves_are_given_for_the_classes_in_the_truth():
    truths, found = paint(np.random.default_rng(2), n_classes=2)
    curves = pr_curves(truths, found, CLASSES)
    assert list(curves) == ["WBC", "RBC"]
    assert len(curves["WBC"]) == 101
    assert np.mean(curves["WBC"]) == pytest.approx(coco_metrics(truths, found, CLASSES)["ap50"]["WBC"])
    assert (np.diff(curves["WBC"]) <= 0).all()


@pytest.mark.parametrize("found", [[], [Detections([[0, 0, 1, 1]], [1], [3])]])
def test_lengths_and_labels_are_checked(found):
    with pytest.raises(ValueError, match=r"results|outside"):
        coco_metrics([Detections.empty()], found, CLASSES)


def test_a_better_scored_box_takes_the_cell_and_its_twin_is_extra():
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    found = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [21, 0, 31, 10]], np.float32)
    assert match(truth, found).tolist() == [[0, 0], [1, 2]]
    assert match(truth, found, scores=np.array([0.1, 0.9, 0.5], np.float32)).tolist() == [[0, 1], [1, 2]]


def test_matching_nothing_with_something_gives_no_pairs():
    box, none = np.array([[0, 0, 9, 9]], np.float32), np.zeros((0, 4), np.float32)
    for truth, found in ((box, none), (none, box), (none, none)):
        assert match(truth, found).shape == (0, 2)


def test_boxes_that_do_not_touch_never_match_even_at_iou_zero():
    assert len(match(np.array([[0, 0, 9, 9]], np.float32), np.array([[20, 20, 30, 30]], np.float32), iou=0)) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 12), st.floats(0.1, 0.9))
def test_matches_are_one_to_one_and_overlap_enough(seed, n, m, iou):
    rng = np.random.default_rng(seed)
    truth, found = (np.tile(rng.uniform(0, 40, (k, 2)), 2).astype(np.float32) + np.array([0, 0, 20, 20], np.float32) for k in (n, m))
    pairs = match(truth, found, iou)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all(boxes.iou(truth[[t]], found[[f]])[0, 0] >= iou for t, f in pairs)
