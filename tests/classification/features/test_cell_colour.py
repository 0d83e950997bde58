import cv2
import numpy as np
import pytest
from scipy import stats

from classification.features.colour import COLOUR, STATISTICS, moments


def named(family, *arrays: np.ndarray) -> dict[str, float]:
    return dict(zip(family.names, family(*(a[None] for a in arrays))[0].tolist(), strict=True))


def test_moments_are_those_of_the_samples():
    samples = np.random.default_rng(0).gamma(2, 20, 500).clip(0, 255).astype(np.uint8)
    found = moments(np.bincount(samples, minlength=256).astype(float))
    wanted = (samples.mean(), samples.std(), stats.skew(samples), stats.kurtosis(samples, fisher=False))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_one_value_deviates_by_nothing():
    assert [float(v) for v in moments(np.eye(256)[90])] == [90, 0, 0, 0]


def test_colours_are_those_of_nucleus_and_cell(white_cell):
    crop, cell, nucleus = white_cell(224)
    found = named(COLOUR, crop, cell, nucleus)
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    for of, mask in (("nucleus", nucleus), ("cell", cell)):
        for i, name in enumerate(("red", "green", "blue")):
            assert found[f"{of}_{name}_mean"] == pytest.approx(crop[mask][:, i].mean(), rel=1e-4)
            assert found[f"{of}_{name}_deviation"] == pytest.approx(crop[mask][:, i].std(), rel=1e-4)
        for i, name in enumerate(("lightness", "a", "b")):
            assert found[f"{of}_{name}_skewness"] == pytest.approx(stats.skew(lab[mask][:, i]), abs=1e-3)
    for i, name in enumerate(("lightness", "a", "b")):
        shares = np.histogram(lab[cell][:, i], bins=8, range=(0, 256))[0] / cell.sum()
        assert [found[f"cell_{name}_bin_{k}"] for k in range(8)] == pytest.approx(shares.tolist(), abs=1e-5)


def test_what_lies_outside_the_cell_has_no_colour(white_cell):
    crop, cell, nucleus = white_cell(112)
    other = np.where(cell[..., None], crop, 255 - crop)
    assert named(COLOUR, other, cell, nucleus) == named(COLOUR, crop, cell, nucleus)


def test_statistics_of_even_grey_are_none(ellipse):
    found = named(STATISTICS, np.full((64, 64, 3), 77, np.uint8), *[ellipse(64, 20, 20)] * 2)
    assert found["grey_mean"] == 77
    assert found["grey_uniformity"] == 1
    assert all(found[name] == pytest.approx(0, abs=1e-6) for name in ("grey_deviation", "grey_entropy", "edge_mean", "grey_smoothness"))


def test_statistics_of_two_greys_are_known(ellipse):
    crop = np.full((64, 64, 3), 50, np.uint8)
    crop[:, 32:] = 150
    mask = np.zeros((64, 64), bool)
    mask[10:50, 12:52] = True  # half and half
    found = named(STATISTICS, crop, mask, mask)
    assert found["grey_mean"] == pytest.approx(100)
    assert found["grey_deviation"] == pytest.approx(50)
    assert found["grey_uniformity"] == pytest.approx(0.5)
    assert found["grey_entropy"] == pytest.approx(np.log(2))
    assert found["grey_kurtosis"] == pytest.approx(1)
    assert found["edge_mean"] == pytest.approx(50 * 2 / 40)  # a step of 100 is a slope of 50 in two columns of forty
