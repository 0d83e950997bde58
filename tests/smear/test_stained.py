"""smear.stained: dark against the field around, whatever the stain and the light."""

import cv2
import numpy as np
import pytest

from smear.stained import stained_shares

GLASS, RED, NUCLEUS = (235, 230, 228), (205, 120, 170), (90, 40, 130)
BOX = np.array([(40, 40, 80, 80)], np.float32)
NONE = np.zeros((0, 4), np.float32)


def field(*discs, noise=2.0, glass=GLASS):
    """Discs as (x, y, radius, colour) on noisy glass, 300×300."""
    image = np.full((300, 300, 3), glass, np.uint8)
    for x, y, radius, colour in discs:
        cv2.circle(image, (x, y), radius, colour, -1)
    return np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 255).astype(np.uint8)


REDS = [(x, y, 18, RED) for x in (150, 200, 250) for y in (40, 90, 140, 190, 240)]


def test_glass_and_red_cells_are_not_dark():
    image = field(*REDS)
    boxes = np.array([(20, 20, 80, 80), (182, 22, 218, 58), (160, 60, 240, 140)], np.float32)
    assert (stained_shares(image, boxes, white=NONE) < 0.06).all()


def test_a_red_cell_is_dark_only_where_there_is_no_other():
    image = field(REDS[0])
    assert stained_shares(image, np.array([(132, 22, 168, 58)], np.float32), white=NONE)[0] > 0.5


def test_a_nucleus_is_dark_in_proportion():
    shares = stained_shares(field(*REDS, (60, 60, 10, NUCLEUS)), BOX, white=NONE)
    assert shares == pytest.approx([np.pi * 10**2 / 1600], abs=0.03)


def test_the_true_white_cells_do_not_set_the_limit():
    """A field full of white cells: without them the rest is glass, and a smudge among them is dark."""
    cells = [(x, y, 25, NUCLEUS) for x in (150, 210, 270) for y in (30, 90, 150, 210, 270)]
    white = np.array([(x - 25, y - 25, x + 25, y + 25) for x, y, _, _ in cells], np.float32)
    assert stained_shares(field(*cells, (60, 60, 15, NUCLEUS)), BOX, white=white)[0] > 0.4


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0])
def test_the_light_does_not_matter(factor):
    image = field(*REDS, (60, 60, 15, NUCLEUS))
    darker = (image * factor).astype(np.uint8)
    assert stained_shares(darker, BOX, white=NONE) == pytest.approx(stained_shares(image, BOX, white=NONE), abs=0.02)


def test_empty_boxes_and_a_field_without_a_rest_are_unknown():
    image = field()
    assert np.isnan(stained_shares(image, np.array([(5, 5, 5, 9)], np.float32), white=NONE)).all()
    assert np.isnan(stained_shares(image, BOX, white=np.array([(0, 0, 300, 300)], np.float32))).all()
    assert stained_shares(image, NONE, white=NONE).shape == (0,)
