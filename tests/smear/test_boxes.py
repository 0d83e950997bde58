"""Box geometry on cases small enough to check by eye; the laws are in tests/property."""

import numpy as np
import pytest

from smear import boxes
from smear.types import Detections

NONE = np.zeros((0, 4), np.float32)


def rows(*values) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 4)


def test_no_boxes_keep_every_shape():
    assert boxes.from_yolo(NONE, (10, 20)).shape == (0, 4)
    assert boxes.to_yolo(NONE, (10, 20)).shape == (0, 4)
    assert boxes.clip(NONE, (10, 20)).shape == (0, 4)
    assert boxes.centres(NONE).shape == (0, 2)
    assert boxes.iou(NONE, rows([0, 0, 1, 1])).shape == (0, 1)
    assert boxes.iou(rows([0, 0, 1, 1]), NONE).shape == (1, 0)
    assert boxes.area(NONE).shape == boxes.diameters(NONE).shape == boxes.touches_edge(NONE, (10, 20)).shape == (0,)
    assert len(boxes.suppress(Detections.empty(), iou_above=0.5)) == 0


def test_yolo_rows_are_centre_and_size_relative_to_width_and_height():
    assert boxes.from_yolo(rows([0.5, 0.5, 1, 0.5]), (100, 200)).tolist() == [[0, 25, 200, 75]]
    assert boxes.to_yolo(rows([0, 25, 200, 75]), (100, 200)).tolist() == [[0.5, 0.5, 1, 0.5]]


@pytest.mark.parametrize(
    ("box", "clipped"),
    [([-5, -5, 5, 5], [0, 0, 5, 5]), ([15, 5, 25, 15], [15, 5, 20, 10]), ([-9, 2, -3, 4], [0, 2, 0, 4]), ([1, 2, 3, 4], [1, 2, 3, 4])],
)
def test_clip_keeps_the_part_inside(box, clipped):
    assert boxes.clip(rows(box), (10, 20)).tolist() == [clipped]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0),
        ([0, 0, 2, 2], [9, 9, 9, 9], 0),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0),
        ([0, 0, 4, 4], [1, 1, 3, 3], 0.25),
    ],
)
def test_iou_by_hand(a, b, expected):
    assert boxes.iou(rows(a), rows(b))[0, 0] == pytest.approx(expected)


def test_area_centre_and_diameter_by_hand():
    box = rows([1, 2, 5, 8])
    assert (boxes.area(box).tolist(), boxes.centres(box).tolist(), boxes.diameters(box).tolist()) == ([24], [[3, 5]], [5])


@pytest.mark.parametrize(
    ("box", "touches"),
    [([1, 3, 5, 5], True), ([3, 1, 5, 5], True), ([3, 3, 19, 5], True), ([3, 3, 5, 9], True), ([1.5, 1.5, 18.5, 8.5], False)],
)
def test_a_box_within_a_pixel_of_the_border_touches_it(box, touches):
    assert boxes.touches_edge(rows(box), (10, 20)).tolist() == [touches]


def test_of_two_boxes_of_one_class_the_better_stays():
    found = Detections(rows([0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]), [0.5, 0.8, 0.1], [0, 0, 0])
    assert boxes.suppress(found, iou_above=0.5).boxes[:, 0].tolist() == [1, 50]


def test_boxes_of_two_classes_do_not_suppress_each_other():
    found = Detections(rows([0, 0, 10, 10], [0, 0, 10, 10]), [0.5, 0.8], [0, 1])
    assert boxes.suppress(found, iou_above=0.5).labels.tolist() == [1, 0]


def test_an_overlap_of_exactly_the_limit_stays():
    found = Detections(rows([0, 0, 2, 2], [0, 0, 2, 1]), [0.9, 0.8], [0, 0])
    assert len(boxes.suppress(found, iou_above=0.5)) == 2


def test_a_suppressed_box_suppresses_nobody():
    """A chain: the middle one falls to the first, so the last one stays."""
    found = Detections(rows([0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]), [0.9, 0.8, 0.7], [0, 0, 0])
    assert boxes.suppress(found, iou_above=0.3).boxes[:, 0].tolist() == [0, 8]


def test_equal_scores_keep_their_order():
    found = Detections(rows([0, 0, 1, 1], [5, 0, 6, 1], [9, 0, 10, 1]), [0.5, 0.5, 0.5], [0, 0, 0])
    assert boxes.suppress(found, iou_above=0.5) == found


def test_equal_boxes_are_one_however_far_out_and_however_much_they_must_overlap():
    corners = np.tile(np.array([60_001.3, 60_002.7, 60_006.3, 60_007.7], np.float32), (2, 1))
    found = Detections(corners, np.array([0.9, 0.8], np.float32), np.array([0, 0]))
    assert len(boxes.suppress(found, iou_above=0.9999)) == 1
