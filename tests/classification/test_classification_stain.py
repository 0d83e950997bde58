from functools import partial

import numpy as np
import pytest

from classification import stain
from smear.stain import jitter_stain


def cell(colour: tuple[int, int, int]) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 32
    picture = np.full((64, 64, 3), 225, np.uint8)
    picture[x**2 + y**2 < 14**2] = colour
    return picture


def test_no_strength_is_no_change() -> None:
    image = np.random.default_rng(0).integers(1, 255, (32, 32, 3), dtype=np.uint8)
    calm = [
        partial(jitter_stain, gain=0, offset=0),
        partial(stain.mix_channels, hue=0, noise=0),
        partial(stain.shift_gamma, low=1, high=1),
        partial(stain.shift_white_balance, gain=0),
        partial(stain.shift_saturation, low=1, high=1),
        partial(stain.light_unevenly, strength=0),
    ]
    for function in calm:
        np.testing.assert_allclose(function(np.random.default_rng(1), image).astype(int), image, atol=1)


def test_grey_stays_grey_when_channels_are_mixed() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    for seed in range(20):
        np.testing.assert_allclose(stain.mix_channels(np.random.default_rng(seed), ramp).astype(int), ramp, atol=1)


def test_grey_pictures_have_one_channel() -> None:
    out = stain.to_grey(np.random.default_rng(0), cell((120, 40, 160)))
    assert np.ptp(out.astype(int), axis=2).max() == 0


def test_mixed_channels_hide_which_of_two_stains_it_was() -> None:
    """What the network must not learn: after mixing, red minus blue of a violet and of a pink nucleus overlap."""

    def red_minus_blue(colour: tuple[int, int, int]) -> np.ndarray:
        centres = [stain.mix_channels(np.random.default_rng(s), cell(colour))[32, 32].astype(int) for s in range(300)]
        return np.array([c[0] - c[2] for c in centres])

    violet, pink = red_minus_blue((110, 50, 160)), red_minus_blue((200, 90, 120))
    assert (violet[:, None] > pink[None, :]).mean() == pytest.approx(0.5, abs=0.1)


def test_a_cell_is_darker_than_its_ground_whatever_the_stain() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        out = jitter_stain(rng, cell((110, 50, 160)))
        assert out[32, 32].mean() < out[2, 2].mean()


def test_the_background_is_replaced_and_the_centre_kept() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for seed in range(20):
        out = stain.fade_background(np.random.default_rng(seed), image)
        np.testing.assert_array_equal(out[26:38, 26:38], image[26:38, 26:38])
        assert np.ptp(out[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int), axis=0).max() == 0


def test_scale_is_moved_within_its_bounds() -> None:
    areas = [int((stain.move(np.random.default_rng(s), cell((0, 0, 0)), shift=0)[..., 0] < 112).sum()) for s in range(60)]
    ratio = np.sqrt(np.array(areas) / (np.pi * 14**2))
    assert 0.65 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.45


def test_lost_resolution_is_lost() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert stain.lose_resolution(np.random.default_rng(0), image).std() < 0.8 * image.std()
