"""smear.metrics.blasts: never a bare percentage."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics import blasts
from smear.metrics.blasts import blast_estimate, cells_to_see_a_blast, chance_of_no_blast, counts_of_card, more_cells
from smear.metrics.prevalence import corrected_interval
from smear.metrics.statistics import clopper_pearson

GOOD = {"sensitivity": (8700, 10_000), "specificity": (8000, 10_000)}
SMALL = {"sensitivity": (87, 100), "specificity": (80, 100)}
UNKNOWN = {"sensitivity": None, "specificity": None}


def test_no_cell_says_nothing():
    found = blast_estimate(0, 0, **GOOD)
    assert found.verdict == blasts.NO_CELLS
    assert math.isnan(found.share)
    assert (found.low, found.high, found.adjusted, found.chance_of_none) == (0, 1, None, 1)
    assert found.more_cells is not None
    assert "nothing can be said" in found.text


@pytest.mark.parametrize(("n", "chance"), [(100, 0.37), (200, 0.13), (400, 0.018)])
def test_the_chance_to_see_no_blast_among_so_many_cells(n, chance):
    assert chance_of_no_blast(0.01, n) == pytest.approx(chance, abs=0.005)


def test_cells_to_see_a_blast_is_the_inverse():
    assert cells_to_see_a_blast(0.01) == 299
    assert cells_to_see_a_blast(0.05) == 59
    assert chance_of_no_blast(0.01, 299) <= 0.05 < chance_of_no_blast(0.01, 298)
    assert cells_to_see_a_blast(0.01, sensitivity=0.5) > 590
    with pytest.raises(ValueError, match="must be in"):
        cells_to_see_a_blast(0.0)


def test_the_numbers_are_those_of_the_intervals():
    found = blast_estimate(90, 200, **SMALL)
    assert (found.low, found.high) == clopper_pearson(90, 200)
    assert (found.adjusted_low, found.adjusted_high) == corrected_interval(90, 200, **SMALL)
    assert found.adjusted == pytest.approx((0.45 - 0.2) / 0.67)
    assert found.share == 0.45


@pytest.mark.parametrize(
    ("k", "n", "rates", "verdict"),
    [
        (200, 1000, GOOD, blasts.EXCLUDED),
        (90, 200, SMALL, blasts.AT_LEAST),
        (260, 1000, GOOD, blasts.PRESENT),
        (20, 100, GOOD, blasts.NOT_ENOUGH),
        (20, 100, SMALL, blasts.NOT_EXCLUDED),
        (0, 300, GOOD, blasts.MISFITS),
        (300, 300, GOOD, blasts.MISFITS),
        (0, 20, UNKNOWN, blasts.NOT_ENOUGH),
        (0, 100, UNKNOWN, blasts.UNCORRECTED),
        (20, 100, {"sensitivity": (50, 100), "specificity": (50, 100)}, blasts.UNCORRECTED),
    ],
)
def test_the_verdict_is_what_may_be_said(k, n, rates, verdict):
    found = blast_estimate(k, n, **rates)
    assert found.verdict == verdict
    assert f"{k} of {n}" in found.text
    assert "interval" in found.text


def test_the_cells_that_are_missing_are_enough():
    """Going on as the best guess says, the promised number of cells excludes the share, and one less does not."""
    found = blast_estimate(20, 100, **GOOD)
    assert found.more_cells is not None
    assert f"about {found.more_cells} more white cells" in found.text
    for more, is_excluded in ((found.more_cells, True), (found.more_cells - 1, False)):
        high = corrected_interval(20 + 0.2 * more, 100 + more, **GOOD)[1]
        assert (high < 0.05) is is_excluded


def test_more_cells_of_an_uncorrected_count():
    """Nothing called: 1 - 0.025^(1/n) < 0.05 from 72 cells on."""
    assert more_cells(0, 0, None, exclude_share=0.05) == 72
    assert more_cells(0, 70, None, exclude_share=0.05) == 2
    assert more_cells(0, 500, None, exclude_share=0.05) == 0
    assert more_cells(10, 100, None, exclude_share=0.05) is None
    assert more_cells(0, 100, None, exclude_share=None) is None
    assert more_cells(1, 10, None, exclude_share=None) == 0


def test_no_number_of_cells_replaces_a_better_known_classifier():
    assert more_cells(20, 100, (SMALL["sensitivity"], SMALL["specificity"]), exclude_share=0.05) is None


def test_review_says_how_far_a_person_can_move_the_count():
    found = blast_estimate(40, 200, **GOOD, n_review=30, k_review=10)
    assert (found.review_low, found.review_high) == (0.15, 0.3)
    assert "30 of the cells need a person's eye" in found.text
    assert blast_estimate(40, 200, **GOOD, n_review=101).verdict == blasts.REVIEW_FIRST
    assert blast_estimate(40, 200, **GOOD).adjusted == found.adjusted  # counted under their most probable label, as the rates were


def test_leaving_doubtful_cells_out_would_bias_the_share():
    """Why review cells stay in the count: blasts are doubted more often here, and the share of the sure cells is not the slide's."""
    rng, n, share = np.random.default_rng(0), 200_000, 0.3
    is_blast = rng.random(n) < share
    is_doubted = rng.random(n) < np.where(is_blast, 0.4, 0.1)
    called = np.where(rng.random(n) < np.where(is_blast, 0.87, 0.8), is_blast, ~is_blast)
    kept, sure = blast_estimate(int(called.sum()), n, **GOOD), called[~is_doubted]
    assert kept.adjusted == pytest.approx(share, abs=0.01)
    assert blast_estimate(int(sure.sum()), len(sure), **GOOD).adjusted < 0.24


