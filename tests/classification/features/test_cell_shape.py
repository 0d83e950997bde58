import numpy as np
import pytest
from skimage.measure import label, regionprops

from classification.features.shape import CELL, NUCLEUS, UNITS, describe, perimeters


def shape_of(mask: np.ndarray) -> dict[str, float]:
    return dict(zip(UNITS, describe(mask[None])[0].tolist(), strict=True))


def test_a_disc_is_round(ellipse):
    found = shape_of(ellipse(224, 50, 50))
    assert found["area"] == pytest.approx(np.pi * 50**2 / 224**2, rel=0.01)
    assert found["perimeter"] == pytest.approx(2 * np.pi * 50 / 224, rel=0.02)
    assert found["equivalent_diameter"] == pytest.approx(100 / 224, rel=0.01)
    assert found["feret_diameter"] == pytest.approx(100 / 224, rel=0.02)
    for name in ("form_factor", "solidity", "convexity"):
        assert found[name] == pytest.approx(1, abs=0.04), name
    assert found["eccentricity"] < 0.05
    assert found["compactness"] == pytest.approx(4 * np.pi, rel=0.04)
    assert found["extent"] == pytest.approx(np.pi / 4, rel=0.02)
    assert found["parts"] == 1


@pytest.mark.parametrize("degrees", [0, 30, 45, 80])
def test_an_ellipse_has_its_axes_however_it_lies(ellipse, degrees):
    found = shape_of(ellipse(224, 60, 30, degrees=degrees))
    assert found["major_axis"] == pytest.approx(120 / 224, rel=0.01)
    assert found["minor_axis"] == pytest.approx(60 / 224, rel=0.01)
    assert found["eccentricity"] == pytest.approx(np.sqrt(0.75), rel=0.01)
    assert found["elongation"] == pytest.approx(0.5, rel=0.02)
    a, b = 60, 30
    ramanujan = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
    assert found["perimeter"] == pytest.approx(ramanujan / 224, rel=0.03)


def test_a_cross_is_not_convex():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 10:90] = mask[10:90, 40:60] = True
    found = shape_of(mask)
    assert found["solidity"] == pytest.approx(0.28 / (0.64 - 4 * 0.045), rel=0.03)  # a square without its four corners
    assert found["convexity"] == pytest.approx((4 * 0.2 + 4 * 0.3 * np.sqrt(2)) / 3.2, rel=0.09)  # Crofton of few directions
    assert found["form_factor"] < 0.5


def test_describe_agrees_with_scikit_image(ellipse):
    masks = [ellipse(128, 40, 22, degrees=20), ellipse(128, 30, 30, at=(40, 60)), ellipse(128, 35, 20) & ~ellipse(128, 20, 20, at=(64, 35))]
    for mask in masks:
        (theirs,), ours = regionprops(label(mask)), shape_of(mask)
        assert ours["area"] * 128**2 == pytest.approx(theirs.area)
        assert ours["major_axis"] * 128 == pytest.approx(theirs.axis_major_length, rel=2e-3)
        assert ours["minor_axis"] * 128 == pytest.approx(theirs.axis_minor_length, rel=2e-3)
        assert ours["eccentricity"] == pytest.approx(theirs.eccentricity, abs=1e-3)
        assert ours["solidity"] == pytest.approx(theirs.solidity, abs=0.02)
        assert ours["extent"] == pytest.approx(theirs.extent)
        assert ours["feret_diameter"] * 128 == pytest.approx(theirs.feret_diameter_max, abs=1.5)
        assert perimeters(mask[None])[0] == pytest.approx(theirs.perimeter_crofton, rel=0.02)


def test_shape_does_not_depend_on_scale(ellipse):
    small, large = (shape_of(ellipse(side, side * 0.3, side * 0.2, degrees=25)) for side in (112, 448))
    for name, value in large.items():
        assert small[name] == pytest.approx(value, rel=0.03), name


def test_the_perimeter_counts_holes_and_the_border():
    full = np.ones((1, 40, 40), bool)
    assert perimeters(full)[0] > 0.9 * 160
    holed = full.copy()
    holed[0, 10:30, 10:30] = False
    assert perimeters(holed)[0] > perimeters(full)[0] + 60


@pytest.mark.parametrize("area", [(1, 1), (1, 9), (2, 2)])
def test_the_smallest_masks_have_finite_shapes(area):
    mask = np.zeros((1, 32, 32), bool)
    mask[0, : area[0], : area[1]] = True
    assert np.isfinite(describe(mask)).all()


def test_the_nucleus_is_told_relative_to_its_cell(ellipse):
    cell, nucleus = ellipse(224, 60, 60), ellipse(224, 30, 30, at=(111.5 + 15, 111.5))
    crops = np.zeros((1, 224, 224, 3), np.uint8)
    found = dict(zip(CELL.names, CELL(crops, cell[None], nucleus[None])[0].tolist(), strict=True))
    assert found["nucleus_to_cell_area"] == pytest.approx(0.25, rel=0.01)
    assert found["cytoplasm_to_nucleus_area"] == pytest.approx(3, rel=0.02)
    assert found["nucleus_offset"] == pytest.approx(0.25, rel=0.01)


def test_lobes_are_counted_as_parts(ellipse):
    nucleus = ellipse(224, 15, 15, at=(80, 80)) | ellipse(224, 15, 15, at=(130, 130))
    found = NUCLEUS(np.zeros((1, 224, 224, 3), np.uint8), nucleus[None], nucleus[None])
    assert dict(zip(NUCLEUS.names, found[0].tolist(), strict=True))["nucleus_parts"] == 2
