"""The white cell is cut from glass and touching red cells by colour; what is no cell is None."""

import cv2
import numpy as np
import pytest

from smear.segment import central_cell

GLASS, PINK, PALE_BLUE, VIOLET = (238, 230, 232), (205, 140, 150), (165, 165, 215), (85, 40, 130)
SIDE = 160


def disc(centre, radius) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def scene(*, nucleus=((80, 80, 30),), cell=(80, 80, 45), red=(), noise=3.0, seed=0):
    """A crop and the true mask of the white cell in it; parts are (x, y, radius)."""
    image = np.full((SIDE, SIDE, 3), GLASS, np.float64)
    for x, y, radius in red:
        image[disc((x, y), radius)] = PINK
    truth = disc(cell[:2], cell[2]) if cell else np.zeros((SIDE, SIDE), bool)
    image[truth] = PALE_BLUE
    for x, y, radius in nucleus:
        image[disc((x, y), radius)] = VIOLET
    image = cv2.GaussianBlur(image, (0, 0), 1.2) + np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def overlap(found, truth) -> float:
    return float((found & truth).sum() / (found | truth).sum())


INSIDE = disc((80, 80), 45 * 1.15)
RED_AROUND = ((20, 80, 28), (135, 60, 28), (80, 150, 28), (90, 10, 28))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("alone", {}),
        ("among red cells", {"red": RED_AROUND}),
        ("overlapped by red cells", {"red": ((40, 60, 28), (120, 100, 28))}),
        ("lobed nucleus", {"nucleus": ((62, 70, 14), (98, 78, 14), (80, 100, 14)), "red": RED_AROUND}),
        ("nucleus to one side", {"nucleus": ((66, 80, 26),), "red": RED_AROUND}),
        ("full of nucleus", {"nucleus": ((80, 80, 43),), "red": RED_AROUND}),
    ],
)
def test_the_cell_is_found_with_its_cytoplasm(name, parts, seed):
    view, truth = scene(seed=seed, **parts)
    found = central_cell(view, INSIDE, background_rgb=np.array(GLASS, np.float32))
    assert found is not None
    assert overlap(found, truth) > 0.85


def test_the_mask_stays_inside_the_ellipse_and_has_no_holes():
    view, _ = scene(red=RED_AROUND)
    found = central_cell(view, INSIDE, background_rgb=np.array(GLASS, np.float32))
    assert found is not None
    assert not (found & ~INSIDE).any()
    outside_count, _ = cv2.connectedComponents((~found).astype(np.uint8), connectivity=4)
    assert outside_count == 2  # one background, no holes


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("glass", {"cell": None, "nucleus": ()}),
        ("a platelet", {"cell": None, "nucleus": ((80, 80, 7),)}),
    ],
)
def test_what_is_no_cell_is_none(name, parts):
    view, _ = scene(**parts)
    assert central_cell(view, INSIDE, background_rgb=np.array(GLASS, np.float32)) is None


@pytest.mark.parametrize("inside", [np.zeros((SIDE, SIDE), bool), disc((80, 80), 1)])
def test_an_empty_place_is_none(inside):
    assert central_cell(scene()[0], inside, background_rgb=np.array(GLASS, np.float32)) is None


def test_the_same_crop_gives_the_same_mask():
    view, _ = scene(red=RED_AROUND)
    a, b = (central_cell(view, INSIDE, background_rgb=np.array(GLASS, np.float32)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
