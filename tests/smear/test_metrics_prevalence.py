"""smear.metrics.prevalence: the corrected share and its interval; by simulation, by symmetry, and against the slow definition."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from smear.metrics.coverage import CLASSIFIERS, SHARES, SIZES, coverage, coverage_table, main
from smear.metrics.prevalence import corrected_interval, is_correctable, limits, rejections, rogan_gladen
from smear.metrics.statistics import clopper_pearson

SE, SP = (87, 100), (80, 100)


def test_nothing_counted_says_nothing():
    assert corrected_interval(0, 0, SE, SP) == (0, 1)
    assert math.isnan(rogan_gladen(0, 0, SE, SP))
    assert math.isnan(rogan_gladen(1, 2, (0, 0), SP))


def test_a_perfect_classifier_needs_no_correction():
    perfect = (10**6, 10**6)
    assert rogan_gladen(37, 200, perfect, perfect) == pytest.approx(0.185)
    low, high = corrected_interval(37, 200, perfect, perfect)
    exact = clopper_pearson(37, 200)
    assert exact[0] - 0.001 < low < 0.185 < high < exact[1] + 0.001


@pytest.mark.parametrize(
    ("k", "n", "sensitivity", "specificity", "share"),
    [(20, 100, SE, SP, 0.0), (87, 100, SE, SP, 1.0), (25, 100, (90, 100), (95, 100), 0.2 / 0.85), (5, 100, SE, SP, -0.15 / 0.67)],
)
def test_rogan_gladen_undoes_what_errors_did(k, n, sensitivity, specificity, share):
    assert rogan_gladen(k, n, sensitivity, specificity) == pytest.approx(share, abs=1e-12)


def test_a_slide_without_blasts_reads_twenty_percent_uncorrected_and_none_corrected():
    rng = np.random.default_rng(0)
    called = rng.random(100_000) < 0.2  # specificity 0.80, no blast at all
    assert called.mean() == pytest.approx(0.20, abs=0.005)
    low, high = corrected_interval(int(called[:200].sum()), 200, (870, 1000), (800, 1000))
    uncorrected = clopper_pearson(int(called[:200].sum()), 200)
    assert uncorrected[0] > 0.1  # the plain interval excludes the truth
    assert low == 0.0
    assert high < 0.15


@pytest.mark.parametrize("calibration", [(50, 50), (100, 100), (300, 200), (3000, 1000)])
def test_the_interval_covers_93_to_97_percent(calibration):
    """Prevalence 0 to 60 %, 50 to 1000 cells; 2000 slides leave a standard error of 0.5 %."""
    table = coverage_table((0.87, 0.80), calibration, draws=2000, seed=1)
    assert table.shape == (len(SIZES), len(SHARES))
    assert 0.93 <= table.min()
    assert table.max() <= 0.975
    assert 0.945 <= table.mean() <= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("calibration", [(50, 50), (300, 200)])
def test_the_interval_covers_93_to_97_percent_exactly(calibration):
    table = coverage_table((0.87, 0.80), calibration, draws=20_000, seed=2)
    assert 0.93 <= table.min()
    assert table.max() <= 0.97


@pytest.mark.parametrize("confidence", [0.8, 0.99])
def test_other_confidences_are_kept_too(confidence):
    found = [coverage(p, 200, (0.87, 0.8), (200, 200), draws=4000, confidence=confidence) for p in (0.0, 0.1, 0.5)]
    np.testing.assert_allclose(found, confidence, atol=0.02)


def test_the_naive_interval_that_takes_the_rates_as_known_covers_less():
    """What propagating the rates' own uncertainty is for."""
    rng = np.random.default_rng(0)
    k, hits, passed = rng.binomial(1000, 0.3 * 0.87 + 0.7 * 0.2, 4000), rng.binomial(50, 0.87, 4000), rng.binomial(50, 0.8, 4000)
    million = np.full(4000, 1e6)
    too_many, too_few = rejections(0.3, k, 1000, (hits / 50 * 1e6, million), (passed / 50 * 1e6, million))
    assert (~(too_many | too_few)).mean() < 0.7


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(75, 100), st.integers(75, 100))
def test_the_interval_is_what_the_test_does_not_reject(counts, found, passed):
    k, n = counts
    low, high = corrected_interval(k, n, (found, 100), (passed, 100))
    assert 0 <= low <= high <= 1
    shares = np.linspace(0, 1, 201)
    too_many, too_few = rejections(shares, k, n, (found, 100), (passed, 100))
    inside = (shares > low + 1e-6) & (shares < high - 1e-6)
    assert not (too_many | too_few)[inside].any()
    assert too_many[shares < low - 1e-6].all()
    assert too_few[shares > high + 1e-6].all()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(75, 100), st.integers(75, 100))
