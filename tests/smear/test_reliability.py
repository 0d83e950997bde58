"""smear.metrics.reliability: bins counted by hand, torchmetrics and scikit-learn agree."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from smear.metrics.reliability import brier_score, calibration_error, reliability


def slow_ece(is_true, stated, n_bins):
    """Bin by bin: a bin holds low < p <= high, the first one 0 too."""
    total = 0.0
    for b in range(n_bins):
        inside = [(t, p) for t, p in zip(is_true, stated, strict=True) if b / n_bins < p <= (b + 1) / n_bins or (b == 0 and p == 0)]
        if inside:
            total += abs(sum(t for t, _ in inside) - sum(p for _, p in inside))
    return total / len(stated)


def test_no_cells_have_no_bins_and_no_error():
    found = reliability(np.zeros(0, bool), np.zeros(0))
    assert found["n"] == found["stated"] == found["observed"] == []
    assert math.isnan(calibration_error(np.zeros(0, bool), np.zeros(0)))
    assert math.isnan(brier_score(np.zeros(0, bool), np.zeros(0)))


def test_a_worked_example():
    is_true, stated = np.array([0, 0, 1, 1, 1, 0], bool), np.array([0.1, 0.2, 0.2, 0.9, 0.8, 0.9])
    found = reliability(is_true, stated, n_bins=2)
    assert found["n"] == [3, 3]
    assert found["stated"] == pytest.approx([0.5 / 3, 2.6 / 3])
    assert found["observed"] == pytest.approx([1 / 3, 2 / 3])
    assert calibration_error(is_true, stated, n_bins=2) == pytest.approx((0.5 + 0.6) / 6)
    assert brier_score(is_true, stated) == pytest.approx((0.01 + 0.04 + 0.64 + 0.01 + 0.04 + 0.81) / 6)


def test_the_published_example_of_brier():
    """Ten rain forecasts of his table 1, two classes: 0.19 for the sum over both classes, half of it for one."""
    p = np.array([0.7, 0.9, 0.8, 0.4, 0.2, 0, 0, 0, 0, 0.1])
    rained = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    assert 2 * brier_score(rained, p) == pytest.approx(0.19)


def test_certain_and_right_is_perfect_and_empty_bins_are_left_out():
    is_true = np.array([True, False, True])
    assert calibration_error(is_true, is_true.astype(float)) == brier_score(is_true, is_true.astype(float)) == 0
    found = reliability(is_true, is_true.astype(float))
    assert found["n"] == [1, 2]
    assert (found["bin_low"][0], found["bin_high"][-1]) == (0, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([1, 4, 10, 15]))
def test_it_is_the_slow_version_bounded_and_forgets_the_order(seed, n, n_bins):
    rng = np.random.default_rng(seed)
    stated = rng.integers(0, 21, n) / 20  # many on the edge of a bin
    is_true = rng.random(n) < stated
    error = calibration_error(is_true, stated, n_bins=n_bins)
    order = rng.permutation(n)
    assert error == pytest.approx(slow_ece(is_true, stated, n_bins), abs=1e-9)
    assert 0 <= error <= 1
    assert error == pytest.approx(calibration_error(is_true[order], stated[order], n_bins=n_bins))
    assert brier_score(is_true, stated) == pytest.approx(brier_score_loss(is_true, stated, labels=[False, True]))
    found = reliability(is_true, stated, n_bins=n_bins)
    assert sum(found["n"]) == n
    assert sum(k * abs(s - o) for k, s, o in zip(found["n"], found["stated"], found["observed"], strict=True)) / n == pytest.approx(error)
    assert all(low <= o <= high for low, o, high in zip(found["observed_low"], found["observed"], found["observed_high"], strict=True))


def test_torchmetrics_says_the_same():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    stated = rng.random(500)
    is_true = rng.random(500) < stated**2
    theirs = functional.binary_calibration_error(torch.tensor(stated), torch.tensor(is_true.astype(int)), n_bins=15)
    assert calibration_error(is_true, stated) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("stated", [[0.5], [1.2, 0.1], [math.nan, 0.1]])
def test_what_is_no_probability_is_refused(stated):
    with pytest.raises(ValueError, match=r"shape|in \[0, 1\]"):
        reliability(np.array([True, False]), np.array(stated))
