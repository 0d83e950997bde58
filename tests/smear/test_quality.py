"""The numbers of a field, on fields that are made blurred, bright, dim, noisy or tinted."""

import math

import cv2
import numpy as np
import pytest

from smear import quality
from smear.conditions import CONDITIONS
from smear.images import resize
from smear.quality import COLOURS, measure_quality
from smear.types import Image

RBC_PX = 48.0


@pytest.fixture(scope="module")
def field(paint) -> Image:
    """Discs softened as an objective does."""
    return cv2.GaussianBlur(paint((420, 500), rbc_px=RBC_PX), (0, 0), 0.8)


def noisy(image: Image, sigma: float, seed: int = 0) -> Image:
    return np.clip(image + np.random.default_rng(seed).normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


def numbers(image: Image, rbc_px: float = RBC_PX) -> dict[str, float]:
    return measure_quality(image, rbc_px=rbc_px)


def changed(name: str, image: Image) -> Image:
    return [c for c in CONDITIONS if c.name == name][-1].change(np.random.default_rng(0), image, RBC_PX)


def test_every_number_is_finite_and_shares_are_shares(field):
    found = numbers(field)
    assert all(math.isfinite(value) for value in found.values())
    assert all(0 <= found[name] <= 1 for name in ("background", "saturated_share", "contrast"))
    assert set(COLOURS) < set(found)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_field_has_light_but_no_focus_and_no_stain(level):
    found = numbers(np.full((50, 60, 3), level, np.uint8))
    assert set(found) == {"background", "saturated_share", "contrast", "noise"}
    assert found["background"] == pytest.approx(level / 255)
    assert found["saturated_share"] == (level == 255)


def test_one_pixel_is_a_field_too():
    assert measure_quality(np.full((1, 1, 3), 90, np.uint8), rbc_px=RBC_PX)["noise"] == 0


@pytest.mark.parametrize("name", ["blur", "defocus"])
def test_focus_falls_with_blur(field, name):
    mild, strong = (c.change(np.random.default_rng(0), field, RBC_PX) for c in CONDITIONS if c.name == name)
    assert numbers(field)["focus"] > 1.15 * numbers(mild)["focus"] > 1.3 * numbers(strong)["focus"]


@pytest.mark.parametrize("name", ["stain pale", "darker", "white balance warm", "uneven light", "brighter"])
def test_focus_is_not_fooled_by_colour_and_light(field, name):
    assert numbers(changed(name, field))["focus"] == pytest.approx(numbers(field)["focus"], rel=0.15)


def test_focus_is_the_same_at_every_scale(paint):
    """The same blur, in red cells, at two scales of the detector."""
    found = []
    for px in (32.0, 64.0):
        field = cv2.GaussianBlur(paint((round(9 * px), round(9 * px)), rbc_px=px), (0, 0), px / 30)
        found.append(numbers(field, px)["focus"])
    assert found[0] == pytest.approx(found[1], rel=0.1)


def test_noise_does_not_pass_for_sharpness(field):
    blurred = changed("defocus", field)
    assert numbers(noisy(blurred, 4))["focus"] < 1.3 * numbers(blurred)["focus"]
    assert numbers(noisy(blurred, 4))["focus"] < 0.7 * numbers(field)["focus"]


@pytest.mark.parametrize("sigma", [3.0, 8.0])
def test_noise_is_measured_in_grey_levels(field, sigma):
    assert numbers(noisy(field, sigma))["noise"] == pytest.approx(sigma, rel=0.15)


def test_light_is_that_of_the_glass(field, paint):
    assert numbers(field)["background"] == pytest.approx(np.mean((236, 232, 240)) / 255, abs=0.01)
    assert numbers(changed("brighter", field))["saturated_share"] > 0.3
    assert numbers(changed("darker", field))["background"] < 0.75


def test_white_balance_is_the_log_of_the_channel_over_green(field):
    tinted = np.rint(field * np.array([0.8, 1, 1])).astype(np.uint8)
    moved = numbers(tinted)["white_balance_red"] - numbers(field)["white_balance_red"]
    assert moved == pytest.approx(math.log(0.8), abs=0.02)


def test_densities_are_those_of_the_dyes_above_the_glass(field):
    found = numbers(field)
    painted = {"red_cells": (205, 120, 170)}
    for part, colour in painted.items():
        for channel, level, glass in zip(("red", "green", "blue"), colour, (236, 232, 240), strict=True):
            assert found[f"{part}_{channel}"] == pytest.approx(math.log((glass + 1) / (level + 1)), abs=0.05)


def test_a_large_field_is_sampled_and_gives_about_the_same(paint, monkeypatch):
    field = cv2.GaussianBlur(paint((1000, 1200), rbc_px=RBC_PX), (0, 0), 0.8)
    sampled = numbers(field)
    monkeypatch.setattr(quality, "MAX_PIXELS", 10**9)
    whole = numbers(field)
    assert sampled["focus"] == pytest.approx(whole["focus"], rel=0.1)
    assert sampled["background"] == pytest.approx(whole["background"], abs=0.01)


def test_flips_change_nothing(field):
    assert numbers(np.ascontiguousarray(field[::-1, ::-1])) == pytest.approx(numbers(field), rel=0.02, abs=1e-3)


def test_resizing_to_the_detectors_scale_and_back_keeps_the_colours(field):
    small = numbers(resize(field, 0.5), RBC_PX / 2)
    assert [small[name] for name in COLOURS] == pytest.approx([numbers(field)[name] for name in COLOURS], abs=0.03)
