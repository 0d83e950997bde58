"""What is far from all others is odd, and no more than that; maps keep what is near near."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.exploration import maps
from classification.exploration.maps import MIN_CELLS, principal, umap_map
from classification.exploration.oddities import MIN_CELLS as FEWEST
from classification.exploration.oddities import find_odd, robust
from smear.errors import MissingExtra

NAMES = tuple(f"feature_{i}" for i in range(12))


def cloud(n: int, seed: int = 0) -> np.ndarray:
    """Features of very different scales, three of them nearly the same."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (n, len(NAMES)))
    values[:, 1] = values[:, 0] + rng.normal(0, 0.3, n)
    values[:, 2] = values[:, 0] + rng.normal(0, 0.3, n)
    return values * np.geomspace(1e-3, 1e4, len(NAMES)) + 100


def scores_of(values: np.ndarray) -> np.ndarray:
    found = find_odd(values, NAMES[: values.shape[1]], seed=0)
    assert found is not None
    assert found.scores.shape == (len(values),)
    return found.scores


def test_a_normal_cloud_has_hardly_an_odd_cell() -> None:
    assert (scores_of(cloud(1000)) > 1).mean() < 0.01


@pytest.mark.parametrize("feature", [0, 3, 11])
def test_a_planted_cell_is_the_oddest_and_its_feature_the_first_reason(feature: int) -> None:
    values = cloud(300)
    values[17, feature] += 30 * values[:, feature].std()
    found = find_odd(values, NAMES, seed=0)
    assert found is not None
    assert found.scores[17] > 1.25
    assert found.scores.argmax() == 17
    assert found.reasons[17][0][0] == NAMES[feature]
    assert found.reasons[17][0][1] == pytest.approx(30, rel=0.2)


def test_one_cell_that_breaks_a_rule_is_odd_though_each_feature_is_common() -> None:
    values = cloud(500)[:, :6]
    values[3] = values.mean(axis=0) + values.std(axis=0) * np.array([2, -2, -2, 0, 0, 0])  # the three are nearly the same elsewhere
    scores = scores_of(values)
    assert scores.argmax() == 3
    assert scores[3] > 1


def test_many_odd_cells_do_not_draw_the_middle_to_them() -> None:
    """A tenth lies in a heap of its own: the plain covariance would reach out to it."""
    values = cloud(300)
    values[:30] += 12 * values.std(axis=0)
    scores = scores_of(values)
    assert (scores[:30] > 1).all()
    assert (scores[30:] > 1).mean() < 0.02


@pytest.mark.parametrize("kind", ["wide half", "two clouds", "heavy tails"])
def test_half_of_the_cells_are_not_odd(kind: str) -> None:
    rng, values = np.random.default_rng(1), np.random.default_rng(0).normal(0, 1, (400, 12))
    if kind == "wide half":
        values[:190] *= 6
    elif kind == "two clouds":
        values[:190] = 30 + 2 * values[:190]
    else:
        values /= np.sqrt(rng.chisquare(1.5, (400, 1)))
    assert (scores_of(values) > 1).mean() < 0.15


def test_too_few_cells_and_cells_that_do_not_differ_are_not_told() -> None:
    assert find_odd(np.zeros((0, 12)), NAMES, seed=0) is None
    assert find_odd(cloud(FEWEST - 1), NAMES, seed=0) is None
    assert find_odd(cloud(FEWEST), NAMES, seed=0) is not None
    assert find_odd(np.ones((50, 12)), NAMES, seed=0) is None


@pytest.mark.parametrize("n_same", [30, 60, 95])
def test_copies_of_one_cell_do_not_stop_it(n_same: int) -> None:
    """More than half are equal: the densest half would have no spread at all."""
    values = cloud(100)
    values[:n_same] = values[0]
    found = find_odd(values, NAMES, seed=0)
    assert (found is None) == (100 - n_same + 1 < FEWEST)
    assert found is None or (found.scores > 1).mean() < 0.1


