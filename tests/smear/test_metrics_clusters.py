"""smear.metrics.clusters: cells of one slide err together, and counts say so."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.clusters import counts_of_next_group, design_effect, intraclass_correlation
from smear.metrics.prevalence import rejections


def draw(rng, share, alike, n_groups, size):
    """Hits of cells in groups whose own shares vary: beta-binomial with that intraclass correlation."""
    own = rng.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), n_groups) if alike else np.full(n_groups, share)
    return (rng.random((n_groups, size)) < own[:, None]).ravel(), np.repeat(np.arange(n_groups), size)


def test_no_cell_is_no_count():
    none = np.zeros(0, bool), np.zeros(0, int)
    assert counts_of_next_group(*none) == (0, 0)
    assert design_effect(*none) == 1
    assert math.isnan(intraclass_correlation(*none))


def test_a_worked_example():
    """Groups 3 of 4, 1 of 4: between 8 (0.25²)/1 = 0.5, within 2 (4 · 0.75 · 0.25)/6 = 0.25; (0.5 - 0.25)/(0.5 + 3 · 0.25) = 0.2."""
    hits, groups = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool), np.repeat(["a", "b"], 4)
    assert intraclass_correlation(hits, groups) == pytest.approx(0.2)
    k, n = counts_of_next_group(hits, groups)  # each group is worth 4 / 1.6 = 2.5 cells
    assert n == pytest.approx(1 / (0.2 + 1 / 5))
    assert k / n == pytest.approx(0.5)
    assert design_effect(hits, groups) == pytest.approx(2.0)  # residuals ±1: variance 2 · 2 / 64, of independent cells 1 / 32


@pytest.mark.parametrize("alike", [0.0, 0.05, 0.3])
def test_the_correlation_that_made_the_cells_is_found(alike):
    hits, groups = draw(np.random.default_rng(0), 0.8, alike, 2000, 20)
    assert intraclass_correlation(hits, groups) == pytest.approx(alike, abs=0.02)
    assert design_effect(hits, groups) == pytest.approx(1 + 19 * alike, rel=0.1)
    k, n = counts_of_next_group(hits, groups)
    assert k / n == pytest.approx(0.8, abs=0.02)
    assert n == pytest.approx(1 / (alike + (1 + 19 * alike) / 40_000), rel=0.1) if alike else 10_000 < n <= 40_000


def test_groups_all_right_or_all_wrong_are_worth_their_number():
    hits, groups = np.repeat([True, False, True, True], 50), np.repeat(np.arange(4), 50)
    assert intraclass_correlation(hits, groups) == 1
    assert counts_of_next_group(hits, groups) == pytest.approx((0.75 * 0.8, 0.8))  # 1 / (1 + 1 / 4)


def test_one_group_says_nothing_about_another():
    assert counts_of_next_group(np.arange(100) < 90, np.zeros(100, int))[1] < 1


def test_cells_that_are_their_own_group_are_independent():
    hits = np.arange(100) < 90
    assert counts_of_next_group(hits, np.arange(100)) == pytest.approx((90, 100))
    assert design_effect(hits, np.arange(100)) == pytest.approx(100 / 99)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40), st.randoms())
def test_bounds_and_order(cells, random):
    hits, groups = np.array([c[0] for c in cells]), np.array([c[1] for c in cells])
    k, n = counts_of_next_group(hits, groups)
    assert 0 <= k <= n <= len(cells) + 1e-9
    assert design_effect(hits, groups) >= 1
    order = list(range(len(cells)))
    random.shuffle(order)
    assert counts_of_next_group(hits[order], groups[order]) == pytest.approx((k, n))


def test_hits_and_groups_must_belong_together():
    with pytest.raises(ValueError, match="differ in length"):
        design_effect(np.ones(3, bool), np.zeros(2))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_interval_of_a_new_slide_covers_when_slides_differ(share):
    """25 calibration slides of 40 cells each; every slide has a sensitivity and a specificity of its own (correlation 0.05)."""
    rng, n, draws = np.random.default_rng(0), 200, 1000
    plain, following, called = [], [], []
    for _ in range(draws):
        cells = [draw(rng, mean, 0.05, 25, 40) for mean in (0.87, 0.80)]
        own = [rng.beta(mean * 19, (1 - mean) * 19) for mean in (0.87, 0.80)]
        called.append(rng.binomial(n, share * own[0] + (1 - share) * (1 - own[1])))
        plain.append([(hits.sum(), len(hits)) for hits, _ in cells])
        following.append([counts_of_next_group(*c) for c in cells])

    def covered(rates):
        counts = np.array(rates, float).transpose(1, 2, 0)  # (2, 2, draws)
        too_many, too_few = rejections(share, np.array(called), n, *counts)
        return (~(too_many | too_few)).mean()

    assert 0.92 < covered(following) < 0.98
    assert covered(plain) < 0.75
