import cv2
import numpy as np
import pytest

from classification.features.segment import segment
from datasets.painted import CLASSES_WBC, draw_style, paint_field


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_no_crops_are_no_masks():
    cell, nucleus = segment(np.zeros((0, 64, 64, 3), np.uint8))
    assert cell.shape == nucleus.shape == (0, 64, 64)
    assert cell.dtype == nucleus.dtype == bool


@pytest.mark.parametrize("side", [56, 112, 224])
def test_cell_and_nucleus_are_found_at_any_size(white_cell, side):
    crop, cell, nucleus = white_cell(side)
    found, core = segment(crop[None])
    assert overlap(found[0], cell) > 0.93
    assert overlap(core[0], nucleus) > 0.93
    assert not (core & ~found).any()


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (235, 235, 240)])
def test_a_blank_crop_has_neither(colour):
    cell, nucleus = segment(np.full((2, 64, 64, 3), colour, np.uint8))
    assert not cell.any()
    assert not nucleus.any()


@pytest.mark.parametrize("background", [0, 128])
def test_a_cell_that_is_cut_out_keeps_its_edge(white_cell, background):
    crop, cell, nucleus = white_cell(224)
    crop = np.where(cell[..., None], crop, np.uint8(background))
    found, core = segment(crop[None])
    assert overlap(found[0], cell) > 0.97
    assert overlap(core[0], nucleus) > 0.93


def test_a_white_cell_that_touches_is_left_outside(white_cell, ellipse):
    crop, cell, _ = white_cell(224)
    neighbour = ellipse(224, 50, 50, at=(112 + 97, 112))  # overlaps by a few pixels
    crop[neighbour & ~cell] = (170, 170, 222)
    crop[ellipse(224, 35, 35, at=(112 + 97, 112))] = (84, 44, 140)
    found, core = segment(crop[None])
    assert overlap(found[0], cell) > 0.85
    assert core[0][:, 180:].sum() == 0


def test_lobes_of_one_nucleus_all_count(white_cell, ellipse):
    crop, cell, _ = white_cell(224, core=0.01)
    lobes = ellipse(224, 14, 14, at=(95, 95)) | ellipse(224, 14, 14, at=(130, 118)) | ellipse(224, 13, 13, at=(96, 135))
    crop[lobes] = (84, 44, 140)
    found, core = segment(crop[None])
    assert cv2.connectedComponents(core[0].astype(np.uint8))[0] - 1 == 3
    assert overlap(core[0], lobes) > 0.9
    assert overlap(found[0], cell) > 0.9


def test_the_neighbours_in_the_batch_change_nothing(white_cell):
    crops = np.stack([white_cell(112, seed=i, core=0.1 + 0.02 * i)[0] for i in range(3)])
    together, alone = segment(crops), [segment(crop[None]) for crop in crops]
    for i in range(3):
        assert overlap(together[0][i], alone[i][0][0]) > 0.99
        assert overlap(together[1][i], alone[i][1][0]) > 0.99


def test_a_turned_crop_has_turned_masks(white_cell):
    crop, *_ = white_cell(224)
    upright, turned = segment(crop[None]), segment(np.rot90(crop)[None].copy())
    for a, b in zip(upright, turned, strict=True):
        assert overlap(np.rot90(a[0]), b[0]) > 0.95


def test_painted_cells_are_found_as_they_were_painted():
    """Cells of four slides, of any stain; what the painter drew is the truth."""
    shares = []
    for seed in range(4):
        rng = np.random.default_rng([7, seed])
        field = paint_field(rng, draw_style(rng), shape_hw=(420, 560), rbc_px=50.0, classes=CLASSES_WBC)
        for row in np.flatnonzero(field.truth.labels == 0):
            left, top = (int(v) for v in (field.truth.boxes[row, :2] + field.truth.boxes[row, 2:]) / 2 - 75)
            if left >= 0 and top >= 0 and left + 150 <= 560 and top + 150 <= 420:
                view = (slice(top, top + 150), slice(left, left + 150))
                shares.append(overlap(segment(field.image[view][None])[0][0], field.masks[view] == row + 1))
    assert len(shares) >= 4
    assert np.median(shares) > 0.85
