"""smear.metrics.cell_sizes: bins in red cells, the same at every magnification."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.cell_sizes import BINS, by_size, true_rulers
from smear.metrics.detection import coco_metrics
from smear.types import Detections

CLASSES = ("WBC", "RBC")


def cell(x, diameter, label, score=1.0):
    return [x, 0, x + diameter, diameter], score, label


def field(*cells):
    return Detections([c[0] for c in cells], [c[1] for c in cells], [c[2] for c in cells]) if cells else Detections.empty()


def test_no_field_or_no_ruler_has_no_bins():
    assert by_size([], [], CLASSES, []) == {}
    assert by_size([field(cell(0, 50, 0))], [field()], CLASSES, [math.nan]) == {}


def test_every_cell_is_in_one_bin_and_the_ends_belong_to_the_upper_one():
    truth = [field(cell(0, 20, 1), cell(100, 60, 1), cell(300, 130, 0), cell(500, 199, 0), cell(800, 200, 0), cell(1200, 500, 0))]
    found = by_size(truth, truth, CLASSES, [100.0])
    assert [found[name]["n_truth"] for name, *_ in BINS] == [1, 1, 2, 2]
    assert [found[name]["ap50"] for name, *_ in BINS] == [1, 1, 1, 1]
    assert list(found["white-cell-sized"]["per_class"]) == ["WBC"]
    assert (found["platelet-sized"]["high_rbc"], found["platelet-sized"]["high_um"]) == (0.6, pytest.approx(4.5))


def test_a_missed_large_cell_costs_its_bin_alone():
    truth = [field(cell(0, 100, 1), cell(300, 250, 0))]
    found = by_size(truth, [field(cell(0, 100, 1, 0.9))], CLASSES, [100.0])
    assert (found["red-cell-sized"]["ap50"], found["larger"]["ap50"], found["larger"]["ar"]) == (1, 0, 0)
    assert math.isnan(found["platelet-sized"]["ap50"])
    assert found["platelet-sized"]["n_truth"] == 0


def test_an_extra_detection_costs_the_bin_of_its_own_size():
    truth = [field(cell(0, 100, 1), cell(300, 250, 1))]
    found = by_size(truth, [field(cell(0, 100, 1, 0.8), cell(300, 250, 1, 0.8), cell(700, 100, 1, 0.9))], CLASSES, [100.0])
    assert found["red-cell-sized"]["ap50"] == pytest.approx(0.5)
    assert found["larger"]["ap50"] == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 2.0, 4.0]))
def test_magnification_changes_nothing_and_one_bin_is_all_of_coco(seed, factor):
    rng = np.random.default_rng(seed)
    truth = [field(*(cell(300 * i, float(rng.integers(65, 125)), int(rng.integers(2))) for i in range(6))) for _ in range(3)]
    found = [Detections(np.clip(t.boxes + rng.normal(0, 6, t.boxes.shape), 0, None), rng.random(6), t.labels) for t in truth]
    once = by_size(truth, found, CLASSES, [100.0] * 3)
    larger = [[d.rescale((factor, factor)) for d in part] for part in (truth, found)]
    again = by_size(*larger, CLASSES, [100.0 * factor] * 3)
    for name, *_ in BINS:
        assert again[name]["n_truth"] == once[name]["n_truth"]
        assert again[name]["ap50_95"] == pytest.approx(once[name]["ap50_95"], abs=0.02, nan_ok=True)
    recalls, n = coco_metrics(truth, found, CLASSES)["ar"]["per_class"], [sum((t.labels == k).sum() for t in truth) for k in range(2)]
    of_all = np.average([recalls[c] for c in CLASSES if not math.isnan(recalls[c])], weights=[k for k in n if k])
    assert once["red-cell-sized"]["ar"] == pytest.approx(of_all)


def test_a_single_cell_of_another_class_is_not_half_of_its_bin():
    truth = [field(cell(0, 100, 0), *(cell(200 * i, 100, 1) for i in range(1, 10)))]
    found = by_size(truth, [truth[0].take(truth[0].labels == 1)], CLASSES, [100.0])["red-cell-sized"]
    assert found["ap50"] == pytest.approx(0.9)
    assert found["per_class"]["WBC"] == {"ap50": 0, "ap50_95": 0, "ar": 0, "n_truth": 1}


def test_fields_without_a_ruler_are_left_out():
    truth = [field(cell(0, 100, 1)), field(cell(0, 100, 1))]
    assert by_size(truth, truth, CLASSES, [100.0, math.nan])["red-cell-sized"]["n_truth"] == 1
    with pytest.raises(ValueError, match="2 truths, 1 rulers"):
        by_size(truth, truth, CLASSES, [100.0])


def test_the_ruler_is_the_median_whole_red_cell():
    reds = [cell(100 * i + 10, d, 1) for i, d in enumerate((40, 42, 44, 90))]
    at_edge = ([0.0, 10.0, 20.0, 50.0], 1.0, 1)
    shifted = field(*(([x0, 5, x1, y1 + 5], s, k) for (x0, _, x1, y1), s, k in reds), at_edge, cell(600, 80, 0))
    assert true_rulers([shifted], [(500, 900)], 1) == [pytest.approx(43)]
    assert math.isnan(true_rulers([field(*reds[:3])], [None], 1)[0])
    assert math.isnan(true_rulers([shifted], [(500, 900)], None)[0])
