import numpy as np
import pytest

from classification.features.contour import CONTOUR, UNITS, describe, outline


def signature(mask: np.ndarray) -> dict[str, float]:
    return dict(zip(UNITS, describe(mask[None])[0].tolist(), strict=True))


def wavy(side: int, lobes: int, *, turn: float = 0.0) -> np.ndarray:
    """Radius 0.25 (1 + 0.2 cos(lobes · angle)) of the side."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(x, y) < 0.25 * side * (1 + 0.2 * np.cos(lobes * (np.arctan2(y, x) - turn)))


def test_a_disc_has_one_radius(ellipse):
    found = signature(ellipse(448, 100, 100))
    assert found["radius_mean"] == pytest.approx(100 / 448, rel=0.01)
    assert found["radius_deviation"] < 0.01
    assert found["radius_least"] == pytest.approx(1, abs=0.02)
    assert found["radius_most"] == pytest.approx(1, abs=0.02)
    assert all(abs(value) < 0.01 for name, value in found.items() if name.startswith("fourier"))


def test_an_ellipse_has_least_and_most_radii_and_one_descriptor(ellipse):
    found = signature(ellipse(448, 120, 60))
    assert found["radius_most"] / found["radius_least"] == pytest.approx(2, rel=0.02)
    assert found["radius_crossings"] == 4
    assert found["fourier_-1"] > 0.2
    assert found["fourier_-1"] > 5 * found["fourier_+2"]


@pytest.mark.parametrize("lobes", [3, 5])
def test_lobes_cross_the_mean_twice_each(lobes):
    found = signature(wavy(448, lobes))
    assert found["radius_crossings"] == 2 * lobes
    bending = {name: value for name, value in found.items() if name.startswith("fourier")}
    assert max(bending, key=lambda name: bending[name]) in {f"fourier_{lobes + 1:+d}", f"fourier_{1 - lobes:+d}"}


@pytest.mark.parametrize("change", [np.rot90, np.flipud, lambda mask: np.roll(mask, (13, -21), axis=(0, 1))])
def test_turning_flipping_and_moving_change_nothing(change):
    mask = wavy(224, 3)
    np.testing.assert_allclose(describe(change(mask)[None]), describe(mask[None]), rtol=0.15, atol=0.02)


def test_a_larger_picture_of_the_same_has_the_same_signature():
    small, large = describe(np.stack([wavy(448, 3)]))[0], describe(np.stack([wavy(896, 3)]))[0]
    np.testing.assert_allclose(small, large, rtol=0.1, atol=0.02)


def test_the_outline_is_that_of_the_largest_part(ellipse):
    mask = ellipse(224, 40, 40, at=(120, 110)) | ellipse(224, 5, 5, at=(30, 30))
    assert abs(outline(mask).mean() - (120 + 110j)) < 1


def test_a_single_pixel_has_a_finite_signature():
    mask = np.zeros((1, 32, 32), bool)
    mask[0, 16, 16] = True
    assert np.isfinite(describe(mask)).all()


def test_cell_and_nucleus_have_their_own(ellipse):
    cell, nucleus = ellipse(224, 60, 60)[None], ellipse(224, 40, 20)[None]
    found = dict(zip(CONTOUR.names, CONTOUR(np.zeros((1, 224, 224, 3), np.uint8), cell, nucleus)[0].tolist(), strict=True))
    assert found["cell_radius_deviation"] < 0.02 < 0.1 < found["nucleus_radius_deviation"]
