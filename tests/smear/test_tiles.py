"""Tiling does not change the count: by example here, by law in tests/property."""

import numpy as np
import pytest

from smear.errors import ConfigError
from smear.tiles import SLACK_PX, merge, plan_tiles
from smear.types import Detections, Tile


def cells(*boxes, scores=None, labels=None) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores or [0.9] * n, labels or [0] * n)


LEFT, RIGHT = Tile((0, 0, 60, 40), (0, 0, 50, 40)), Tile((40, 0, 100, 40), (50, 0, 100, 40))


def test_a_field_that_fits_is_one_tile():
    assert plan_tiles((480, 640), tile_px=640, overlap_px=100) == (Tile((0, 0, 640, 480), (0, 0, 640, 480)),)


def test_tiles_are_spread_evenly_and_meet_in_the_middle_of_the_overlap():
    first, second = plan_tiles((100, 300), tile_px=200, overlap_px=50)
    assert (first.view, second.view) == ((0, 0, 200, 100), (100, 0, 300, 100))
    assert (first.core, second.core) == ((0, 0, 150, 100), (150, 0, 300, 100))


def test_tiles_go_row_by_row():
    assert [t.view[:2] for t in plan_tiles((300, 300), tile_px=200, overlap_px=50)] == [(0, 0), (100, 0), (0, 100), (100, 100)]


def test_snug_windows_are_no_larger_than_they_must_be():
    first, second = plan_tiles((512, 1100), tile_px=1000, overlap_px=100, snug=True)
    assert (first.view, second.view) == ((0, 0, 608, 512), (492, 0, 1100, 512))  # 640 in their frame
    assert (first.core[2], second.core[0]) == (550, 550)


def test_a_field_that_fits_is_one_window_snug_or_not():
    assert plan_tiles((480, 640), tile_px=640, overlap_px=100, snug=True) == plan_tiles((480, 640), tile_px=640, overlap_px=100)


@pytest.mark.parametrize("overlap_px", [-1, 640, 1000])
def test_an_overlap_without_room_is_refused(overlap_px):
    with pytest.raises(ConfigError, match=rf"^overlap_px: must be in \[0, tile_px = 640\), got {overlap_px}$"):
        plan_tiles((100, 100), tile_px=640, overlap_px=overlap_px)


def test_nothing_found_is_nothing():
    assert merge([LEFT, RIGHT], [Detections.empty(), Detections.empty()]) == Detections.empty()
    assert merge([], []) == Detections.empty()


def test_tiles_without_their_detections_are_refused():
    with pytest.raises(ValueError, match="2 tiles but 1 sets"):
        merge([LEFT, RIGHT], [Detections.empty()])


def test_boxes_come_back_in_field_pixels_highest_score_first():
    merged = merge([LEFT, RIGHT], [cells([1, 1, 9, 9], scores=[0.3]), cells([30, 1, 38, 9], scores=[0.8])])
    assert merged.boxes.tolist() == [[70, 1, 78, 9], [1, 1, 9, 9]]


def test_a_cell_that_two_tiles_see_counts_once():
    assert len(merge([LEFT, RIGHT], [cells([44, 10, 54, 20]), cells([4, 10, 14, 20])])) == 1


def test_a_cell_that_two_tiles_see_differently_counts_once():
    assert len(merge([LEFT, RIGHT], [cells([47, 10, 57, 20]), cells([3, 13, 13, 23])])) == 1


def test_a_small_cell_that_two_tiles_see_differently_counts_once():
    """Two pixels of disagreement each leave 10-px platelets with an overlap far below any NMS limit."""
    assert len(merge([LEFT, RIGHT], [cells([42, 13, 52, 23], scores=[0.4]), cells([8, 9, 18, 19], scores=[0.6])])) == 1


def test_a_cell_that_two_tiles_class_differently_counts_once():
    merged = merge([LEFT, RIGHT], [cells([44, 10, 54, 20], scores=[0.6], labels=[1]), cells([4, 10, 14, 20], scores=[0.7], labels=[0])])
    assert merged.labels.tolist() == [0]


def test_two_small_cells_side_by_side_at_a_seam_count_twice():
    both = [[40, 10, 50, 20], [51, 10, 61, 20]]
    left, right = (cells(*[[x0 - dx, y0, x1 - dx, y1] for x0, y0, x1, y1 in both]) for dx in (0, 40))
    assert len(merge([LEFT, RIGHT], [left, right])) == 2


def test_a_platelet_on_a_red_cell_at_a_seam_survives():
    both = [[30, 5, 70, 35], [45, 15, 55, 25]]
    left, right = (cells(*[[x0 - dx, y0, x1 - dx, y1] for x0, y0, x1, y1 in both], labels=[1, 2]) for dx in (0, 40))
    assert sorted(merge([LEFT, RIGHT], [left, right]).labels.tolist()) == [1, 2]


def test_the_part_of_a_cell_at_the_border_of_a_view_is_not_a_cell():
    """The right tile sees a sliver of a cell that the left tile owns."""
    assert len(merge([LEFT, RIGHT], [cells([30, 10, 44, 20]), cells([0, 10, 4, 20])])) == 1


@pytest.mark.parametrize(("beyond", "kept"), [(SLACK_PX - 1, 1), (SLACK_PX + 1, 0)])
def test_a_centre_may_miss_its_core_by_the_slack(beyond, kept):
    x = 50 + beyond
    assert len(merge([LEFT], [cells([x - 5, 10, x + 5, 20])])) == kept
