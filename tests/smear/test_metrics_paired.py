"""smear.metrics.paired: the same resample for both models, and the exact test of the cells that differ."""

import math
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear.metrics.paired import Difference, mcnemar, paired_bootstrap

COUNTS = st.integers(0, 60)


def share_of(hits):
    return lambda index: {"share": float(np.asarray(hits)[index].mean()) if len(index) else math.nan}


def slow_mcnemar(fixed, broken):
    """Both tails of a fair coin, added up one by one."""
    n = fixed + broken
    chances = [comb(n, k) / 2**n for k in range(n + 1)]
    return min(1.0, sum(c for c in chances if c <= chances[fixed] * (1 + 1e-7)))


class TestMcNemar:
    @given(COUNTS, COUNTS)
    def test_it_is_the_coin_that_it_says(self, fixed, broken):
        assert mcnemar(fixed, broken) == pytest.approx(slow_mcnemar(fixed, broken), rel=1e-6)

    def test_the_published_example(self):
        """Airway measurements of children before and after transplantation, 1 and 7 that differ: exact p 0.070 (Fagerland et al. 2013)."""
        assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)

    @given(COUNTS, COUNTS)
    def test_it_is_a_chance_and_has_no_favourite(self, fixed, broken):
        assert 0 < mcnemar(fixed, broken) == mcnemar(broken, fixed) <= 1

    def test_no_difference_is_no_evidence(self):
        assert mcnemar(0, 0) == 1

    def test_a_negative_count_is_refused(self):
        with pytest.raises(ValueError, match="0 or more"):
            mcnemar(-1, 2)


class TestPairedBootstrap:
    def test_a_model_compared_with_itself_has_not_changed_for_certain(self):
        hits = np.arange(20) % 3 > 0
        found = paired_bootstrap([str(i // 4) for i in range(20)], share_of(hits), share_of(hits))["share"]
        assert (found.change, found.low, found.high, found.n_groups) == (0, 0, 0, 5)

    def test_the_pairing_is_the_point(self):
        """Slides differ much and the models little: side by side the intervals overlap, paired the change is certain."""
        rng = np.random.default_rng(0)
        hard = np.repeat(rng.random(30), 40)
        luck = rng.random(1200)
        old, new = luck > hard, luck > hard - 0.1
        groups = [str(i // 40) for i in range(1200)]
        paired = paired_bootstrap(groups, share_of(old), share_of(new), n_resamples=400)["share"]
        spread = paired_bootstrap(groups, lambda index: {"share": 0.0}, share_of(new), n_resamples=400)["share"]
        assert paired.low > 0
        assert paired.high - paired.low < (spread.high - spread.low) / 2

    def test_the_interval_holds_the_change_and_the_slow_version_agrees(self):
        rng = np.random.default_rng(1)
        old, new, groups = rng.random(24) > 0.5, rng.random(24) > 0.3, np.repeat(np.arange(6), 4)
        found = paired_bootstrap([str(g) for g in groups], share_of(old), share_of(new), n_resamples=300, seed=7)["share"]
        draws = []
        for drawn in np.sort(np.random.default_rng(7).integers(0, 6, (300, 6)), axis=1):
            rows = [i for g in drawn for i in np.flatnonzero(groups == g)]
            draws.append(new[rows].mean() - old[rows].mean())
        assert found.low == pytest.approx(np.quantile(draws, 0.025))
        assert found.high == pytest.approx(np.quantile(draws, 0.975))
        assert found.low <= found.change <= found.high

    def test_turned_round_it_is_mirrored(self):
        rng = np.random.default_rng(2)
        old, new, groups = rng.random(30) > 0.5, rng.random(30) > 0.4, [str(i // 5) for i in range(30)]
        there = paired_bootstrap(groups, share_of(old), share_of(new))["share"]
        back = paired_bootstrap(groups, share_of(new), share_of(old))["share"]
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low))

    def test_one_group_cannot_vary_and_nothing_says_nothing(self):
        one = paired_bootstrap(["a"] * 3, share_of([1, 0, 0]), share_of([1, 1, 0]))["share"]
        none = paired_bootstrap([], share_of([]), share_of([]))["share"]
        assert one.change == pytest.approx(1 / 3)
        assert np.isnan([one.low, one.high, none.change, none.low]).all()

    def test_only_what_both_know_is_compared(self):
        found = paired_bootstrap(["a", "b"], lambda _: {"x": 1.0, "y": 0.0}, lambda _: {"x": 0.5, "z": 0.0}, n_resamples=5)
        assert list(found) == ["x"]

    def test_a_confidence_is_a_share(self):
        with pytest.raises(ValueError, match="confidence"):
            paired_bootstrap(["a"], share_of([1]), share_of([1]), confidence=95)


class TestVerdict:
    @pytest.mark.parametrize(
        ("new", "low", "high", "certain", "verdict"),
        [
            (0.89, -0.02, 0.01, False, "same"),
            (0.85, -0.08, 0.01, False, "worse"),
            (0.85, -0.08, 0.01, True, "same"),
            (0.85, -0.08, -0.01, True, "worse"),
            (0.95, -0.01, 0.08, False, "better"),
            (0.95, math.nan, math.nan, True, "same"),
            (math.nan, math.nan, math.nan, False, "undefined"),
        ],
    )
    def test_the_rule(self, new, low, high, certain, verdict):
        assert Difference(0.9, new, low, high, 5, "").verdict(0.02, certain=certain) == verdict
