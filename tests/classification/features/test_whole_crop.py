import cv2
import numpy as np
import pytest

from classification.features.whole import DFT, DFT_PX, HISTOGRAM, RAW_PIXELS, RINGS, WEDGES


def measured(family, crop: np.ndarray) -> dict[str, float]:
    nothing = np.zeros((1, *crop.shape[:2]), bool)
    return dict(zip(family.names, family(crop[None], nothing, nothing)[0].tolist(), strict=True))


def wave(down: int, across: int, *, side: int = 128) -> np.ndarray:
    """(S, S, 3): grey waves, so many cycles a crop."""
    y, x = np.mgrid[:side, :side] / side
    grey = np.round(128 + 100 * np.cos(2 * np.pi * (down * y + across * x)))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_histograms_count_every_pixel_once():
    crop = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    found = measured(HISTOGRAM, crop)
    grey = np.histogram(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), bins=32, range=(0, 256))[0] / 3600
    assert [found[f"crop_grey_bin_{i}"] for i in range(32)] == pytest.approx(grey.tolist(), abs=1e-6)
    green = np.histogram(crop[..., 1], bins=16, range=(0, 256))[0] / 3600
    assert [found[f"crop_green_bin_{i}"] for i in range(16)] == pytest.approx(green.tolist(), abs=1e-6)


@pytest.mark.parametrize(("down", "across", "ring", "wedge"), [(0, 5, 2, 0), (9, 0, 4, 6), (6, 6, 4, 3), (3, -3, 2, 9)])
def test_a_wave_lies_in_its_ring_and_wedge(down, across, ring, wedge):
    found = measured(DFT, wave(down, across))
    assert found[f"dft_ring_{ring}"] > 0.98
    assert found[f"dft_wedge_{wedge}"] > 0.98


def test_rings_and_wedges_share_all_energy():
    values = list(measured(DFT, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).values())
    assert sum(values[:RINGS]) == pytest.approx(1, abs=1e-4)
    assert sum(values[RINGS : RINGS + WEDGES]) == pytest.approx(1, abs=1e-4)


def test_energies_are_those_of_the_whole_transform():
    """The half that is computed stands for both."""
    crop = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    power = np.abs(np.fft.fft2(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(float))) ** 2
    cycles = np.hypot(*np.meshgrid(*[np.fft.fftfreq(DFT_PX, 1 / DFT_PX)] * 2))
    inside = (cycles > 0) & (cycles < DFT_PX / 2)
    wanted = power[(cycles >= 4) & (cycles < 6)].sum() / power[inside].sum()
    assert measured(DFT, crop)["dft_ring_2"] == pytest.approx(wanted, rel=1e-3)


def test_a_low_frequency_has_its_amplitude():
    found = measured(DFT, wave(2, 3, side=64))
    assert found["dft_+2_3"] == pytest.approx(np.log1p(50), abs=0.02)  # a cosine of 100 is two waves of 50
    assert found["dft_+0_0"] == pytest.approx(np.log1p(128), abs=0.02)
    assert found["dft_-5_2"] < 0.2


def test_a_quarter_turn_keeps_the_rings():
    crop = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    upright, turned = measured(DFT, crop), measured(DFT, np.rot90(crop).copy())
    assert [turned[f"dft_ring_{i}"] for i in range(RINGS)] == pytest.approx([upright[f"dft_ring_{i}"] for i in range(RINGS)], rel=1e-3)


def test_a_crop_of_one_colour_has_no_waves():
    values = list(measured(DFT, np.full((50, 50, 3), 99, np.uint8)).values())
    assert np.isfinite(values).all()
    assert sum(values[: RINGS + WEDGES]) == pytest.approx(0, abs=1e-6)


def test_raw_pixels_are_the_pixels_at_their_own_size():
    crop = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = measured(RAW_PIXELS, crop)
    assert len(found) == 3072
    assert found["pixel_05_09_green"] == crop[5, 9, 1]
    large = np.repeat(np.repeat(crop, 4, axis=0), 4, axis=1)
    assert measured(RAW_PIXELS, large) == found
