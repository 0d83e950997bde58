"""smear.metrics.whole_cells: what the border cuts changes nothing, and everything else counts as in COCO."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear.metrics.detection import coco_metrics
from smear.metrics.whole_cells import BORDER_PX, whole_cells
from smear.types import Detections

CLASSES = ("WBC", "RBC")
SHAPE = (200, 300)
WHOLE, CUT, CUT_TOO = [50, 50, 90, 90], [260, 50, 300, 90], [100, 198 - 40, 140, 198]


def boxes(*rows, label=1, score=0.9):
    return Detections(list(rows), [score] * len(rows), [label] * len(rows)) if rows else Detections.empty()


def test_a_cut_cell_is_neither_missed_nor_wrong():
    truth = [boxes(WHOLE, CUT, CUT_TOO)]
    missed = whole_cells(truth, [boxes(WHOLE)], CLASSES, [SHAPE])
    assert (missed["map50"], missed["n_truth"], missed["n_cut"]) == (1.0, {"WBC": 0, "RBC": 1}, 2)
    unlabelled = whole_cells([boxes(WHOLE)], [Detections.concat([boxes(CUT, score=0.99), boxes(WHOLE)])], CLASSES, [SHAPE])
    assert unlabelled["map50"] == 1.0
    assert coco_metrics([boxes(WHOLE)], [Detections.concat([boxes(CUT, score=0.99), boxes(WHOLE)])], CLASSES, confidence=0.5)["map50"] < 1


def test_whole_cells_count_as_ever():
    extra = Detections.concat([boxes([150, 50, 190, 90], score=0.99), boxes(WHOLE)])
    assert whole_cells([boxes(WHOLE)], [extra], CLASSES, [SHAPE])["ap50"]["RBC"] == pytest.approx(0.5, abs=0.01)
    assert whole_cells([boxes(WHOLE, [150, 50, 190, 90])], [boxes(WHOLE)], CLASSES, [SHAPE])["ap50"]["RBC"] == pytest.approx(0.5, abs=0.01)


def test_a_box_that_reaches_the_border_still_finds_a_cell_that_does_not():
    truth, found = [boxes([3, 50, 43, 90])], [boxes([1, 50, 43, 90])]
    assert whole_cells(truth, found, CLASSES, [SHAPE])["map50"] == 1.0


def test_a_field_of_unknown_size_cuts_nothing_and_no_cells_are_no_number():
    found = whole_cells([boxes(CUT)], [Detections.empty()], CLASSES, [None])
    assert (found["map50"], found["n_cut"]) == (0.0, 0)
    assert math.isnan(whole_cells([boxes(CUT)], [boxes(CUT)], CLASSES, [SHAPE])["map50"])
    assert math.isnan(whole_cells([], [], CLASSES, [])["map50_95"])


@given(st.lists(st.tuples(st.integers(3, 250), st.integers(3, 150), st.integers(0, 1), st.booleans()), min_size=1, max_size=12))
def test_without_cut_cells_it_is_cocos_number(rows):
    truth = Detections([[x, y, x + 40, y + 40] for x, y, *_ in rows], [1.0] * len(rows), [label for *_, label, _ in rows])
    found = truth.take(np.array([kept for *_, kept in rows]))
    shape = (int(200 + BORDER_PX), int(300 + BORDER_PX))
    own, cocos = whole_cells([truth], [found], CLASSES, [shape]), coco_metrics([truth], [found], CLASSES, confidence=0.5)
    assert own["n_cut"] == 0
    assert own["map50"] == pytest.approx(cocos["map50"])
    assert own["map50_95"] == pytest.approx(cocos["map50_95"])
