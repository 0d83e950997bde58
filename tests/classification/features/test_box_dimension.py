import cv2
import numpy as np
import pytest

from classification.features.dimension import HAUSDORFF, dimensions, outlines

BOXES = (4, 8, 16, 32, 64, 128)  # between the smallest and the largest segment of the Koch curve


@pytest.mark.parametrize("ends", [((20, 100), (480, 100)), ((20, 30), (480, 470)), ((100, 10), (300, 500))])
def test_a_line_has_one_dimension(ends):
    picture = cv2.line(np.zeros((512, 512), np.uint8), *ends, 1, 1, cv2.LINE_4) > 0
    assert dimensions(picture[None])[0] == pytest.approx(1, abs=0.03)


def test_a_disc_has_two_and_its_outline_one(ellipse):
    disc = ellipse(512, 200, 200)[None]
    assert dimensions(disc)[0] == pytest.approx(2, abs=0.05)
    assert dimensions(outlines(disc))[0] == pytest.approx(1, abs=0.02)


def test_a_koch_curve_has_its_broken_one(koch):
    assert dimensions(koch[None], sides=BOXES)[0] == pytest.approx(np.log(4) / np.log(3), abs=0.05)


def test_a_turned_curve_has_the_same(koch):
    upright, turned = dimensions(np.stack([koch, np.rot90(koch)]), sides=BOXES)
    assert upright == pytest.approx(turned, abs=0.02)


def test_points_far_apart_have_none():
    points = np.zeros((1, 256, 256), bool)
    points[0, ::64, ::64] = True
    assert dimensions(points)[0] == pytest.approx(0, abs=1e-6)


def test_an_empty_mask_has_no_dimension(koch):
    found = dimensions(np.stack([np.zeros_like(koch), koch]))
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_outlines_are_one_pixel_wide_and_end_at_the_border():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 0:10, 5:15] = True
    line = outlines(mask)[0]
    assert line.sum() == 10 * 10 - 8 * 8  # the border of the crop counts as outside
    assert line[0, 5:15].all()


def test_a_ragged_nucleus_has_more_than_a_round_one(ellipse):
    y, x = np.mgrid[:224, :224] - 111.5
    turn = np.arctan2(y, x)
    ragged = np.hypot(x, y) < 55 + 8 * np.sin(17 * turn) + 5 * np.sin(41 * turn)
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    masks = np.stack([ellipse(224, 55, 55), ragged])
    values = HAUSDORFF(crops, masks, masks)
    column = HAUSDORFF.names.index("nucleus_outline_dimension")
    assert values[1, column] > values[0, column] + 0.05
