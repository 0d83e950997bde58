"""Each condition does what its name says, to the same degree at every magnification, and the same way twice."""

import numpy as np
import pytest

from smear import conditions
from smear.conditions import CONDITIONS, Condition
from smear.types import Image

RBC_PX = 40.0
NAMES = [f"{c.name}, {c.level}" for c in CONDITIONS]
DARKER = {"stain dark", "darker", "uneven light"}
BRIGHTER = {"stain pale", "brighter"}


def changed(condition: Condition, image: Image, *, seed: int = 0, rbc_px: float = RBC_PX) -> Image:
    return condition.change(np.random.default_rng(seed), image, rbc_px)


@pytest.fixture(scope="module")
def field(paint) -> Image:
    return paint((300, 380), rbc_px=RBC_PX, n_all=1, n_hem=1)


def named(name: str) -> list[Condition]:
    return [c for c in CONDITIONS if c.name == name]


@pytest.mark.parametrize("condition", CONDITIONS, ids=NAMES)
class TestEvery:
    def test_gives_an_image_of_the_stated_size_and_leaves_the_given_one(self, condition, field):
        before = field.copy()
        after = changed(condition, field)
        assert after.dtype == np.uint8
        assert after.shape == (*(round(n * condition.factor) for n in field.shape[:2]), 3)
        assert (field == before).all()
        assert condition.factor != 1 or (after != field).any()

    def test_the_same_seed_gives_the_same_picture(self, condition, field):
        assert (changed(condition, field, seed=3) == changed(condition, field, seed=3)).all()

    @pytest.mark.parametrize("image", [np.zeros((1, 1, 3), np.uint8), np.full((7, 5, 3), 255, np.uint8)], ids=["black pixel", "white"])
    def test_blank_and_tiny_fields_come_through(self, condition, image):
        assert changed(condition, image).shape[2] == 3

    def test_light_moves_the_way_the_name_says(self, condition, field):
        moved = float(changed(condition, field).mean()) - float(field.mean())
        assert condition.name not in DARKER or moved < -0.5
        assert condition.name not in BRIGHTER or moved > 0.5


@pytest.mark.parametrize("name", sorted({c.name for c in CONDITIONS if len(named(c.name)) > 1}))
def test_the_second_level_is_the_stronger(name, field):
    mild, strong = (np.abs(changed(c, field).astype(int) - field).mean() for c in named(name))
    assert strong > mild


@pytest.mark.parametrize("name", ["blur", "defocus"])
def test_blur_is_measured_in_red_cells(name, paint):
    """The same blur on a field of twice the magnification takes away the same share of the edges."""
    shares = []
    for px in (24.0, 48.0):
        field = paint((round(9 * px), round(9 * px)), rbc_px=px)
        after = changed(named(name)[1], field, rbc_px=px)
        shares.append(np.abs(after.astype(int) - field).mean())
    assert shares[0] == pytest.approx(shares[1], rel=0.25)


def test_one_stop_halves_the_linear_light():
    image = np.full((2, 2, 3), 200, np.uint8)
    linear = lambda level: ((level / 255 + 0.055) / 1.055) ** 2.4  # noqa: E731
    darker = conditions.expose(np.random.default_rng(0), image, RBC_PX, stops=-1)
    assert linear(float(darker[0, 0, 0])) == pytest.approx(linear(200) / 2, rel=0.02)


def test_shot_noise_has_the_deviation_of_its_electrons():
    white = np.full((200, 200, 3), 200, np.uint8)
    noisy = conditions.add_noise(np.random.default_rng(0), white, RBC_PX, electrons=2000)
    assert noisy.std() == pytest.approx(np.sqrt(200 * 255 / 2000), rel=0.05)


def test_uneven_light_falls_off_by_its_share():
    flat = conditions.light_unevenly(np.random.default_rng(0), np.full((90, 120, 3), 240, np.uint8), RBC_PX, fall=0.4)
    assert (int(flat.min()), int(flat.max())) == (144, 240)


def test_names_and_levels_are_unique():
    assert len(set(NAMES)) == len(NAMES)
