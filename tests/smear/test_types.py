"""The vocabulary checks itself once, cannot be changed, and is at ease with N = 0."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from smear.types import UNKNOWN_SCALE, Cell, Detections, Field, FieldResult, Scale


def three() -> Detections:
    return Detections([[0, 0, 4, 4], [1, 2, 3, 8], [5, 5, 6, 6]], [0.9, 0.5, 0.1], [0, 1, 0])


def result(**changes) -> FieldResult:
    base = {
        "field": Field("a.png", Path("a.png")),
        "shape_hw": (10, 10),
        "detections": three(),
        "detector_classes": ("WBC", "RBC"),
        "is_white": np.array([True, False, True]),
        "probabilities": np.array([[0.9, 0.1], [np.nan, np.nan], [0.4, 0.6]], np.float32),
        "classes": ("ALL", "HEM"),
        "review_below": 0.7,
        "scale": Scale(4.0, 0.1, 1, "red cells"),
        "cell_warnings": (("cut",), (), ()),
    }
    return FieldResult(**{**base, **changes})


def no_cells() -> FieldResult:
    none = {"detections": Detections.empty(), "is_white": np.zeros(0, bool), "probabilities": np.zeros((0, 2), np.float32)}
    return result(**none, cell_warnings=())


def test_nothing_found_keeps_every_shape():
    empty = Detections.empty()
    assert (len(empty), empty.boxes.shape, empty.scores.shape, empty.labels.shape) == (0, (0, 4), (0,), (0,))
    for same in (Detections.concat([]), empty.shift(1, 2), empty.rescale((2, 2)), empty.take(np.zeros(0, bool)), Detections([], [], [])):
        assert same == empty


def test_arrays_are_typed_read_only_and_ours():
    boxes = np.array([[0, 0, 1, 1]], np.float32)
    found = Detections(boxes, [1], [0])
    boxes[:] = 7
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert found.boxes.max() == 1
    for array in (found.boxes, found.scores, found.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        ([[0, 0, 1, 1]], [], [0], "differ in length"),
        ([[0, 0, 1, 1]], [1, 1], [0, 0], "differ in length"),
        ([[0, 0, np.nan, 1]], [1], [0], "finite"),
        ([[0, 0, 1, 1]], [np.inf], [0], "finite"),
        ([[2, 0, 1, 1]], [1], [0], "ends before it begins"),
        ([[0, 2, 1, 1]], [1], [0], "ends before it begins"),
        ([[0, 0, 1, 1]], [1.5], [0], r"scores must be in \[0, 1\]"),
        ([[0, 0, 1, 1]], [-0.1], [0], r"scores must be in \[0, 1\]"),
        ([[0, 0, 1, 1]], [1], [-1], "labels must be 0 or more"),
    ],
)
def test_what_cannot_be_a_detection_is_refused(boxes, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        Detections(boxes, scores, labels)


def test_detections_compare_by_value():
    assert three() == three()
    assert three() != three().shift(1, 0)
    assert three() != three().take(np.array([0]))
    assert three() != "three"


def test_take_selects_in_order():
    assert three().take(np.array([2, 0])).scores.tolist() == pytest.approx([0.1, 0.9])
    assert three().take(np.array([False, True, False])).labels.tolist() == [1]


def test_concat_undoes_a_split():
    parts = [three().take(np.array([i])) for i in range(3)]
    assert Detections.concat(parts) == three()
    assert Detections.concat(iter(parts)) == three()


def test_shift_and_rescale_move_the_corners():
    assert three().shift(10, 20).boxes[0].tolist() == [10, 20, 14, 24]
    assert three().rescale((2, 3)).boxes[1].tolist() == [2, 6, 6, 24]


def test_a_copy_from_another_process_is_equal_and_still_read_only():
    copy = pickle.loads(pickle.dumps(result()))
    assert copy == result()
    assert not copy.detections.boxes.flags.writeable


def test_results_compare_by_value_with_their_unknowns():
    assert result() == result()
    assert result(scale=Scale(float("nan"), float("nan"), 0, "unknown")) == result(scale=UNKNOWN_SCALE)
    assert result() != result(shape_hw=(10, 11))
    assert result() != result(probabilities=np.zeros((3, 2), np.float32))


def test_cells_are_the_white_ones_numbered_from_0():
    first, second = result().cells()
    assert isinstance(first, Cell)
    assert [(c.index, c.label, c.detected_as, c.needs_review, c.warnings) for c in (first, second)] == [
        (0, "ALL", "WBC", False, ("cut",)),
        (1, "HEM", "WBC", True, ()),
    ]
    assert second.box.tolist() == [5, 5, 6, 6]


def test_a_cell_without_probabilities_has_no_label_and_needs_a_review():
    for probabilities in (np.full((3, 2), np.nan, np.float32), np.zeros((3, 0), np.float32)):
        assert {(c.label, c.needs_review) for c in result(probabilities=probabilities).cells()} == {("", True)}


def test_a_field_without_cells_has_none():
    assert list(no_cells().cells()) == []
    assert no_cells().count("WBC") == 0


def test_counts_are_by_detector_class():
    assert [result().count(name) for name in ("WBC", "RBC", "Platelets")] == [2, 1, 0]


def test_an_unknown_scale_says_so():
    assert not UNKNOWN_SCALE.is_known
    assert Scale(48.0, 0.1, 20, "red cells").is_known
