"""smear.metrics.statistics.bootstrap: checked against all resamples written out, scipy's own, and the truth it should cover."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smear.metrics.statistics import bootstrap, clopper_pearson, field_groups, group_members, resamples
from smear.types import Field


def mean_of(values):
    return lambda index: {"share": float(values[index].mean()) if len(index) else math.nan}


def test_nothing_to_draw_says_nothing():
    found = bootstrap([], mean_of(np.zeros(0)))["share"]
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.n_groups == 0


def test_one_group_cannot_vary():
    found = bootstrap(["a"] * 5, mean_of(np.array([0, 1, 1, 0, 1])))["share"]
    assert found.value == 0.6
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_is_that_of_all_resamples_written_out():
    groups, values = ["a", "a", "b", "b", "b", "c", "d"], np.array([0, 1, 1, 1, 0, 0, 1.0])
    members = group_members(groups)
    every = [float(values[np.concatenate([members[g] for g in drawn])].mean()) for drawn in itertools.product(range(4), repeat=4)]
    found = bootstrap(groups, mean_of(values), n_resamples=20_000)["share"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(every, (0.025, 0.975))), abs=0.02)


def test_with_one_item_a_group_it_is_the_ordinary_bootstrap():
    values = np.random.default_rng(3).random(40)
    found = bootstrap([str(i) for i in range(40)], mean_of(values), n_resamples=4000)["share"]
    usual = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high), abs=0.01)


def test_all_alike_is_not_certain():
    found = bootstrap(["a", "b", "b", "c"], mean_of(np.ones(4)))["share"]
    assert (found.low, found.high) == clopper_pearson(3, 3)
    assert "exact" in found.method
    assert bootstrap(["a", "b"], mean_of(np.zeros(2)))["share"].high == clopper_pearson(0, 2)[1]


def test_undefined_resamples_are_left_out_and_counted():
    values = np.array([math.nan, 0.2, 0.6, 0.4])
    found = bootstrap(list("abcd"), lambda i: {"x": float(np.nanmean(values[i])) if np.isfinite(values[i]).any() else math.nan})["x"]
    assert 0.2 <= found.low <= found.high <= 0.6
    n_defined = int(found.method.split()[-2])
    assert 980 <= n_defined < 1000  # all four draws hit "a" once in 256


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_intervals_are_bounded_and_forget_the_order_of_the_items(seed, n):
    rng = np.random.default_rng(seed)
    groups, values = rng.choice(list("abcdefg"), n), rng.random(n)
    found = bootstrap(groups.tolist(), mean_of(values), n_resamples=100)["share"]
    assert math.isnan(found.low) or 0 <= found.low <= found.high <= 1
    within = np.argsort(np.array(groups) != groups[0], kind="stable")  # the items of the first group first: groups keep their order
    again = bootstrap(groups[within].tolist(), mean_of(values[within]), n_resamples=100)["share"]
    if list(dict.fromkeys(groups[within].tolist())) == list(dict.fromkeys(groups.tolist())):
        assert (again.low, again.high) == pytest.approx((found.low, found.high), nan_ok=True)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(30)
    groups = [str(i % 6) for i in range(30)]
    assert bootstrap(groups, mean_of(values), seed=5) == bootstrap(groups, mean_of(values), seed=5)
    assert bootstrap(groups, mean_of(values), seed=5) != bootstrap(groups, mean_of(values), seed=6)


@pytest.mark.parametrize(("n_groups", "at_least"), [(40, 0.90), (10, 0.82)])
def test_groups_that_differ_are_covered_and_single_cells_would_not_be(n_groups, at_least):
    """Slides of 20 cells whose shares differ from slide to slide: 600 trials covered .94 (40) and .91 (10), by cell .62, .61."""
    rng, hits, by_cell = np.random.default_rng(0), 0, 0
    for trial in range(150):
        share = rng.beta(2, 2, n_groups)
        values = (rng.random((n_groups, 20)) < share[:, None]).reshape(-1).astype(float)
        names = np.repeat(np.arange(n_groups), 20).astype(str).tolist()
        found = bootstrap(names, mean_of(values), n_resamples=200, seed=trial)["share"]
        hits += found.low <= 0.5 <= found.high
        low, high = clopper_pearson(int(values.sum()), len(values))
        by_cell += low <= 0.5 <= high
    assert hits / 150 >= at_least
    assert by_cell / 150 < hits / 150


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="n_resamples"):
        resamples(3, n_resamples=0, seed=0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap(["a"], mean_of(np.ones(1)), confidence=1)


def test_a_field_belongs_to_its_patient_else_its_slide_else_itself():
    fields = [Field("a/1.png", Path("1"), slide="a", patient="p"), Field("a/2.png", Path("2"), slide="a", patient="p")]
    assert field_groups(fields) == (("patient p", "patient p"), "patient")
    mixed = [*fields, Field("b/1.png", Path("3"), slide="b"), Field("4.png", Path("4"))]
    assert field_groups(mixed) == (("patient p", "patient p", "slide b", "field 4.png"), "group")
    assert field_groups([Field("4.png", Path("4"))])[1] == "field"
    assert field_groups([]) == ((), "group")
