"""smear.report.views: the field where it is, paper where it is not."""

import numpy as np
import pytest

from smear.report.views import PAPER, look

IMAGE = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)


def test_inside_the_field_it_is_a_cut():
    box = np.array([30, 20, 40, 30], np.float32)
    view = look(IMAGE, box, 20, 20)
    assert (view.picture == IMAGE[15:35, 25:45]).all()
    assert view.place(box).tolist() == [5, 5, 15, 15]


@pytest.mark.parametrize(("box", "corner"), [((0, 0, 10, 10), (0, 0)), ((70, 50, 80, 60), (-1, -1))])
def test_beyond_the_border_it_is_paper(box, corner):
    view = look(IMAGE, np.array(box, np.float32), 30, 60)
    assert tuple(view.picture[corner]) == PAPER
    assert view.place(np.array(box)).tolist() == [20, 20, 40, 40]


@pytest.mark.parametrize("box", [(200, 200, 210, 210), (-50, -50, -40, -40), (5, 5, 5, 5), (0, 0, 80, 60)])
@pytest.mark.parametrize("side", [0.2, 7, 500])
def test_any_box_and_side_gives_a_picture(box, side):
    view = look(IMAGE, np.array(box, np.float32), side, 24)
    assert view.picture.shape == (24, 24, 3)
    assert np.isfinite(view.place(np.array(box))).all()


def test_a_box_beyond_the_field_is_all_paper():
    """So far to the left that counting from the other side would give a square of the right size."""
    assert (look(IMAGE, np.array([-70, 25, -60, 35], np.float32), 30, 30).picture == PAPER).all()
