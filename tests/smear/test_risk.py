"""smear.metrics.risk: the risk-coverage curve, counted by hand and over all orders of a tie."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.risk import N_POINTS, aurc, risk_coverage


def slow_aurc(is_right, confidence):
    """The mean risk over all coverages, averaged over every order that the confidences allow."""
    orders = [
        o for o in itertools.permutations(range(len(is_right))) if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(o))
    ]
    areas = [np.mean([np.mean([not is_right[i] for i in o[:k]]) for k in range(1, len(o) + 1)]) for o in orders]
    return float(np.mean(areas))


def test_no_cells_have_no_curve():
    found = risk_coverage(np.zeros(0, bool), np.zeros(0))
    assert (found["coverage"], found["risk"]) == ([], [])
    assert math.isnan(found["aurc"])
    assert math.isnan(aurc(np.zeros(0, bool), np.zeros(0)))


def test_a_worked_example():
    found = risk_coverage(np.array([False, True, True, False]), np.array([0.6, 0.9, 0.8, 0.7]))
    assert found["coverage"] == [0.25, 0.5, 0.75, 1]
    assert found["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert found["confidence"] == [0.9, 0.8, 0.7, 0.6]
    assert found["aurc"] == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert found["excess_aurc"] == pytest.approx(0)


def test_all_right_has_no_risk_and_errors_that_are_surest_cost_most():
    assert risk_coverage(np.ones(5, bool), np.arange(5))["aurc"] == 0
    worst = risk_coverage(np.array([False, True]), np.array([0.9, 0.6]))
    assert worst["aurc"] == pytest.approx(0.75)
    assert worst["excess_aurc"] == pytest.approx(0.75 - 0.25)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.5, 0.7, 0.9])), min_size=1, max_size=6))
def test_it_is_the_mean_over_all_orders_of_the_ties(cells):
    is_right, confidence = np.array([r for r, _ in cells]), np.array([c for _, c in cells])
    assert aurc(is_right, confidence) == pytest.approx(slow_aurc(is_right, confidence))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300))
def test_shares_are_bounded_and_the_order_of_the_cells_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    is_right, confidence = rng.random(n) < 0.8, rng.integers(0, 50, n) / 50
    found, order = risk_coverage(is_right, confidence), rng.permutation(n)
    again = risk_coverage(is_right[order], confidence[order])
    assert again["risk"] == pytest.approx(found["risk"])
    assert all(0 <= r <= 1 for r in found["risk"])
    assert found["coverage"] == sorted(set(found["coverage"]))
    assert found["coverage"][-1] == 1
    assert len(found["coverage"]) == min(n, N_POINTS)
    assert found["risk"][-1] == pytest.approx(1 - is_right.mean())
    assert found["excess_aurc"] >= -1e-12
    assert found["aurc"] == pytest.approx(aurc(is_right, confidence))


@pytest.mark.parametrize("confidence", [[0.5], [math.nan, 1]])
def test_wrong_input_is_refused(confidence):
    with pytest.raises(ValueError, match=r"shape|finite"):
        risk_coverage(np.array([True, False]), np.array(confidence))
