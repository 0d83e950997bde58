"""smear.metrics.operating: the chosen threshold is the best of all there are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.operating import RULES, at_threshold, choose_threshold, share_of


def slow_value(is_true, scores, threshold, rule, target):
    called = scores >= threshold
    sensitivity, specificity = (is_true & called).sum() / is_true.sum(), (~is_true & ~called).sum() / (~is_true).sum()
    if rule == "youden":
        return sensitivity + specificity - 1
    if rule == "f1":
        return 2 * (is_true & called).sum() / (called.sum() + is_true.sum())
    return specificity if sensitivity >= target - 1e-12 else -1.0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25), st.sampled_from(RULES), st.sampled_from([0.5, 0.8, 1.0]))
def test_no_other_threshold_is_better(seed, n, rule, target):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 9, n) / 8).astype(np.float32)
    is_true = np.array([True, False, *(rng.random(n - 2) < scores[2:])])
    point = choose_threshold(is_true, scores, rule=rule, target=target)
    every = [slow_value(is_true, scores, t, rule, target) for t in (*np.unique(scores), 2.0)]
    assert slow_value(is_true, scores, point.threshold, rule, target) == pytest.approx(max(every))
    assert point.threshold not in scores or point.threshold == 0
    order = rng.permutation(n)
    assert choose_threshold(is_true[order], scores[order], rule=rule, target=target) == point


def test_a_worked_example():
    is_true, scores = np.array([1, 1, 1, 0, 0, 0], bool), np.array([0.9, 0.8, 0.3, 0.6, 0.2, 0.1])
    assert choose_threshold(is_true, scores).threshold == pytest.approx(0.7)  # 2/3 + 3/3, as 0.25 with 3/3 + 2/3, and nearer 0.5
    assert choose_threshold(is_true, scores, rule="f1").threshold == pytest.approx(0.25)
    strict = choose_threshold(is_true, scores, rule="sensitivity", target=0.9)
    assert (strict.threshold, strict.target) == (pytest.approx(0.25), 0.9)


def test_perfect_scores_are_parted_in_the_middle():
    assert choose_threshold(np.array([True, False]), np.array([0.9, 0.3])).threshold == pytest.approx(0.6)


@pytest.mark.parametrize("is_true", [[], [True], [False, False]])
def test_one_kind_of_cell_chooses_nothing(is_true):
    assert choose_threshold(np.array(is_true, bool), np.full(len(is_true), 0.5)) is None


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="youden, f1, sensitivity"):
        choose_threshold(np.array([True, False]), np.array([0.9, 0.3]), rule="best")


def test_counts_at_a_threshold():
    found = at_threshold(np.array([1, 1, 0, 0, 0], bool), np.array([0.7, 0.2, 0.7, 0.1, 0.6]), 0.65)
    assert {name: (found[name]["k"], found[name]["n"]) for name in found} == {
        "sensitivity": (1, 2),
        "specificity": (2, 3),
        "ppv": (1, 2),
        "npv": (2, 3),
        "accuracy": (3, 5),
    }
    assert found["sensitivity"]["low"] < 0.5 < found["sensitivity"]["high"]


def test_nothing_counted_is_undefined():
    found = at_threshold(np.zeros(0, bool), np.zeros(0), 0.5)["sensitivity"]
    assert math.isnan(found["value"])
    assert (found["low"], found["high"]) == (0, 1)
    assert share_of(3, 3)["value"] == 1
