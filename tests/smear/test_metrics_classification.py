"""smear.metrics.classification: counts and shares, checked against a worked example and counting by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, roc_auc_score

from smear.metrics.classification import ERRORS, METRICS, MORE_METRICS, areas, classification_intervals, classification_metrics

CLASSES = ("ALL", "HEM")


def columns(p_all):
    p = np.asarray(p_all, np.float32).reshape(-1)
    return np.stack([p, 1 - p], axis=1)


def test_no_cells_leave_every_share_undefined():
    result = classification_metrics(np.zeros(0, int), columns([]), CLASSES)
    assert all(math.isnan(result[key]) for key in METRICS)
    assert (result["n"], result["confusion_matrix"]) == (0, [[0, 0], [0, 0]])


def test_a_worked_example():
    truth = np.array([0] * 4 + [1] * 6)  # 4 ALL, 6 HEM: 3 and 4 are called right
    result = classification_metrics(truth, columns([0.9, 0.8, 0.7, 0.4, 0.75, 0.6, 0.3, 0.2, 0.1, 0.05]), CLASSES)
    assert result["confusion_matrix"] == [[3, 1], [2, 4]]
    expected = {"accuracy": 0.7, "precision": 3 / 5, "recall": 3 / 4, "specificity": 4 / 6, "f1": 6 / 9}
    assert {key: result[key] for key in expected} == pytest.approx(expected)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert result["roc_auc"] == pytest.approx(21 / 24)  # 24 pairs, 3 of them the wrong way round
    assert result["n_per_class"] == {"ALL": 4, "HEM": 6}


def test_perfect_labels_score_one():
    truth = np.array([0, 1, 1, 0])
    result = classification_metrics(truth, columns([0.9, 0.2, 0.1, 0.8]), CLASSES)
    assert [result[key] for key in METRICS] == [1] * len(METRICS)


@pytest.mark.parametrize(("kind", "undefined"), [(0, {"specificity"}), (1, {"recall", "precision", "f1"})])
def test_one_kind_of_cell_leaves_what_needs_both_undefined(kind, undefined):
    result = classification_metrics(np.full(3, kind), columns([1 - kind] * 3), CLASSES)
    assert {key for key in METRICS if math.isnan(result[key])} == undefined | {"roc_auc", "balanced_accuracy"}
    assert result["accuracy"] == 1


def test_the_other_class_can_be_the_positive_one():
    truth, p = np.array([0, 0, 1]), columns([0.9, 0.4, 0.1])
    result = classification_metrics(truth, p, CLASSES, positive="HEM")
    assert (result["recall"], result["specificity"], result["precision"]) == (1, 0.5, 0.5)


def test_three_classes_are_one_against_the_rest():
    p = np.array([[0.6, 0.2, 0.2], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]], np.float32)
    result = classification_metrics(np.array([0, 1, 2, 2]), p, ("ALL", "HEM", "other"))
    assert (result["accuracy"], result["precision"], result["specificity"]) == pytest.approx((0.75, 0.5, 2 / 3))
    assert result["balanced_accuracy"] == pytest.approx(2.5 / 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_shares_are_bounded_ordered_alike_and_auc_counts_pairs(seed, n):
    rng = np.random.default_rng(seed)
    truth, p = rng.integers(0, 2, n), columns(rng.integers(0, 8, n) / 8)
    result = classification_metrics(truth, p, CLASSES)
    order = rng.permutation(n)
    again = classification_metrics(truth[order], p[order], CLASSES)
    assert [again[key] for key in METRICS] == pytest.approx([result[key] for key in METRICS], nan_ok=True)
    assert all(math.isnan(result[key]) or 0 <= result[key] <= 1 for key in METRICS)
    positive, negative = p[truth == 0, 0], p[truth == 1, 0]
    if len(positive) and len(negative):
        wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        assert result["roc_auc"] == pytest.approx(wins.mean())


@pytest.mark.parametrize(
    ("truth", "p", "positive"),
    [([0, 1], [0.5], "ALL"), ([2], [0.5], "ALL"), ([-1], [0.5], "ALL"), ([0], [math.nan], "ALL"), ([0], [0.5], "blast")],
)
def test_wrong_input_is_refused(truth, p, positive):
    with pytest.raises(ValueError):
        classification_metrics(np.array(truth), columns(p), CLASSES, positive=positive)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 4))
def test_scikit_learn_says_the_same(seed, n, n_classes):
    rng = np.random.default_rng(seed)
    truth, p = rng.integers(0, n_classes, n), rng.dirichlet(np.ones(n_classes), n).round(1)
    p = p / p.sum(axis=1, keepdims=True)
    result = classification_metrics(truth, p, tuple("abcd"[:n_classes]), positive="a")
    labels = list(range(n_classes))
    assert result["f1_weighted"] == pytest.approx(f1_score(truth, p.argmax(1), labels=labels, average="weighted", zero_division=0))
    assert result["confusion_matrix"] == confusion_matrix(truth, p.argmax(1), labels=labels).tolist()
    if 0 < (truth == 0).sum() < n:
        assert areas(truth == 0, p[:, 0]) == pytest.approx(
            (roc_auc_score(truth == 0, p[:, 0]), average_precision_score(truth == 0, p[:, 0]))
        )
        assert (result["roc_auc"], result["pr_auc"]) == pytest.approx(areas(truth == 0, p[:, 0]))


def test_the_other_numbers_of_the_worked_example():
    truth = np.array([0] * 4 + [1] * 6)
    result = classification_metrics(truth, columns([0.9, 0.8, 0.7, 0.4, 0.75, 0.6, 0.3, 0.2, 0.1, 0.05]), CLASSES)
    assert result["npv"] == pytest.approx(4 / 5)
    assert result["f1_weighted"] == pytest.approx(0.4 * 6 / 9 + 0.6 * 8 / 11)
    assert result["pr_auc"] == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)
    assert sum(result["reliability"]["n"]) == 10
    assert result["risk_coverage"]["risk"][-1] == pytest.approx(0.3)


def test_no_cells_leave_the_other_numbers_undefined_too():
    result = classification_metrics(np.zeros(0, int), columns([]), CLASSES)
    assert all(math.isnan(result[key]) for key in (*MORE_METRICS, *ERRORS))
    assert math.isnan(result["risk_coverage"]["aurc"])


def test_perfect_labels_have_no_error():
    result = classification_metrics(np.array([0, 1]), columns([1, 0]), CLASSES)
    assert [result[key] for key in (*MORE_METRICS, *ERRORS)] == [1, 1, 1, 0, 0]


def test_intervals_hold_the_values_and_are_wider_for_fewer_groups():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    p = columns(np.clip(0.5 + (0.5 - truth) * 0.4 + rng.normal(0, 0.3, 200), 0, 1))
    result = classification_metrics(truth, p, CLASSES)
    many = classification_intervals(truth, p, CLASSES, [str(i) for i in range(200)], n_resamples=200, unit="cell")
    assert set(many) == {*METRICS, *MORE_METRICS, *ERRORS, "risk_coverage.aurc"}
    for name, interval in many.items():
        assert interval.value == pytest.approx(result["risk_coverage"]["aurc"] if name.endswith("aurc") else result[name])
        assert name == "ece" or interval.low < interval.value < interval.high
    few = classification_intervals(truth, p, CLASSES, ["a"] * 200)
    assert few["accuracy"].n_groups == 1
    assert math.isnan(few["accuracy"].low)


def test_intervals_of_nothing_are_undefined_and_groups_are_counted():
    found = classification_intervals(np.zeros(0, int), columns([]), CLASSES, [])
    assert math.isnan(found["accuracy"].value)
    with pytest.raises(ValueError, match="1 groups, 0 cells"):
        classification_intervals(np.zeros(0, int), columns([]), CLASSES, ["a"])
