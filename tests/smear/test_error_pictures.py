"""smear.report.error_pictures: every error that is shown has its picture, framed where the boxes are."""

from pathlib import Path

import numpy as np
import pytest

from smear.draw import CLASS_COLOURS, WHITE_CELL_COLOUR
from smear.errors import ImageError
from smear.report.error_pictures import VIEW_PX, VIEW_WIDTH, error_picture, picture_errors
from smear.report.gallery import ERROR_LIMIT
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult

IMAGE = np.full((200, 300, 3), 225, np.uint8)


def error(owner="wrong", box=(100, 60, 150, 110), field="a.png", **more):
    return {"field": field, "owner": owner, "truth": "ALL", "label": "HEM", "p": 0.8, "score": 0.9, "box": list(box), **more}


def result(name="a.png"):
    return FieldResult(Field(name, Path(name)), IMAGE.shape[:2], Detections.empty(), ("WBC",), np.zeros(0, bool),
                       np.zeros((0, 2), np.float32), ("ALL", "HEM"), 0.7, UNKNOWN_SCALE)  # fmt: skip


def places(picture, colour):
    """x0 y0 x1 y1 of the pixels of about this colour."""
    y, x = np.nonzero(np.abs(picture.astype(int) - colour).sum(axis=2) < 30)
    return x.min(), y.min(), x.max(), y.max()


def test_the_frame_is_where_the_box_is_and_has_the_colour_of_the_label():
    picture = error_picture(IMAGE, error(), ("ALL", "HEM"))
    assert picture.shape == (VIEW_PX, VIEW_PX, 3)
    margin = VIEW_PX * (VIEW_WIDTH - 1) / 2 / VIEW_WIDTH
    assert places(picture, CLASS_COLOURS[1]) == pytest.approx((margin, margin, VIEW_PX - margin, VIEW_PX - margin), abs=3)


def test_a_missed_cell_shows_its_truth_and_an_unlabelled_one_its_box():
    missed = error_picture(IMAGE, error("missed", label=None, p=None, score=None), ("ALL", "HEM"))
    assert not (missed == CLASS_COLOURS[1]).all(axis=2).any()
    assert (missed.max(axis=2) < 60).any()
    assert places(error_picture(IMAGE, error("debris", truth=None, label=None), ()), WHITE_CELL_COLOUR)


@pytest.mark.parametrize("box", [(-20, -20, 10, 10), (290, 190, 300, 200), (0, 0, 300, 200), (5, 5, 5, 5)])
def test_a_cell_at_the_edge_has_a_picture_too(box):
    assert error_picture(IMAGE, error(box=box, true_box=[0, 0, 30, 30]), ("ALL", "HEM")).shape == (VIEW_PX, VIEW_PX, 3)


def test_each_field_is_read_once_and_each_owner_shows_so_many():
    read = []
    errors = [error("wrong", field=name) for name in ("a.png", "b.png") for _ in range(ERROR_LIMIT)] + [error("missed", score=None)]
    items = picture_errors(errors, [result("a.png"), result("b.png")], read=lambda f: read.append(f.id) or IMAGE)
    assert sorted(read) == sorted(set(read))
    assert [sum(i.owner == owner for i in items) for owner in ("wrong", "missed")] == [ERROR_LIMIT, 1]
    assert all(i.image.startswith(b"\xff\xd8\xff") for i in items)


def test_fields_without_a_result_or_a_file_are_left_out():
    def gone(field):
        raise ImageError(f"{field.id}: no such file")

    assert picture_errors([error(field="c.png")], [FieldFailure(Field("c.png", Path("c.png")), "decode", "damaged")]) == []
    assert picture_errors([error()], [result()], read=gone) == []
    assert picture_errors([], []) == []
