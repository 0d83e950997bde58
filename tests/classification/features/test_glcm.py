from itertools import product

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from classification.features.glcm import ANGLES, FEATURES, GLCM, LEVELS, cooccurrence, haralick

EVERYWHERE = np.ones((40, 50), bool)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS, EVERYWHERE.shape, dtype=np.uint8)


def named(pairs: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, haralick(pairs[None])[0].tolist(), strict=True))


def slowly(p: np.ndarray) -> dict[str, float]:
    """Haralick's formulas as he printed them, cell by cell, levels from 0."""
    n = len(p)
    x, y = p.sum(axis=1), p.sum(axis=0)
    by_sum, by_difference = np.zeros(2 * n - 1), np.zeros(n)
    for i, j in product(range(n), range(n)):
        by_sum[i + j] += p[i, j]
        by_difference[abs(i - j)] += p[i, j]
    ent = lambda q: -sum(v * np.log(v) for v in q.ravel() if v > 0)  # noqa: E731
    mean = sum(i * x[i] for i in range(n))
    variance = sum((i - mean) ** 2 * x[i] for i in range(n))
    hxy1 = -sum(p[i, j] * np.log(x[i] * y[j]) for i, j in product(range(n), range(n)) if p[i, j] > 0)
    hxy2 = -sum(x[i] * y[j] * np.log(x[i] * y[j]) for i, j in product(range(n), range(n)) if x[i] * y[j] > 0)
    sum_mean = sum(k * v for k, v in enumerate(by_sum))
    difference_mean = sum(k * v for k, v in enumerate(by_difference))
    return {
        "variance": variance,
        "sum_mean": sum_mean,
        "sum_variance": sum((k - sum_mean) ** 2 * v for k, v in enumerate(by_sum)),
        "sum_entropy": ent(by_sum),
        "entropy": ent(p),
        "difference_variance": sum((k - difference_mean) ** 2 * v for k, v in enumerate(by_difference)),
        "difference_entropy": ent(by_difference),
        "information_1": (ent(p) - hxy1) / max(ent(x), ent(y)),
        "information_2": np.sqrt(1 - np.exp(-2 * (hxy2 - ent(p)))),
    }


@pytest.mark.parametrize("step", [(0, 1), (-3, 3), (-2, 0), (-1, -1)])
def test_pairs_are_those_of_scikit_image(step):
    # theirs turn with the rows, downwards
    angle = {(0, 1): 0, (-1, 1): 3 * np.pi / 4, (-1, 0): np.pi / 2, (-1, -1): np.pi / 4}[tuple(int(np.sign(v)) for v in step)]
    length = max(abs(v) for v in step) * (np.sqrt(2) if 0 not in step else 1)
    theirs = graycomatrix(noise(), [length], [angle], levels=LEVELS, symmetric=True, normed=True)[:, :, 0, 0]
    np.testing.assert_allclose(cooccurrence(noise(), EVERYWHERE, step), theirs, atol=1e-7)


@pytest.mark.parametrize("picture", [noise() // 4, np.tile(np.arange(50, dtype=np.uint8) // 2, (40, 1)), np.full((40, 50), 7, np.uint8)])
def test_features_are_those_of_scikit_image(picture):
    pairs = cooccurrence(picture, EVERYWHERE, (0, 1))
    ours, p = named(pairs), pairs[:, :, None, None].astype(float)
    theirs = {"energy": "ASM", **{name: name for name in ("contrast", "correlation", "homogeneity", "dissimilarity")}}
    for name, prop in theirs.items():
        assert ours[name] == pytest.approx(graycoprops(p, prop)[0, 0], rel=1e-3, abs=1e-4), name


def test_the_other_features_are_those_of_the_formulas():
    pairs = cooccurrence(np.sort(noise(3), axis=1), EVERYWHERE, (0, 2))
    ours = named(pairs)
    for name, value in slowly(pairs.astype(float)).items():
        assert ours[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name


def test_a_checkerboard_has_known_pairs():
    board = (np.indices(EVERYWHERE.shape).sum(axis=0) % 2).astype(np.uint8)
    beside, across = (cooccurrence(board, EVERYWHERE, step) for step in ((0, 1), (-1, 1)))
    assert beside[0, 1] == beside[1, 0] == 0.5
    assert across[0, 0] + across[1, 1] == pytest.approx(1)
    assert named(beside)["contrast"] == pytest.approx(1)
    assert named(beside)["correlation"] == pytest.approx(-1, abs=1e-3)
    assert named(across)["correlation"] == pytest.approx(1, abs=1e-3)
    assert named(beside)["entropy"] == pytest.approx(np.log(2), abs=1e-4)


def test_pixels_outside_the_mask_do_not_pair():
    picture = np.zeros(EVERYWHERE.shape, np.uint8)
    picture[:, 25:] = 20
    mask = EVERYWHERE.copy()
    mask[:, 25:] = False
    assert cooccurrence(picture, mask, (0, 1))[0, 0] == 1


@pytest.mark.parametrize("step", [(0, 60), (-45, 0), (0, 1)])
def test_no_pair_is_all_zero_and_its_features_are_finite(step):
    pairs = cooccurrence(noise(), EVERYWHERE & (step != (0, 1)), step)
    assert not pairs.any()
    assert np.isfinite(haralick(pairs[None])).all()


def test_a_quarter_turn_keeps_mean_and_range(ellipse):
    crop = np.random.default_rng(5).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    mask = ellipse(112, 30, 20)[None]
    upright = GLCM(crop, mask, mask)
    turned = GLCM(np.rot90(crop, axes=(1, 2)).copy(), np.rot90(mask, axes=(1, 2)).copy(), np.rot90(mask, axes=(1, 2)).copy())
    np.testing.assert_allclose(turned, upright, rtol=1e-3, atol=1e-3)
    assert len(GLCM.names) == 2 * 2 * len(FEATURES)
    assert len(ANGLES) == 4
