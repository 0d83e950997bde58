import numpy as np
import pytest

from classification.features.clusters import fuzzy_means, memberships


def slowly(points: np.ndarray, centres: np.ndarray, weights: np.ndarray, steps: int) -> np.ndarray:
    """Bezdek's two sums, point by point, in double precision."""
    for _ in range(steps):
        top, bottom = np.zeros_like(centres), np.zeros(len(centres))
        for point, weight in zip(points, weights, strict=True):
            near = ((point - centres) ** 2).sum(axis=1)
            share = np.array([1 / sum(a / b for b in near) for a in near])
            top += (weight * share**2)[:, None] * point
            bottom += weight * share**2
        centres = top / bottom[:, None]
    return centres


def test_fuzzy_means_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(centre, 4, (20, 3)) for centre in ((10, 0, 0), (60, 20, -30), (90, 0, 5))])
    start, weights = np.array([[0.0, 0, 0], [50, 0, 0], [100, 0, 0]]), rng.uniform(0.1, 1, 60)
    found = fuzzy_means(points[None].astype(np.float32), start[None].astype(np.float32), weights[None].astype(np.float32), steps=6)
    np.testing.assert_allclose(found[0], slowly(points, start, weights, 6), atol=0.01)


def test_a_batch_is_its_members_one_by_one():
    rng = np.random.default_rng(1)
    points, start = rng.uniform(0, 100, (3, 50, 3)).astype(np.float32), rng.uniform(0, 100, (3, 2, 3)).astype(np.float32)
    alone = [fuzzy_means(points[i : i + 1], start[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(fuzzy_means(points, start), alone, rtol=1e-4)


def test_points_without_weight_do_not_pull():
    points = np.array([[[0, 0, 0], [1, 0, 0], [99, 0, 0]]], np.float32)
    start = np.array([[[0, 0, 0]]], np.float32)
    assert fuzzy_means(points, start, np.array([[1, 1, 0]], np.float32))[0, 0, 0] == pytest.approx(0.5)


def test_a_cluster_without_points_keeps_its_centre():
    start = np.array([[[7, 7, 7], [8, 8, 8]]], np.float32)
    np.testing.assert_array_equal(fuzzy_means(np.zeros((1, 4, 3), np.float32), start, np.zeros((1, 4), np.float32)), start)


def test_memberships_sum_to_one_even_on_a_centre():
    points = np.array([[[5, 5, 5], [50, 0, 0]]], np.float32)
    share = memberships(points, np.array([[[5, 5, 5], [90, 0, 0]]], np.float32))
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
    assert share[0, 0, 0] > 0.99
