"""smear.metrics.resampled: the numbers of `classification_metrics` cell by cell, without visiting a cell twice."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from smear.metrics.classification import classification_intervals, classification_metrics
from smear.metrics.resampled import NAMES, group_times, resampled_scores
from smear.metrics.statistics import interval_of, resamples


def cells(n_classes, n=200, seed=0, *, coarse=False):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    logits = np.eye(n_classes)[truth] + rng.normal(size=(n, n_classes))
    p = np.exp(np.round(logits) if coarse else logits)
    return truth, (p / p.sum(axis=1, keepdims=True)).astype(np.float32), [f"s{i}" for i in rng.integers(0, 15, n)]


def whole(n):
    return np.zeros(n, np.int64), np.ones((1, 1), np.int64)


@pytest.mark.parametrize("coarse", [False, True])
def test_two_classes_are_those_of_the_metrics_everybody_uses(coarse):
    truth, p, _ = cells(2, coarse=coarse)
    found = resampled_scores(truth, p, *whole(len(truth)))
    expected = classification_metrics(truth, p, ("ALL", "HEM"))
    assert {name: float(found[name][0]) for name in NAMES} == pytest.approx({name: expected[name] for name in NAMES})


def test_intervals_are_those_of_the_bootstrap_that_visits_every_cell():
    truth, p, groups = cells(2)
    which, times = group_times(groups, resamples(15, n_resamples=60, seed=4))
    found = resampled_scores(truth, p, which, times)
    expected = classification_intervals(truth, p, ("ALL", "HEM"), groups, n_resamples=60, seed=4)
    for name in NAMES:
        interval = interval_of(float(found[name][0]), found[name][1:], n_groups=15)
        assert (interval.low, interval.high) == pytest.approx((expected[name].low, expected[name].high)), name


def test_more_classes_are_the_averages_that_scikit_learn_gives():
    truth, p, _ = cells(4)
    found = {name: float(values[0]) for name, values in resampled_scores(truth, p, *whole(len(truth)), positive=None).items()}
    given = p.argmax(axis=1)
    assert found["precision"] == pytest.approx(precision_score(truth, given, average="macro"))
    assert found["recall"] == pytest.approx(recall_score(truth, given, average="macro")) == pytest.approx(found["balanced_accuracy"])
    assert found["f1"] == pytest.approx(f1_score(truth, given, average="macro"))
    assert found["f1_weighted"] == pytest.approx(f1_score(truth, given, average="weighted"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, p.astype(float), multi_class="ovr", average="macro"), abs=1e-6)
    wrong = [((given == c) & (truth != c)).sum() / (truth != c).sum() for c in range(4)]
    assert found["specificity"] == pytest.approx(1 - np.mean(wrong))


def test_the_error_of_more_classes_is_that_of_the_label_given():
    truth, p = np.array([0, 0, 1, 2]), np.tile(np.float32([0.8, 0.1, 0.1]), (4, 1))  # half are right, stated 0.8
    assert resampled_scores(truth, p, *whole(4), positive=None)["ece"][0] == pytest.approx(0.3)


def test_a_class_that_is_never_given_has_no_precision_and_one_that_is_not_there_no_average():
    p = np.tile(np.float32([0.6, 0.2, 0.2]), (3, 1))
    found = resampled_scores(np.array([0, 1, 2]), p, *whole(3), positive=None)
    assert found["precision"][0] == pytest.approx(1 / 9)
    found = resampled_scores(np.array([0, 1, 1]), p, *whole(3), positive=None)
    assert all(math.isnan(found[name][0]) for name in ("balanced_accuracy", "recall", "f1", "roc_auc"))
    assert found["accuracy"][0] == pytest.approx(1 / 3)


def test_no_cells_have_no_numbers():
    found = resampled_scores(np.zeros(0, int), np.zeros((0, 2), np.float32), np.zeros(0, int), np.ones((1, 0), np.int64))
    assert set(found) == set(NAMES)
    assert all(math.isnan(values[0]) for values in found.values())


def test_parts_of_the_resamples_are_put_together(monkeypatch):
    truth, p, groups = cells(2)
    which, times = group_times(groups, resamples(15, n_resamples=20, seed=0))
    at_once = resampled_scores(truth, p, which, times)["roc_auc"]
    monkeypatch.setattr("smear.metrics.resampled.AT_ONCE", 1)
    assert np.array_equal(resampled_scores(truth, p, which, times)["roc_auc"], at_once)


def test_groups_are_counted_as_they_were_drawn():
    which, times = group_times(["b", "a", "b"], np.array([[0, 0], [0, 1]]))
    assert which.tolist() == [0, 1, 0]
    assert times.tolist() == [[1, 1], [2, 0], [1, 1]]
