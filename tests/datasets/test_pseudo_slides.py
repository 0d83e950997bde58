"""Interleaved and concatenated sequences of colours, as numbered exports have them."""

import numpy as np
import pytest

from datasets.pseudo_slides import change_points, follow_tracks, pseudo_slides


def around(level: float, n: int, seed: int, spread: float = 0.1) -> np.ndarray:
    return (level + np.random.default_rng(seed).normal(0, spread, (n, 4))).astype(np.float32)


def interleave(*streams: np.ndarray) -> np.ndarray:
    return np.stack([row for rows in zip(*streams, strict=True) for row in rows])


def test_interleaved_slides_are_told_apart() -> None:
    found = pseudo_slides(interleave(around(-2, 20, 0), around(0, 20, 1), around(2, 20, 2)))
    assert found.tolist() == [0, 1, 2] * 20


def test_consecutive_slides_of_like_colour_are_cut_where_they_meet() -> None:
    values = np.concatenate([around(0, 30, 0), around(0.6, 25, 1)])
    assert change_points(values) == [30]
    assert pseudo_slides(values).tolist() == [0] * 30 + [1] * 25


@pytest.mark.parametrize("seed", range(10))
def test_one_slide_is_not_cut(seed: int) -> None:
    assert change_points(around(0, 60, seed, spread=1.0)) == []


def test_three_levels_give_two_cuts_whatever_their_order() -> None:
    values = np.concatenate([around(1, 12, 0), around(-1, 20, 1), around(0, 15, 2)])
    assert change_points(values) == [12, 32]


def test_a_slow_drift_stays_one_track() -> None:
    drift = np.linspace(0, 5, 100)[:, None] + around(0, 100, 0)
    assert set(follow_tracks(drift.astype(np.float32)).tolist()) == {0}


def test_an_odd_field_joins_the_slide_nearest_to_it() -> None:
    values = np.concatenate([around(0, 10, 0), around(5, 10, 1)])
    values[4] = 2.0
    assert pseudo_slides(values).tolist() == [0] * 10 + [1] * 10


def test_a_constant_feature_does_no_harm() -> None:
    values = np.concatenate([around(0, 20, 0), around(1, 20, 1)])
    values[:, 2] = 7
    assert change_points(values) == [20]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_fields_are_one_slide(n: int) -> None:
    assert pseudo_slides(np.zeros((n, 3), np.float32)).tolist() == [0] * n
