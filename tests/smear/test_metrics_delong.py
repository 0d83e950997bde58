"""smear.metrics.delong: DeLong's test against the slow definition, groups against what they reduce to, Holm's worked example."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from smear.metrics.classification import roc_auc
from smear.metrics.delong import delong, delong_of_groups, holm, placements


def two_systems(seed, n=60, *, ties=False):
    rng = np.random.default_rng(seed)
    is_true = np.arange(n) % 3 == 0
    first, second = (is_true * 0.8 + rng.normal(size=n) for _ in range(2))
    return is_true, *(np.round(s) if ties else s for s in (first, second + 0.3 * first))


def slow_delong(is_true, first, second):
    """DeLong et al. (1988), equations 4 to 8, with the kernel written out and the full 2 × 2 covariance."""
    x, y = [s[is_true] for s in (first, second)], [s[~is_true] for s in (first, second)]
    kernel = [(xs[:, None] > ys[None]) + 0.5 * (xs[:, None] == ys[None]) for xs, ys in zip(x, y, strict=True)]
    s10, s01 = np.cov([k.mean(axis=1) for k in kernel]), np.cov([k.mean(axis=0) for k in kernel])
    cov = s10 / len(x[0]) + s01 / len(y[0])
    z = (kernel[0].mean() - kernel[1].mean()) / math.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    return 2 * norm.sf(abs(z))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_delongs_definition(seed, ties):
    is_true, first, second = two_systems(seed, ties=ties)
    one, other = placements(is_true, first), placements(is_true, second)
    assert one.auc == pytest.approx(roc_auc(is_true, first))
    assert one.of_rest.mean() == pytest.approx(one.auc)
    assert delong(one, other) == pytest.approx(slow_delong(is_true, first, second), rel=1e-9)
    assert delong(one, other) == delong(other, one)


def test_alone_in_its_group_a_cell_is_independent():
    is_true, first, second = two_systems(1)
    one, other = placements(is_true, first), placements(is_true, second)
    groups = np.arange(len(is_true))
    assert delong_of_groups(one, other, groups[is_true], groups[~is_true], len(groups)) == pytest.approx(delong(one, other), rel=1e-12)


def test_cells_that_come_ten_times_are_no_more_evidence():
    is_true, first, second = (np.tile(values, 10) for values in two_systems(2))
    groups = np.tile(np.arange(len(is_true) // 10), 10)
    one, other = placements(is_true, first), placements(is_true, second)
    once = delong(*(placements(*pair) for pair in zip([two_systems(2)[0]] * 2, two_systems(2)[1:], strict=True)))
    assert delong_of_groups(one, other, groups[is_true], groups[~is_true], len(is_true) // 10) == pytest.approx(once, rel=1e-9)
    assert delong(one, other) < once / 2


def test_groups_of_cells_alike_are_called_different_about_as_often_as_said():
    """Two systems that are equally good, 30 slides a kind whose cells err together: cells alone claim too much, groups do not."""
    rng, alone, grouped, n = np.random.default_rng(0), 0, 0, 300
    groups = np.repeat(np.arange(60), 10)
    is_true = groups % 2 == 0
    for _ in range(n):
        one, other = (placements(is_true, is_true + rng.normal(size=60)[groups] + 0.3 * rng.normal(size=600)) for _ in range(2))
        alone += delong(one, other) < 0.05
        grouped += delong_of_groups(one, other, groups[is_true], groups[~is_true], 60) < 0.05
    assert alone / n > 0.3
    assert 0.02 < grouped / n < 0.1


def test_equal_systems_differ_by_chance_and_opposite_ones_do_not():
    is_true = np.arange(20) < 10
    good = placements(is_true, is_true.astype(float))
    bad = placements(is_true, -is_true.astype(float))
    assert delong(good, good) == 1
    assert delong(good, bad) == 0


@pytest.mark.parametrize("n_true", [0, 1, 5])
def test_fewer_than_two_cells_of_a_kind_say_nothing(n_true):
    is_true = np.arange(5) < n_true
    one = placements(is_true, np.arange(5.0))
    assert math.isnan(one.auc) == (n_true in (0, 5))
    assert math.isnan(delong(one, one))
    assert math.isnan(delong_of_groups(one, one, np.zeros(n_true, int), np.zeros(5 - n_true, int), 1))


def test_holm_is_the_worked_example():
    """Four chances at once: 4 × 0.005, 3 × 0.010, then 2 × 0.03, below which the last cannot fall."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested_and_stays_a_chance():
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    found = holm([0.02, math.nan, 0.5])
    assert math.isnan(found[1])
    assert [found[0], found[2]] == [0.04, 0.5]
