"""A crop shows what its contract says: the width in red cells, the cell in the middle, the background asked for."""

import time

import numpy as np
import pytest

from smear.crops import CUT_BY_EDGE, NEUTRAL_GREY, NOT_SEGMENTED, PADDED, crop
from smear.images import resize
from smear.models import CropContract

RBC = CropContract()


def disc_field(side=400, centre=(200, 200), radius=30, cell=(90, 30, 140), glass=(235, 225, 230)) -> np.ndarray:
    y, x = np.mgrid[:side, :side] + 0.5
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return np.where(inside[:, :, None], np.array(cell, np.uint8), np.array(glass, np.uint8))


def box_of(centre=(200, 200), radius=30) -> np.ndarray:
    return np.array([centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius], np.float32)


@pytest.mark.parametrize("out_px", [32, 144, 224])
@pytest.mark.parametrize("background", ["kept", "ellipse", "black"])
def test_every_crop_is_square_uint8_and_its_own(out_px, background):
    field = disc_field()
    before = field.copy()
    view, _ = crop(field, box_of(), CropContract(background=background), rbc_px=48, out_px=out_px)
    assert (view.shape, view.dtype) == ((out_px, out_px, 3), np.uint8)
    view[:] = 0
    np.testing.assert_array_equal(field, before)


def test_the_unit_rbc_keeps_the_size_of_cells():
    """Twice the diameter is four times the area in the crop, whatever the box says."""
    areas = []
    for radius in (20, 40):
        view, _ = crop(disc_field(radius=radius), box_of(radius=radius), RBC, rbc_px=48, out_px=224)
        areas.append((view[:, :, 1] < 128).sum() / 224**2)
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.05)
    assert areas[0] == pytest.approx(np.pi * 20**2 / (3 * 48) ** 2, rel=0.05)


def test_the_unit_box_makes_all_cells_one_size():
    contract = CropContract(unit="box", width=2)
    areas = [
        (crop(disc_field(radius=r), box_of(radius=r), contract, rbc_px=float("nan"), out_px=224)[0][:, :, 1] < 128).sum() for r in (20, 40)
    ]
    assert areas[1] == pytest.approx(areas[0], rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_a_field_at_another_magnification_gives_the_same_crop(factor):
    field = disc_field(centre=(210, 190))
    a, _ = crop(field, box_of((210, 190)), RBC, rbc_px=48, out_px=96)
    b, _ = crop(resize(field, factor), box_of((210, 190)) * factor, RBC, rbc_px=48 * factor, out_px=96)
    assert np.abs(a.astype(int) - b).mean() < 4


def test_the_same_size_is_cut_without_resampling():
    field = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    view, warnings = crop(field, np.array([100, 110, 140, 150], np.float32), CropContract(width=2), rbc_px=48, out_px=96)
    np.testing.assert_array_equal(view, field[130 - 48 : 130 + 48, 120 - 48 : 120 + 48])
    assert warnings == ()


def test_shrinking_averages_and_does_not_alias():
    checks = np.indices((400, 400)).sum(axis=0) % 2 * 255
    field = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    view, _ = crop(field, np.array([150, 150, 250, 250], np.float32), CropContract(unit="box", width=2), rbc_px=1, out_px=50)
    assert np.abs(view.astype(int) - 127).max() <= 1


def test_beyond_the_field_the_edge_is_repeated_and_told():
    field = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    view, warnings = crop(field, np.array([2, 20, 22, 40], np.float32), CropContract(unit="box", width=2), rbc_px=1, out_px=40)
    assert warnings == (PADDED,)  # the cell itself is whole
    np.testing.assert_array_equal(view[:, 8:], field[10:50, :32])
    np.testing.assert_array_equal(view[:, :8], np.repeat(field[10:50, :1], 8, axis=1))


@pytest.mark.parametrize("box", [(0, 200, 60, 260), (200, 0, 260, 60), (340, 200, 400, 260), (200, 339.5, 260, 399.5)])
def test_a_cell_on_the_border_is_told(box):
    assert CUT_BY_EDGE in crop(disc_field(), np.array(box, np.float32), RBC, rbc_px=48, out_px=64)[1]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (5, 5)])
@pytest.mark.parametrize("background", ["kept", "ellipse", "black"])
def test_a_field_smaller_than_the_crop_still_gives_one(shape, background):
    field = np.full((*shape, 3), 77, np.uint8)
    box = np.array([0, 0, shape[1], shape[0]], np.float32)
    view, warnings = crop(field, box, CropContract(background=background), rbc_px=48, out_px=64)
    assert view.shape == (64, 64, 3)
    assert {CUT_BY_EDGE, PADDED} <= set(warnings)


@pytest.mark.parametrize("box", [(-50, -50, -40, -40), (500, 500, 510, 510), (-1000, 100, -900, 200), (10, 10, 10, 10)])
@pytest.mark.parametrize("width", [0.01, 3.0])
def test_boxes_outside_the_field_or_empty_do_not_crash(box, width):
    view, _ = crop(disc_field(100), np.array(box, np.float32), CropContract(width=width), rbc_px=48, out_px=32)
    assert view.shape == (32, 32, 3)


@pytest.mark.parametrize(("box", "rbc_px"), [((0, 0, 9, 9), np.nan), ((0, 0, 9, 9), 0.0), ((0, 0, 9, 9), -3.0), ((0, np.nan, 9, 9), 48.0)])
def test_an_unknown_scale_or_box_is_never_guessed(box, rbc_px):
    with pytest.raises(ValueError, match="cannot crop"):
        crop(disc_field(), np.array(box, np.float32), RBC, rbc_px=rbc_px, out_px=32)


def test_outside_the_ellipse_all_is_grey_and_inside_nothing_changes():
    kept, _ = crop(disc_field(), box_of(), RBC, rbc_px=48, out_px=144)
    view, _ = crop(disc_field(), box_of(), CropContract(background="ellipse"), rbc_px=48, out_px=144)
    y, x = np.mgrid[:144, :144] + 0.5
    inside = (x - 72) ** 2 + (y - 72) ** 2 <= (30 * 1.15) ** 2
    np.testing.assert_array_equal(view[inside], kept[inside])
    assert (view[~inside] == NEUTRAL_GREY).all()


def test_on_black_only_the_cell_is_left():
    view, warnings = crop(disc_field(), box_of(), CropContract(background="black"), rbc_px=48, out_px=144)
    y, x = np.mgrid[:144, :144] + 0.5
    truth = (x - 72) ** 2 + (y - 72) ** 2 <= 30**2
    found = view.any(axis=2)
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    assert warnings == ()


def test_a_cell_that_cannot_be_segmented_is_told_and_cut_by_its_ellipse():
    field = np.full((400, 400, 3), 200, np.uint8)
    view, warnings = crop(field, box_of(), CropContract(background="black"), rbc_px=48, out_px=144)
    assert warnings == (NOT_SEGMENTED,)
    assert (view[72, 72] == 200).all()
    assert not view[0, 0].any()


@pytest.mark.slow
def test_a_hundred_crops_of_a_large_field_take_no_time():
    """No copy of the field a crop: a 12-megapixel copy alone would take 100 × 10 ms."""
    field = np.zeros((3000, 4000, 3), np.uint8)
    boxes = np.random.default_rng(0).uniform(300, 2500, (100, 2)).astype(np.float32)
    started = time.process_time()
    for x, y in boxes:
        crop(field, np.array([x, y, x + 80, y + 80], np.float32), RBC, rbc_px=48, out_px=224)
    assert time.process_time() - started < 0.5
