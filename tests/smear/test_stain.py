"""Optical density and dyes, on pictures whose dyes are known."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear.stain import change_dyes, density, dye_vectors, jitter_stain, light, shrink

BLUE, RED = np.array([0.65, 0.70, 0.29]), np.array([0.15, 0.95, 0.27])  # optical density directions of two dyes
BLUE, RED = BLUE / np.linalg.norm(BLUE), RED / np.linalg.norm(RED)


def stained(blue: float = 1.4, red: float = 0.7, *, seed: int = 0) -> np.ndarray:
    """Nuclei and red cells as discs of one pure dye each, on faintly tinted glass."""
    rng = np.random.default_rng(seed)
    amounts = np.zeros((160, 160, 2), np.float32)
    for k, (n, radius, amount) in enumerate(((5, 14, blue), (14, 9, red))):
        plane = np.zeros((160, 160), np.float32)
        for x, y in rng.integers(10, 150, (n, 2)).tolist():
            cv2.circle(plane, (x, y), radius, amount, -1)
        amounts[..., k] = plane if k == 0 else np.where(amounts[..., 0] > 0, 0, plane)
    return light(amounts @ np.stack([BLUE, RED]) + 0.05)


@given(st.integers(0, 255))
def test_light_undoes_density_at_every_grey_level(level: int) -> None:
    assert (light(density(np.full((1, 1, 3), level, np.uint8))) == level).all()


def test_the_dyes_of_a_field_are_found_the_bluer_first() -> None:
    found = dye_vectors(shrink(stained()))
    assert found[0] @ BLUE > 0.99
    assert found[1] @ RED > 0.99


@pytest.mark.parametrize(("blue", "red"), [(1.4, 1.0), (1.0, 0.6), (0.6, 1.4)])
def test_changed_dyes_are_those_of_a_field_stained_so(blue: float, red: float) -> None:
    changed = change_dyes(stained(), blue=blue, red=red)
    wanted = stained(1.4 * blue, 0.7 * red)
    far, left = (np.abs(density(image) - density(wanted)).mean() for image in (stained(), changed))
    assert left < 0.5 * far


def test_factors_of_one_change_nothing() -> None:
    assert np.abs(change_dyes(stained(), blue=1, red=1).astype(int) - stained()).max() <= 1


@pytest.mark.parametrize("level", [0, 230, 255])
def test_a_field_of_one_colour_has_no_dyes_to_change(level: int) -> None:
    plain = np.full((40, 50, 3), level, np.uint8)
    assert change_dyes(plain, blue=1.4, red=0.6).shape == plain.shape
    assert (dye_vectors(np.full((40, 50, 3), 255, np.uint8)) == 0).all()


def test_jitter_is_seeded_and_without_strength_nothing() -> None:
    first, again, other = (jitter_stain(np.random.default_rng(s), stained()) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    still = jitter_stain(np.random.default_rng(1), stained(), gain=0, offset=0)
    assert np.abs(still.astype(int) - stained()).max() <= 1
