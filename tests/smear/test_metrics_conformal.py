"""smear.metrics.conformal: promised error rates and label sets hold, as often as they say, over many draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.conformal import (
    EVERY_CELL,
    PROMISE,
    STARTS,
    accepted_error,
    conformal_key,
    conformal_thresholds,
    error_bounds,
    error_threshold,
    label_sets,
    review_curve,
    thresholds_of_card,
)
from smear.metrics.statistics import clopper_pearson


def draw(rng, n, *, sharpness=0.6, coarse=False):
    """Confidences and mistakes of n cells: a label is wrong with chance 1 - confidence; coarse: only six confidences exist."""
    sure = 0.5 + 0.5 * rng.beta(2, sharpness, n)
    sure = np.ceil(sure * 10) / 10 - 0.03 if coarse else sure
    return sure, rng.random(n) > sure


def true_error(rng, **world):
    """The error rate at or above a confidence, from many cells."""
    sure, wrong = draw(rng, 300_000, **world)
    order = np.argsort(-sure, kind="stable")
    errors = np.cumsum(wrong[order]) / np.arange(1, len(sure) + 1)
    return lambda threshold: errors[max(0, int(np.searchsorted(-sure[order], -threshold, side="right")) - 1)]


def test_no_cell_promises_nothing():
    curve = review_curve(np.zeros(0), np.zeros(0, bool))
    assert curve["n"] == 0
    assert curve["confidence"] == curve["error"] == []
    assert error_threshold(curve, 0.5) is None
    assert math.isnan(accepted_error(np.zeros(0), np.zeros(0, bool), 0.5)["error"])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.8, 0.95, 1.0]), st.booleans()), min_size=1, max_size=250))
def test_the_curve_counts_what_a_loop_counts(cells):
    sure, wrong = np.array([c[0] for c in cells]), np.array([c[1] for c in cells])
    curve = review_curve(sure, wrong)
    for i, threshold in enumerate(curve["confidence"]):
        kept = [bad for confidence, bad in cells if confidence >= threshold]
        assert (curve["accepted"][i], curve["wrong"][i]) == (len(kept), sum(kept))
        assert curve["error"][i] == pytest.approx(sum(kept) / len(kept))
        assert curve["coverage"][i] == pytest.approx(len(kept) / len(cells))
    assert curve["coverage"] == sorted(curve["coverage"])
    assert curve["coverage"][-1] == 1
    order = np.random.default_rng(0).permutation(len(cells))
    assert review_curve(sure[order], wrong[order]) == curve


@pytest.mark.parametrize(("n", "max_error"), [(500, 0.1), (2000, 0.05), (2000, 0.02)])
@pytest.mark.parametrize("coarse", [False, True])
def test_the_promise_holds_over_many_validation_sets(n, max_error, coarse):
    """At most 5 % of the validation sets may give a threshold above which more labels are wrong than promised."""
    rng = np.random.default_rng(7)
    error, broken, given = true_error(rng, coarse=coarse), 0, 0
    for _ in range(100):
        threshold = error_threshold(review_curve(*draw(rng, n, coarse=coarse)), max_error)
        given += threshold is not None
        broken += threshold is not None and error(threshold) > max_error
    assert broken / 100 <= 1 - PROMISE
    assert max_error == 0.02 or given > 50  # it does not hold by saying nothing


def test_choosing_the_threshold_by_the_observed_rate_would_break_it():
    """What the bound is for: the lowest threshold whose observed error looks right is too low about every other time."""
    rng = np.random.default_rng(0)
    error, broken = true_error(rng), 0
    for _ in range(100):
        curve = review_curve(*draw(rng, 1000))
        good = [i for i, e in enumerate(curve["error"]) if e <= 0.05]
        broken += bool(good) and error(curve["confidence"][good[-1]]) > 0.05
    assert broken > 30


def test_the_promise_holds_when_slides_err_together():
    """20 slides of 100 cells, each with a difficulty of its own; without the design effect the promise is broken too often."""
    rng = np.random.default_rng(3)

    def draw_slides(n_slides):
        sure, harder = 0.5 + 0.5 * rng.beta(2, 0.6, (n_slides, 100)), rng.normal(0, 1.0, (n_slides, 1))
        odds = np.log(np.maximum(1 - sure, 1e-9) / sure) + harder
        return sure.ravel(), (rng.random(sure.shape) < 1 / (1 + np.exp(-odds))).ravel(), np.repeat(np.arange(n_slides), 100)

    sure, wrong, _ = draw_slides(4000)
    broken = {True: 0, False: 0}
    for _ in range(100):
        own_sure, own_wrong, slides = draw_slides(20)
        for grouped in broken:
            threshold = error_threshold(review_curve(own_sure, own_wrong, slides if grouped else None), 0.13)
            broken[grouped] += threshold is not None and wrong[sure >= threshold].mean() > 0.13
    assert broken[True] <= 5
    assert broken[False] >= 15


def test_a_laxer_promise_accepts_no_fewer_cells():
    curve = review_curve(*draw(np.random.default_rng(0), 4000))
    thresholds = [error_threshold(curve, e) for e in (0.03, 0.05, 0.1, 0.2)]
    assert None not in thresholds
    assert thresholds == sorted(thresholds, reverse=True)
    assert error_threshold(curve, 0.0001) is None


def test_bounds_are_one_sided_clopper_pearson_at_the_shared_risk():
    curve = {"confidence": [0.9, 0.5], "coverage": [0.5, 1.0], "wrong": [1, 8], "accepted": [50, 100], "design_effect": [1.0, 2.0]}
    risk = (1 - PROMISE) / len(STARTS)
    found = error_bounds(curve)
    assert found[0] == pytest.approx(clopper_pearson(1, 50, 1 - 2 * risk)[1])
    assert found[1] == pytest.approx(clopper_pearson(4, 50, 1 - 2 * risk)[1])


def test_a_bad_stretch_ends_a_sequence_but_not_one_that_starts_below_it():
    """Fixed sequences: from coverage 0.2 the bound fails at once, from 0.4 it holds as far as 0.6, then fails for good."""
    n = 10_000
    coverage = [i / 100 for i in range(1, 101)]
    share = [0.3 if c <= 0.3 else 0.001 if c <= 0.65 else 0.3 for c in coverage]
    accepted = [round(n * c) for c in coverage]
    curve = {
        "confidence": [1 - c / 2 for c in coverage],
        "coverage": coverage,
        "accepted": accepted,
        "wrong": [round(s * a) for s, a in zip(share, accepted, strict=True)],
        "design_effect": [1.0] * 100,
    }
    assert error_threshold(curve, 0.01) == pytest.approx(1 - 0.65 / 2)


@pytest.mark.parametrize("max_error", [0, 1, -0.1])
def test_an_impossible_error_rate_is_refused(max_error):
    with pytest.raises(ValueError, match="max_error"):
        error_threshold(review_curve(np.ones(3), np.zeros(3, bool)), max_error)
    with pytest.raises(ValueError, match="differ in length"):
        review_curve(np.ones(3), np.zeros(2, bool))


def test_what_a_promise_came_to():
    found = accepted_error(np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, False, True]), 0.7)
    assert (found["n"], found["n_accepted"], found["n_wrong"], found["coverage"], found["error"]) == (4, 3, 1, 0.75, 1 / 3)
    assert (found["low"], found["high"]) == pytest.approx(clopper_pearson(1, 3))
    assert accepted_error(np.ones(5), np.zeros(5, bool), EVERY_CELL)["n_accepted"] == 0


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_the_truth_of_each_class_is_in_the_set_as_often_as_said(alpha):
    """90 % ALL in validation, 50 % in the fields analysed: the coverage is kept class by class."""
    rng, kept = np.random.default_rng(1), []
    for _ in range(200):
        labels = np.concatenate([(rng.random(300) < 0.1).astype(int), (rng.random(400) < 0.5).astype(int)])
        p_all = np.clip(np.where(labels == 0, 0.7, 0.4) + rng.normal(0, 0.2, 700), 0, 1)
        p = np.stack([p_all, 1 - p_all], axis=1)
        sets = label_sets(p[300:], conformal_thresholds(p[:300], labels[:300], alpha))
        new = labels[300:]
        kept.append([sets[new == c, c].mean() for c in (0, 1)])
    assert (np.mean(kept, axis=0) >= 1 - alpha - 0.01).all()
    if alpha < 0.2:  # beyond, the most probable class, which is always in, covers more by itself
        assert (np.mean(kept, axis=0) <= 1 - alpha + 0.06).all()


def test_label_sets_are_never_empty_and_few_cells_exclude_nothing():
    p = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8]])
    np.testing.assert_array_equal(label_sets(p, np.array([0.5, 0.4])), [[True, False], [True, True], [False, True]])
    assert label_sets(p, np.array([1.0, 1.0])).sum(axis=1).tolist() == [1, 1, 1]
    assert label_sets(np.zeros((0, 2)), np.array([0.5, 0.5])).shape == (0, 2)
    assert conformal_thresholds(p, np.array([0, 0, 1]), 0.1).tolist() == [0, 0]
    assert conformal_thresholds(np.zeros((0, 3)), np.zeros(0, int), 0.1).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="alpha"):
        conformal_thresholds(p, np.zeros(3, int), 0)


def test_the_rank_is_that_of_split_conformal_prediction():
    own = np.arange(1, 20) / 20  # 19 cells at 0.05 … 0.95: with alpha 0.1 the second smallest, (19 + 1) · 0.1
    p = np.stack([own, 1 - own], axis=1)
    assert conformal_thresholds(p, np.zeros(19, int), 0.1)[0] == pytest.approx(0.1)


def test_the_card_gives_its_thresholds_back():
    stored = {conformal_key(0.1, "ALL"): 0.8, conformal_key(0.1, "HEM"): 0.4, "needs_review": 0.6}
    found = thresholds_of_card(stored, ("ALL", "HEM"), 0.1)
    assert found is not None
    assert found.tolist() == [0.8, 0.4]
    assert thresholds_of_card(stored, ("ALL", "HEM"), 0.05) is None
