"""Every mistake in a label file is told by its kind and place, and none is made up."""

from pathlib import Path

import numpy as np
import pytest

from datasets.label_audit import Boxes, implausible_sizes, read_boxes

SHAPE_HW = (100, 200)
CLASSES = ("WBC", "RBC")


def kinds(path: Path, text: str, classes: tuple[str, ...] = CLASSES) -> list[tuple[str, str]]:
    path.write_text(text)
    return [(p.kind, p.detail) for p in read_boxes(path, SHAPE_HW, classes).problems]


def test_no_boxes_are_expected_without_a_label_file():
    assert len(read_boxes(None, SHAPE_HW, CLASSES).names) == 0


def test_good_boxes_are_read_to_the_pixel_without_a_word(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.2\n\n1 0.1 0.1 0.05 0.1\n")
    found = read_boxes(tmp_path / "a.txt", SHAPE_HW, CLASSES)
    np.testing.assert_allclose(found.corners, [[90, 40, 110, 60], [15, 5, 25, 15]], atol=1e-3)
    assert (found.names, found.numbers, found.problems) == (("WBC", "RBC"), (1, 3), ())


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "empty label file", ""),
        ("2 .5 .5 .1 .1\n", "unknown class", "line 1"),
        ("0.5 .5 .5 .1 .1\n", "unknown class", "0.5"),
        ("-1 .5 .5 .1 .1\n", "unknown class", "-1"),
        ("0 .5 .5 .1\n", "malformed line", "line 1"),
        ("0 .5 .5 .1 nan\n", "malformed line", "nan"),
        ("WBC .5 .5 .1 .1\n", "malformed line", "WBC"),
        ("0 .5 .5 0 .1\n", "zero area", "box 1, WBC"),
        ("0 .5 .5 -.1 .1\n", "zero area", "swapped"),
        ("0 .95 .5 .2 .1\n", "out of range", "box 1, WBC"),
        ("0 .5 .5 .1 .1\n0 .5 .5 .1 .1\n", "duplicated", "boxes 1 and 2"),
        ("0 .5 .5 .1 .1\n0 .5 .5 .101 .1\n", "duplicated", "boxes 1 and 2"),
        ("0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n", "two classes on one box", "WBC and RBC"),
    ],
)
def test_each_mistake_of_a_yolo_file_is_told_once(tmp_path, text, kind, words):
    ((told, detail),) = kinds(tmp_path / "a.txt", text)
    assert told == kind
    assert words in detail


def test_a_missing_label_file_is_told(tmp_path):
    assert [p.kind for p in read_boxes(tmp_path / "gone.txt", SHAPE_HW, CLASSES).problems] == ["no label file"]


def test_a_class_list_is_not_needed(tmp_path):
    assert kinds(tmp_path / "a.txt", "7 .5 .5 .1 .1\n", ()) == []
    assert read_boxes(tmp_path / "a.txt", SHAPE_HW, ()).names == ("class 7",)


def test_a_polygon_is_the_box_around_it(tmp_path):
    (tmp_path / "a.txt").write_text("0 .4 .4 .6 .4 .5 .6\n")
    np.testing.assert_allclose(read_boxes(tmp_path / "a.txt", SHAPE_HW, CLASSES).corners, [[80, 40, 120, 60]], atol=1e-3)


def test_a_voc_file_of_another_image_or_no_xml_is_told(tmp_path):
    box = "<object><name>RBC</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    (tmp_path / "a.xml").write_text(f"<annotation><size><width>50</width><height>100</height></size>{box}</annotation>")
    found = read_boxes(tmp_path / "a.xml", SHAPE_HW, ())
    assert (found.names, [p.kind for p in found.problems]) == (("RBC",), ["size in the label file is not the image's"])
    (tmp_path / "b.xml").write_text("<annotation>")
    assert [p.kind for p in read_boxes(tmp_path / "b.xml", SHAPE_HW, ()).problems] == ["unreadable label file"]


def boxes_of(*sides: tuple[float, float], left: float = 50.0) -> Boxes:
    corners = np.array([(left, 40, left + width, 40 + height) for width, height in sides], np.float32).reshape(-1, 4)
    return Boxes(corners, ("RBC",) * len(sides), tuple(range(1, len(sides) + 1)))


def test_sizes_that_no_cell_has_are_told_and_ordinary_ones_not():
    ordinary = [("many.txt", (200, 200), boxes_of(*[(20 + i % 5, 20) for i in range(40)]))]
    assert implausible_sizes(ordinary) == []
    assert implausible_sizes([]) == []
    odd = ("odd.txt", (200, 200), boxes_of((3, 10), (60, 15), (70, 70), (6, 6), (40, 40)))
    details = [p.detail for p in implausible_sizes([*ordinary, odd])]
    assert [d.split(",")[0] for d in details] == ["box 1", "box 2", "box 3", "box 4"]


def test_a_cell_that_the_border_cuts_may_be_narrow_but_not_huge():
    ordinary = ("many.txt", (200, 200), boxes_of(*[(20, 20)] * 30))
    cut = ("cut.txt", (200, 200), boxes_of((3, 20), (90, 90), left=0.0))
    assert [p.detail.split(",")[0] for p in implausible_sizes([ordinary, cut])] == ["box 2"]


def test_images_of_another_size_have_their_own_median():
    small = ("small.txt", (100, 100), boxes_of(*[(7, 7)] * 25, left=20.0))
    large = ("large.txt", (800, 800), boxes_of(*[(60, 60)] * 25))
    assert implausible_sizes([small, large]) == []