def test_features_that_are_constant_or_repeated_change_nothing() -> None:
    values = cloud(200)
    more = np.column_stack([values, np.full(200, 3.0)])
    np.testing.assert_allclose(scores_of(values), find_odd(more, (*NAMES, "constant"), seed=0).scores, rtol=1e-6)


def test_the_same_seed_gives_the_same_scores() -> None:
    np.testing.assert_array_equal(scores_of(cloud(150)), scores_of(cloud(150)))


@given(st.lists(st.integers(-100, 100), min_size=4, max_size=40), st.floats(0.01, 1e3), st.floats(-1e3, 1e3))
def test_robust_deviations_know_neither_scale_nor_offset(column: list[int], scale: float, offset: float) -> None:
    values = np.array(column, float)[:, None]
    np.testing.assert_allclose(robust(values * scale + offset), robust(values), rtol=1e-6, atol=1e-5)


def test_robust_deviations_of_a_normal_column_are_its_own() -> None:
    values = np.random.default_rng(0).normal(5, 2, (20_000, 1))
    np.testing.assert_allclose(robust(values), (values - 5) / 2, atol=0.1)
    assert robust(np.full((5, 1), 7.0)).tolist() == [[0]] * 5
    np.testing.assert_allclose(robust(np.array([[0.0]] * 9 + [[1.0]]))[-1], 1 / 0.3)  # the middle half is one value: of all


def test_principal_components_find_the_planted_direction() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 1, 200)
    values = np.column_stack([hidden * 1000, -hidden + rng.normal(0, 0.1, 200), rng.normal(0, 1e-3, 200), np.full(200, 5.0)])
    found = principal(values)
    assert found.scores.shape == (200, 4)
    assert found.explained.sum() == pytest.approx(1)
    assert found.explained[0] == pytest.approx(2 / 3, abs=0.03)  # two of three features that vary are one
    np.testing.assert_allclose(np.abs(found.axes[0]), [0.71, 0.71, 0, 0], atol=0.1)
    assert abs(np.corrcoef(found.scores[:, 0], hidden)[0, 1]) > 0.99


@pytest.mark.parametrize(
    ("values", "k"),
    [(np.zeros((0, 5)), 0), (np.ones((1, 5)), 0), (np.ones((9, 5)), 0), (np.eye(2, 5), 1), (np.eye(5), 4), (np.ones((4, 0)), 0)],
)
def test_as_many_components_as_the_cells_allow(values: np.ndarray, k: int) -> None:
    found = principal(values)
    assert (found.scores.shape, found.explained.shape, found.axes.shape) == ((len(values), k), (k,), (k, values.shape[1]))
    assert np.isfinite(found.scores).all()


def test_no_more_components_than_wanted() -> None:
    assert principal(cloud(100), most=3).scores.shape == (100, 3)


@pytest.mark.slow
def test_umap_keeps_two_clouds_apart_and_repeats() -> None:
    """The one real call of the suite: it compiles for half a minute."""
    scores = np.random.default_rng(0).normal(0, 1, (2 * MIN_CELLS, 3))
    scores[MIN_CELLS:] += 40
    found = umap_map(scores, seed=0)
    assert (found.shape, found.dtype) == ((2 * MIN_CELLS, 2), np.float64)
    one, other = found[:MIN_CELLS], found[MIN_CELLS:]
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    within = max(np.linalg.norm(part[:, None] - part[None], axis=2).max() for part in (one, other))
    assert apart.min() > within / 2
    np.testing.assert_array_equal(found, umap_map(scores, seed=0))
    assert umap_map(scores[:MIN_CELLS], seed=0).shape == (MIN_CELLS, 2)


def test_without_umap_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'umap-learn'; install it with: pip install 'leukofield\[explain\]'"):
        maps.umap_map(np.zeros((20, 2)), seed=0)
