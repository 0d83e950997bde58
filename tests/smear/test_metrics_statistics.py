"""smear.metrics.statistics: exact intervals, checked against the binomial sum and a published table."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.statistics import clopper_pearson


def tail(k, n, p):
    """P(X >= k) for X binomial(n, p), summed term by term."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def test_nothing_counted_says_nothing():
    assert clopper_pearson(0, 0) == (0, 1)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(0, 10, 0, 0.3085), (10, 10, 0.6915, 1), (1, 10, 0.0025, 0.4450), (5, 20, 0.0866, 0.4910)]
)
def test_published_values(k, n, low, high):
    assert clopper_pearson(k, n) == pytest.approx((low, high), abs=6e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_each_end_leaves_half_of_the_rest_outside(counts, confidence):
    k, n = counts
    low, high = clopper_pearson(k, n, confidence)
    assert 0 <= low <= k / n <= high <= 1
    if k > 0:
        assert tail(k, n, low) == pytest.approx((1 - confidence) / 2, abs=1e-6)
    if k < n:
        assert 1 - tail(k + 1, n, high) == pytest.approx((1 - confidence) / 2, abs=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_the_interval_covers_at_least_as_often_as_it_says(share):
    n = 40
    drawn = np.random.default_rng(0).binomial(n, share, 2000)
    intervals = {k: clopper_pearson(int(k), n) for k in set(drawn.tolist())}
    assert np.mean([intervals[k][0] <= share <= intervals[k][1] for k in drawn.tolist()]) >= 0.94


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0), (1, 5, 1)])
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(ValueError):
        clopper_pearson(k, n, confidence)
