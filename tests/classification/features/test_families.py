import numpy as np
import pytest

from classification.features import FAMILIES, HANDCRAFTED, SETS, choose, compute, feature_names
from classification.features.families import CUT, NO_CELL, NO_NUCLEUS
from classification.recipes import all_recipes
from smear.errors import ConfigError

BLANK = np.full((112, 112, 3), 235, np.uint8)
OF_MASKS = tuple(name for name, family in FAMILIES.items() if family.needs_nucleus)


def test_no_crops_have_every_column_and_no_row():
    found = compute(np.zeros((0, 64, 64, 3), np.uint8), "all")
    assert found.values.shape == (0, len(found.names))
    assert found.values.dtype == np.float32
    assert found.names == feature_names("all")
    assert found.warnings == ()


def test_every_name_is_there_once():
    names = feature_names("all")
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_what_it_names(white_cell, name):
    crop, cell, nucleus = white_cell()
    values = FAMILIES[name](crop[None], cell[None], nucleus[None])
    assert values.shape == (1, len(FAMILIES[name].names))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_no_crops_keeps_its_shape(name):
    masks = np.zeros((0, 64, 64), bool)
    assert FAMILIES[name](np.zeros((0, 64, 64, 3), np.uint8), masks, masks).shape == (0, len(FAMILIES[name].names))


@pytest.mark.parametrize("name", OF_MASKS)
def test_a_crop_without_a_nucleus_is_nan_beside_one_that_has(white_cell, name):
    crop, cell, nucleus = white_cell()
    nothing = np.zeros_like(cell)
    values = FAMILIES[name](np.stack([crop, BLANK, crop]), np.stack([cell, nothing, cell]), np.stack([nucleus, nothing, nothing]))
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1:]).all()


def test_a_blank_crop_is_warned_about_and_never_raised(white_cell):
    found = compute(np.stack([BLANK, white_cell()[0], np.zeros_like(BLANK)]))
    assert found.warnings == ((NO_CELL,), (), (NO_CELL,))
    of_masks = np.isin(found.names, feature_names(OF_MASKS))
    assert np.isnan(found.values[0, of_masks]).all()
    assert np.isfinite(found.values[0, ~of_masks]).all()
    assert np.isfinite(found.values[1]).all()


def test_families_without_masks_are_not_warned_about():
    assert compute(BLANK[None], "dft,histogram").warnings == ((),)


def test_a_cell_without_a_nucleus_is_named(white_cell, monkeypatch):
    crop, cell, _ = white_cell()
    monkeypatch.setattr("classification.features.families.segment", lambda crops: (cell[None], np.zeros_like(cell)[None]))
    found = compute(crop[None], "shape")
    assert found.warnings == ((NO_NUCLEUS,),)
    assert np.isnan(found.values).all()


def test_a_cell_cut_by_the_border_is_named(white_cell):
    crop = white_cell(224, radius=0.2)[0][:, 70:-2]
    side = crop.shape[1]
    crop = np.ascontiguousarray(crop[112 - side // 2 :][:side])  # the cell reaches the left edge
    assert compute(crop[None], "shape").warnings == ((CUT,),)


def test_chunks_and_threads_change_nothing(white_cell, monkeypatch):
    crops = np.stack([white_cell(64, seed=i, core=0.1 + 0.01 * i)[0] for i in range(5)])
    whole = compute(crops)
    monkeypatch.setattr("classification.features.families.CHUNK", 2)
    parted = compute(crops, threads=2)
    np.testing.assert_allclose(parted.values, whole.values, rtol=1e-4, atol=1e-4)
    assert parted.warnings == whole.warnings


@pytest.mark.parametrize("side", [8, 16, 32, 50])
def test_small_crops_give_rows_too(white_cell, side):
    found = compute(white_cell(side)[0][None])
    assert found.values.shape == (1, len(feature_names()))


def test_noise_never_raises():
    crops = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
    assert compute(crops, "all").values.shape[0] == 6


def test_choosing_goes_by_the_table_whatever_the_order():
    assert [family.name for family in choose("lbp,shape,lbp")] == ["shape", "lbp"]
    assert [family.name for family in choose(["texture"])] == ["statistics", "glcm", "lbp"]
    assert [family.name for family in choose("all")] == list(FAMILIES)
    assert set(HANDCRAFTED) == set(FAMILIES) - {"raw_pixels"}
    assert all(name in FAMILIES for names in SETS.values() for name in names)


@pytest.mark.parametrize(("asked", "hint"), [("glmc", "did you mean 'glcm'"), ("", "got ''"), ([], "got ''")])
def test_an_unknown_family_is_answered_with_a_suggestion(asked, hint):
    with pytest.raises(ConfigError, match=hint):
        choose(asked)


@pytest.mark.parametrize("crops", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 5, 3), np.uint8), np.zeros((1, 4, 4, 3), np.float32)])
def test_what_is_no_batch_of_crops_is_refused(crops):
    with pytest.raises(ValueError, match="uint8"):
        compute(crops)


def test_every_recipe_asks_for_families_that_are_here():
    asked = {name for recipe in all_recipes().values() if recipe.classical for name in recipe.classical.features}
    handcrafted = [name for name in asked if not name.startswith("deep_")]
    assert handcrafted
    assert choose(handcrafted)