def test_counting_the_other_kind_mirrors_the_interval(counts, found, passed):
    k, n = counts
    low, high = corrected_interval(k, n, (found, 100), (passed, 100))
    other = corrected_interval(n - k, n, (passed, 100), (found, 100))
    assert (1 - other[1], 1 - other[0]) == pytest.approx((low, high), abs=1e-5)


def test_more_positives_mean_more_blasts_and_more_cells_a_shorter_interval():
    ends = [corrected_interval(k, 100, SE, SP) for k in range(0, 101, 10)]
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(ends))
    widths = [high - low for low, high in (corrected_interval(n * 4 // 10, n, (870, 1000), (800, 1000)) for n in (50, 200, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_a_classifier_no_better_than_chance_corrects_nothing():
    assert not is_correctable((50, 100), (50, 100))
    assert not is_correctable((3, 4), (3, 4))  # too few cells to know
    assert corrected_interval(30, 100, (50, 100), (50, 100)) == (0, 1)
    assert math.isnan(rogan_gladen(30, 100, (40, 100), (50, 100)))


def test_limits_are_clopper_pearson_for_whole_counts():
    for k, n in ((0, 10), (10, 10), (3, 40)):
        assert limits(k, n) == pytest.approx(clopper_pearson(k, n))
    assert limits(0, 0) == (0, 1)
    assert limits(2.5, 10)[0] < limits(3, 10)[0]


def test_the_fit_with_a_fixed_share_is_the_most_likely_one():
    """Against a general minimiser: the statistic that decides, at one share, for one count."""
    k, n, hits, positives, passed, negatives, share = 70.25, 200.5, 87.5, 101.0, 80.5, 101.0, 0.35

    def loss(rates):
        q = share * rates[0] + (1 - share) * (1 - rates[1])
        pairs = ((k, n, q), (hits, positives, rates[0]), (passed, negatives, rates[1]))
        return -sum(a * math.log(r) + (b - a) * math.log(1 - r) for a, b, r in pairs)

    best = minimize(loss, (0.8, 0.8), bounds=[(0.01, 0.99)] * 2, tol=1e-12).fun
    free = -sum(a * math.log(a / b) + (b - a) * math.log(1 - a / b) for a, b in ((k, n), (hits, positives), (passed, negatives)))
    root = math.sqrt(2 * (best - free))  # k / n is below what this share would give: too few when root > z
    for confidence in (math.erf(root * f / math.sqrt(2)) for f in (0.99, 1.01)):
        too_few = rejections(share, 70, 200, SE, SP, confidence)[1]
        assert bool(too_few) is (confidence < math.erf(root / math.sqrt(2)))


@pytest.mark.parametrize("counts", [(-1, 5, SE, SP), (6, 5, SE, SP), (1, 5, (9, 8), SP), (1, 5, SE, (-1, 8))])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="hits <= trials"):
        corrected_interval(*counts)
    with pytest.raises(ValueError, match="confidence"):
        corrected_interval(1, 2, SE, SP, 1.0)


def test_the_command_prints_one_table_a_classifier(capsys):
    assert main(["--draws", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("% blasts") == len(CLASSIFIERS)
    assert "sensitivity 0.87 of 100 cells" in printed