def test_json_is_plain():
    found = json.loads(json.dumps(blast_estimate(3, 20, **SMALL).to_json(), allow_nan=False))
    assert found["sensitivity"] == {"k": 87, "n": 100}
    wanted = (
        "k",
        "n",
        "share",
        "low",
        "high",
        "adjusted",
        "adjusted_low",
        "adjusted_high",
        "verdict",
        "more_cells",
        "exclude_share",
        "text",
    )
    assert set(wanted) <= found.keys()
    assert json.loads(json.dumps(blast_estimate(0, 0, **UNKNOWN).to_json(), allow_nan=False))["share"] is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 150).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([GOOD, SMALL, UNKNOWN]))
def test_every_count_gets_a_sentence_and_shares_in_bounds(counts, rates):
    k, n = counts
    found = blast_estimate(k, n, **rates)
    shares = [found.low, found.high, found.review_low, found.review_high, found.chance_of_none]
    shares += [v for v in (found.adjusted, found.adjusted_low, found.adjusted_high) if v is not None]
    assert all(0 <= v <= 1 for v in shares)
    assert found.adjusted_low is None or found.adjusted_low <= found.adjusted_high
    assert found.verdict
    assert found.text.endswith(".")


@pytest.mark.parametrize("counts", [(-1, 5, 0, 0), (6, 5, 0, 0), (2, 5, 1, 2), (5, 5, 2, 1), (1, 5, 6, 1)])
def test_impossible_counts_are_refused(counts):
    k, n, n_review, k_review = counts
    with pytest.raises(ValueError, match="impossible"):
        blast_estimate(k, n, **SMALL, n_review=n_review, k_review=k_review)
    with pytest.raises(ValueError, match="exclude_share"):
        blast_estimate(1, 2, **SMALL, exclude_share=1)


def test_the_card_says_how_often_the_classifier_errs():
    assert counts_of_card({}) == (None, None)
    assert counts_of_card({"operating": {"sensitivity": {"k": 1, "n": 2}}}) == (None, None)
    plain = {"sensitivity": {"k": 87, "n": 100}, "specificity": {"k": 80, "n": 100}}
    assert counts_of_card({"operating": plain}) == ((87, 100), (80, 100))
    slides = {key: {**rate, "next_slide": {"k": rate["k"] / 10, "n": 10.0}} for key, rate in plain.items()}
    assert counts_of_card({"operating": slides}) == ((8.7, 10.0), (8.0, 10.0))
