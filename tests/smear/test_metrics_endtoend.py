"""smear.metrics.endtoend: every true cell ends in one count, and what is missed counts as wrong."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.endtoend import end_to_end
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult

CLASSES = ("ALL", "HEM")
FIELD = Field("a.png", Path("a.png"))


def box_at(column):
    return [100 * column, 0, 100 * column + 60, 60]


def result_of(cells, classes=CLASSES, review_below=0.6):
    """A field with white cells as (column, p_ALL), the surest detection first, and one red cell."""
    n = len(cells)
    detections = Detections([*(box_at(c) for c, _ in cells), box_at(99)], np.linspace(0.9, 0.5, n + 1), [0] * n + [1])
    p = np.array([*([q, 1 - q] for _, q in cells), [math.nan, math.nan]], np.float32)
    p = p if classes == CLASSES else p[:, ::-1] if classes else p[:, :0]
    is_white = np.array([True] * n + [False])
    return FieldResult(FIELD, (100, 10_000), detections, ("WBC", "RBC"), is_white, p, classes, review_below, UNKNOWN_SCALE)


def truth_of(columns, labels):
    return Detections([box_at(c) for c in columns], np.ones(len(columns)), labels)


def test_no_fields_leave_every_share_undefined():
    result = end_to_end([], [], CLASSES)
    assert math.isnan(result["white"]["recall"])
    assert math.isnan(result["all"]["roc_auc"])
    assert set(result["owners"].values()) == {0}


def test_a_perfect_run_scores_one():
    result = end_to_end([truth_of([0, 1, 2], [0, 1, 0])], [result_of([(0, 0.9), (1, 0.1), (2, 0.8)])], CLASSES)
    assert (result["white"]["recall"], result["white"]["precision"]) == (1, 1)
    for part in ("matched", "all"):
        assert [result[part][key] for key in ("accuracy", "precision", "recall", "specificity", "f1", "roc_auc")] == [1] * 6


def test_a_worked_example():
    # true: ALL at 0, 1, 2; HEM at 3, 4. Found: 0 right, 1 wrong, 3 right, an extra called ALL at 7. Missed: ALL 2, HEM 4.
    result = end_to_end([truth_of(range(5), [0, 0, 0, 1, 1])], [result_of([(0, 0.9), (1, 0.3), (3, 0.2), (7, 0.95)])], CLASSES)
    white = {
        "recall": 3 / 5,
        "precision": 3 / 4,
        "n_truth": 5,
        "n_found": 4,
        "n_matched": 3,
        "n_loose": 0,
        "n_missed": 2,
        "n_extra": 1,
        "iou": 0.5,
    }
    assert result["white"] == {**white, "precision_without_ignored": 3 / 4}
    assert result["owners"] == {"right": 2, "wrong": 1, "review": 0, "missed": 2, "doubled": 0, "loose": 0}
    assert result["extras"] == {"background": 1, "debris": 0, "red cell or platelet": 0, "duplicate": 0, "ignored": 0}
    assert result["matched"]["accuracy"] == pytest.approx(2 / 3)
    expected = {"accuracy": 2 / 5, "recall": 1 / 3, "specificity": 1 / 2, "precision": 1 / 2, "f1": 2 / 5}
    assert {key: result["all"][key] for key in expected} == pytest.approx(expected)
    assert [result["all"][key] for key in ("n", "n_missed", "n_extra_positive")] == [5, 2, 1]
    # scores of ALL: 0.9, 0.3, 0 (missed); of HEM: 0.2, 1 (missed). Of 6 pairs 0.9 > 0.2 and 0.3 > 0.2 are the right way round.
    assert result["all"]["roc_auc"] == pytest.approx(2 / 6)


def test_a_doubtful_cell_is_owned_by_the_review():
    result = end_to_end([truth_of([0], [0])], [result_of([(0, 0.55)])], CLASSES)
    assert {owner for owner, n in result["owners"].items() if n} == {"review"}
    assert result["matched"]["accuracy"] == 1


def test_a_failed_field_misses_all_its_cells():
    result = end_to_end([truth_of([0, 1], [0, 1])], [FieldFailure(FIELD, "decode", "broken")], CLASSES)
    assert (result["white"]["recall"], result["n_failed_fields"], result["owners"]["missed"]) == (0, 1, 2)
    assert (result["all"]["accuracy"], result["all"]["roc_auc"]) == (0, 0)


def test_white_cells_of_unknown_kind_count_for_detection_alone_and_red_cells_not_at_all():
    truth = truth_of([0, 1, 99], [1, 0, 2])
    result = end_to_end([truth], [result_of([(0, 0.9), (1, 0.9)])], CLASSES, truth_classes=("ALL", "WBC", "RBC"))
    assert result["white"]["n_truth"] == result["white"]["n_matched"] == 2
    assert result["n_labelled"] == result["matched"]["n"] == 1


def test_the_order_of_the_classes_in_the_results_does_not_matter():
    truths, cells = [truth_of([0, 1], [0, 1])], [(0, 0.9), (1, 0.3)]
    assert end_to_end(truths, [result_of(cells)], CLASSES) == end_to_end(truths, [result_of(cells, ("HEM", "ALL"))], CLASSES)


def test_without_a_classifier_cells_are_found_but_never_right():
    result = end_to_end([truth_of([0], [0])], [result_of([(0, 0.9)], classes=())], CLASSES)
    assert (result["white"]["recall"], result["all"]["accuracy"], result["matched"]["n"]) == (1, 0, 0)


def test_results_of_another_classifier_and_truth_without_a_name_are_refused():
    with pytest.raises(ValueError, match="blast"):
        end_to_end([truth_of([0], [0])], [result_of([(0, 0.9)])], ("blast",), positive="blast")
    with pytest.raises(ValueError, match="outside"):
        end_to_end([truth_of([0], [5])], [result_of([])], CLASSES)
    with pytest.raises(ValueError, match="1 truths, 0 results"):
        end_to_end([Detections.empty()], [], CLASSES)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_counts_add_up(seed):
    rng = np.random.default_rng(seed)
    truths, results = [], []
    for _ in range(3):
        columns = rng.permutation(12)[: rng.integers(0, 8)]
        truths.append(truth_of(columns, rng.integers(0, 3, len(columns))) if len(columns) else Detections.empty())
        results.append(result_of([(int(c), float(rng.random())) for c in rng.permutation(12)[: rng.integers(0, 8)]]))
    result = end_to_end(truths, results, CLASSES, truth_classes=("ALL", "HEM", "WBC"))
    white = result["white"]
    assert white["n_truth"] == white["n_matched"] + white["n_missed"] == sum(map(len, truths))
    assert white["n_found"] == white["n_matched"] + white["n_extra"] == sum(int(r.is_white.sum()) for r in results)
    assert sum(result["owners"].values()) == result["n_labelled"] == result["all"]["n"]
    assert result["matched"]["n"] + result["owners"]["missed"] == result["n_labelled"]
