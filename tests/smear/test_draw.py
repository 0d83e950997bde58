"""smear.draw and smear.draw_labels: the copy shows every cell, hides none, and says what it shows."""

import math
from pathlib import Path

import numpy as np
import pytest

from smear import draw, draw_labels
from smear.draw import draw_field, enlargement
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldResult, Scale

ALL, HEM = draw.CLASS_COLOURS[:2]


def paint(shape_hw, columns_rows, diameter, *, p=0.95, classes=("ALL", "HEM"), others=()):
    """A grey field and a result with white cells at the given centres, all with the same probability of the first class."""
    white = [[x - diameter / 2, y - diameter / 2, x + diameter / 2, y + diameter / 2] for x, y in columns_rows]
    detections = Detections([*white, *others], np.full(len(white) + len(others), 0.9), [0] * len(white) + [1] * len(others))
    is_white = detections.labels == 0
    probabilities = np.where(is_white[:, None], [[p, 1 - p]], math.nan)[:, : len(classes)].astype(np.float32)
    result = FieldResult(
        field=Field("slide 1/a.png", Path("a.png")),
        shape_hw=shape_hw,
        detections=detections,
        detector_classes=("WBC", "RBC"),
        is_white=is_white,
        probabilities=probabilities,
        classes=classes,
        review_below=0.7,
        scale=Scale(diameter / 1.8, 0.1, 40, "red cells") if white else UNKNOWN_SCALE,
    )
    return np.full((*shape_hw, 3), 200, np.uint8), result


def count(picture, colour):
    return int((picture == np.array(colour, np.uint8)).all(axis=2).sum())


def grid(n, step, start=60):
    side = math.ceil(math.sqrt(n))
    return [(start + step * (i % side), start + step * (i // side)) for i in range(n)]


def test_a_field_without_cells_is_unchanged_above_the_footer():
    image, result = paint((1200, 1600), [], 80)
    picture = draw_field(image, result)
    assert (picture[:1200] == image).all()
    assert picture.shape[1:] == (1600, 3)
    assert count(picture[1200:], draw.INK) > 100  # something is written there


def test_the_field_itself_is_not_painted_on():
    image, result = paint((480, 640), [(300, 200)], 100)
    before = image.copy()
    draw_field(image, result)
    assert (image == before).all()


@pytest.mark.parametrize(("shape_hw", "factor"), [((224, 224), 4), ((256, 256), 4), ((480, 640), 2), ((1944, 2592), 1), ((1, 1), 4)])
def test_small_fields_are_enlarged_and_large_ones_are_not(shape_hw, factor):
    assert enlargement(shape_hw) == factor
    picture = draw_field(*paint(shape_hw, [], 20))
    assert picture.shape[0] > shape_hw[0] * factor
    assert picture.shape[1] == shape_hw[1] * factor


@pytest.mark.parametrize(
    ("shape_hw", "diameter"), [((224, 224), 22), ((256, 256), 120), ((480, 640), 200), ((1944, 2592), 140), ((1944, 2592), 36)]
)
def test_kinds_differ_by_colour_and_by_line(shape_hw, diameter):
    centre = [(shape_hw[1] / 2, shape_hw[0] / 2)]
    body = slice(0, shape_hw[0] * enlargement(shape_hw))
    as_all = draw_field(*paint(shape_hw, centre, diameter, p=0.95))[body]
    as_hem = draw_field(*paint(shape_hw, centre, diameter, p=0.05))[body]
    in_review = draw_field(*paint(shape_hw, centre, diameter, p=0.6))[body]
    assert count(as_all, HEM) == count(as_hem, ALL) == 0
    row = round(centre[0][1] * enlargement(shape_hw))
    widths = [(picture[row] == np.array(colour, np.uint8)).all(axis=1).sum() for picture, colour in ((as_all, ALL), (as_hem, HEM))]
    assert widths[0] > widths[1] >= 2  # left and right side of the box, along one row
    bottom = round((centre[0][1] + diameter / 2) * enlargement(shape_hw))  # the label is above
    solid, dashed = (count(picture[[bottom]], ALL) for picture in (as_all, in_review))
    assert 0.3 * solid < dashed < 0.8 * solid


@pytest.mark.parametrize("shape_hw", [(224, 224), (480, 640), (1944, 2592)])
def test_a_label_does_not_hide_its_cell(shape_hw):
    diameter = min(shape_hw) / 5
    image, result = paint(shape_hw, [(shape_hw[1] / 2, shape_hw[0] / 2)], diameter)
    picture, factor = draw_field(image, result), enlargement(shape_hw)
    x, y, r = shape_hw[1] * factor // 2, shape_hw[0] * factor // 2, int(0.4 * diameter * factor)
    assert (picture[y - r : y + r, x - r : x + r] == 200).all()


@pytest.mark.parametrize("corner", [(0, 0), (640, 0), (0, 480), (640, 480)])
def test_a_label_at_the_edge_stays_in_the_picture(corner):
    _, result = paint((480, 640), [corner], 80)
    cells, shape_hw = tuple(result.cells()), (960, 1280)
    (label,) = draw_labels.place_labels(cells, [ALL], 2, draw._style(shape_hw, [160.0]), shape_hw)
    x0, y0, x1, y1 = label.place
    assert 0 <= x0 < x1 <= 1280
    assert 0 <= y0 < y1 <= 960


def placed(n, step, diameter=90, shape_hw=(1944, 2592)):
    _, result = paint(shape_hw, grid(n, step), diameter)
    return draw_labels.place_labels(tuple(result.cells()), [ALL] * n, 1, draw._style(shape_hw, [float(diameter)] * n), shape_hw)


def test_labels_of_sixty_cells_do_not_cover_each_other():
    labels = placed(60, 220)
    places = np.array([label.place for label in labels], np.float32)
    assert len(labels) == 60
    for i in range(60):
        assert draw_labels._overlap(places[i], np.delete(places, i, axis=0)).sum() == 0


def test_labels_get_shorter_as_cells_get_closer():
    lengths = [np.mean([len(label.text) for label in placed(49, step)]) for step in (260, 150, 100)]
    assert lengths[0] > lengths[1] > lengths[2] >= 1
    assert placed(1, 100)[0].text == "0: ALL .95"


def test_a_cell_in_doubt_carries_a_question_mark_and_an_unlabelled_one_its_detector_class():
    _, doubtful = paint((480, 640), [(300, 200)], 80, p=0.6)
    _, unlabelled = paint((480, 640), [(300, 200)], 80, classes=())
    assert draw_labels._full_text(next(doubtful.cells())) == "0: ALL? .60"
    assert draw_labels._full_text(next(unlabelled.cells())) == "0: WBC? .90"
    assert count(draw_field(*paint((480, 640), [(300, 200)], 80, classes=())), draw.WHITE_CELL_COLOUR) > 100


@pytest.mark.parametrize(("share", "text"), [(0.0, ".00"), (0.934, ".93"), (0.999, ".99"), (1.0, "1.0")])
def test_a_probability_is_never_rounded_up_to_certainty(share, text):
    assert draw_labels._decimals(share) == text


def test_red_cells_are_drawn_lightly():
    image, result = paint((480, 640), [], 80, others=[[100, 100, 160, 160]])
    changed = (draw_field(image, result)[:960] != 200).any(axis=2)
    assert 400 < changed.sum() < 1500  # a frame of 4 x 120 px, not a filled box


def test_a_long_name_keeps_its_end_and_fits():
    text = draw_labels.fit("a/very/long/folder/" * 20 + "field.png", 12, 300)
    assert text.startswith("…")
    assert text.endswith("field.png")
    assert draw_labels.text_width(text, 12) <= 300


def test_the_picture_must_be_that_of_the_result():
    image, result = paint((480, 640), [], 80)
    with pytest.raises(ValueError, match=r"slide 1/a\.png"):
        draw_field(image[:100], result)
