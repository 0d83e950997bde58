"""A thing that gives the class away is told, one that does not is not, and memory of a group is no clue; and how a set is spread."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.crops import CropTable
from classification.exploration.clues import clue, find_clues, parts
from classification.exploration.crops import Crops
from classification.exploration.numbers import CHANNELS, SIZES, Numbers
from classification.exploration.spread import classes_by, colours_by, group_kinds, sizes_by_class

N = 80  # crops; classes by turns of two, so that each slide of four has both


def a_set(**columns: list[str]) -> Crops:
    """80 crops of 20 slides without pictures; all columns but those given say nothing."""
    labels = np.arange(N) // 2 % 2
    told = {"file": [f"{i}.png" for i in range(N)], "source": ["s"] * N, "split": ["train"] * N, "slide": [f"s{i // 4}" for i in range(N)]}
    told |= {name: values for name, values in columns.items() if name in ("source", "slide", "split", "patient")}
    table = CropTable(
        tuple(map(Path, told["file"])), labels, ("ALL", "HEM"), {name: tuple(values) for name, values in told.items()}, None, ()
    )
    stains = np.array(columns.get("stain", [f"{i // 4 % 2}" for i in range(N)]), np.str_)
    return Crops(table, (), table.column("slide"), "slide", stains, False, (), ())


def measured(seed: int = 0, **columns: np.ndarray) -> Numbers:
    """Sizes and colours that say nothing, but those given by name."""
    rng = np.random.default_rng(seed)
    sizes = {name: columns.get(name, rng.normal(20, 1, N)) for name in SIZES}
    cell, ground = ({c: columns.get(f"{part}_{c}", rng.normal(0, 1, N)) for c in CHANNELS} for part in ("cell", "ground"))
    return Numbers((), (), np.zeros((N, 0)), sizes, cell, ground, ())


CLASS = np.arange(N) // 2 % 2  # of each crop
NOISE = np.random.default_rng(5).normal(0, 0.1, N)


def test_nothing_is_told_where_nothing_goes_with_the_class() -> None:
    found = find_clues(a_set(), measured(), seed=0)
    assert [row["name"] for row in found if row["tells"]] == []
    assert all(abs(row["agreement"]) < 0.15 for row in found)
    assert all(row["balanced_accuracy"] < 0.7 for row in found)
    assert "source" not in [row["name"] for row in found]  # all of one source: it cannot tell


@pytest.mark.parametrize(
    ("name", "kind", "crops", "numbers"),
    [
        ("stain", "shortcut", a_set(stain=[f"stain {c}" for c in CLASS]), measured()),
        ("source", "shortcut", a_set(source=[f"source {c}" for c in CLASS]), measured()),
        ("side of the crop", "shortcut", a_set(), measured(crop_side_px=np.where(CLASS, 224.0, 300.0))),
        ("ground, blue to yellow", "shortcut", a_set(), measured(ground_b=CLASS + NOISE)),
        ("diameter of the nucleus", "size", a_set(), measured(nucleus_diameter_px=20.0 + 5 * CLASS + NOISE)),
        ("cell, lightness", "colour", a_set(), measured(cell_L=CLASS + NOISE)),
    ],
)
def test_what_goes_with_the_class_is_told_and_nothing_else(name: str, kind: str, crops: Crops, numbers: Numbers) -> None:
    (told,) = [row for row in find_clues(crops, numbers, seed=0) if row["tells"]]
    assert (told["name"], told["kind"], told["balanced_accuracy"], told["strength"]) == (name, kind, 1, 1)


def test_memory_of_a_group_is_no_clue() -> None:
    """Each slide has a stain and a class of its own: learned by heart it would be right always, on other slides it says nothing."""
    groups = np.repeat(np.arange(20), 4)
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], 10))[groups]
    found = clue(groups, labels, groups, seed=0)
    assert found["balanced_accuracy"] < 0.6
    assert not found["tells"]


def test_a_clue_of_a_part_of_the_crops_is_as_strong_as_it_is_seldom_wrong() -> None:
    """A stain of three quarters of one class: 0.75 with two classes is half way from chance to certain."""
    labels = np.tile([0, 1], 200)
    wrong = np.tile(np.repeat([True, False, False, False], 2), 50)
    found = clue(np.where(wrong, 1 - labels, labels), labels, np.arange(400) // 8, seed=0)
    assert found["balanced_accuracy"] == pytest.approx(0.75, abs=1e-9)
    assert found["strength"] == pytest.approx(0.5, abs=1e-9)
    assert found["tells"]


def test_a_class_of_one_group_cannot_be_tested_but_agrees() -> None:
    labels, groups = np.repeat([0, 1], 20), np.repeat([0, 1, 2, 3], 10)
    of_one = np.where(labels == 1, 9, groups)  # the second class lies in one slide
    found = clue(labels, labels, of_one, seed=0)
    assert (found["balanced_accuracy"], found["strength"]) == (None, None)
    assert found["agreement"] == pytest.approx(1)
    assert found["tells"]
    assert not clue(np.tile([0, 1], 20), labels, of_one, seed=0)["tells"]


def test_rare_classes_weigh_as_much_as_common_ones() -> None:
    """10 of 100 crops are of one class. Their stain is that of 20 others too, so it is never the commonest guess, but a clue."""
    labels = np.array([0] * 90 + [1] * 10)
    stains = np.array([0] * 70 + [1] * 30)
    assert clue(stains, labels, np.arange(100), seed=0)["balanced_accuracy"] == pytest.approx((70 / 90 + 1) / 2)
    nothing = clue(np.random.default_rng(0).integers(0, 2, 100), labels, np.arange(100), seed=0)
    assert nothing["balanced_accuracy"] < 0.7  # though calling all by the common class is right in 90 of 100


def test_one_class_has_no_clues() -> None:
    crops = a_set()
    alone = Crops(crops.table.take(CLASS == 0), (), crops.groups[CLASS == 0], "slide", crops.stains[CLASS == 0], False, (), ())
    assert find_clues(alone, measured(), seed=0) == []


def test_a_number_is_cut_into_equally_full_parts() -> None:
    values = np.random.default_rng(0).permutation(80).astype(float)
    codes = parts(values, 8)
    assert np.bincount(codes).tolist() == [10] * 8
    np.testing.assert_array_equal(codes, values // 10)


def test_parts_of_what_is_not_known_and_of_nothing() -> None:
    assert parts(np.array([np.nan, 1, 2, np.nan]), 2).tolist() == [0, 1, 2, 0]  # unknown is a part of its own
    assert parts(np.full(3, np.nan)).tolist() == [0, 0, 0]
    assert parts(np.full(3, 7.0)).tolist() == [0, 0, 0]
    assert parts(np.zeros(0)).tolist() == []


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_parts_keep_order_and_equal_values_together(values: list[int]) -> None:
    column = np.array(values, float)
    codes = parts(column)
    assert codes.max() < 9
    assert all((codes[i] <= codes[j]) for i in range(len(column)) for j in range(len(column)) if column[i] <= column[j])


def test_classes_are_counted_by_value_splits_in_their_order() -> None:
    values = np.array(["val", "train", "train", "test", "train"], np.str_)
    counts = classes_by(values, ["A", "A", "images", "A", "A"], ["images", "A", "B"])
    assert list(counts) == ["train", "val", "test"]
    assert counts["train"] == {"images": 1, "A": 2, "B": 0}  # a class of any name, and one without crops
    assert list(classes_by(np.array(["z", "", "a"], np.str_), ["A"] * 3, ["A"])) == ["", "a", "z"]
    assert classes_by(np.zeros(0, np.str_), [], ["A"]) == {}


def test_groups_are_counted_by_kind() -> None:
    kinds = group_kinds(a_set(patient=[""] * 40 + [f"p{i // 10}" for i in range(40)], source=["s"] * 60 + ["t"] * 20).table)
    assert (kinds["slide"]["n_crops_known"], kinds["slide"]["n"], kinds["slide"]["n_of_two_classes"]) == (80, 20, 20)
    assert kinds["slide"]["n_per_class"] == {"ALL": 20, "HEM": 20}
    assert (kinds["patient"]["n_crops_known"], kinds["patient"]["n"], kinds["patient"]["median_crops"]) == (40, 4, 10)
    unknown = {"n_crops_known": 0, "n": 0, "n_per_class": {"ALL": 0, "HEM": 0}, "n_of_two_classes": 0}
    assert kinds["field"] == {**unknown, "median_crops": None, "most_crops": None}


def test_groups_of_two_sources_are_never_the_same() -> None:
    assert group_kinds(a_set(slide=["1"] * N, source=["s", "t"] * 40).table)["slide"]["n"] == 2


def test_sizes_and_colours_are_summarised_and_what_is_unknown_is_left_out() -> None:
    size = np.where(CLASS == 0, 10.0, 30.0)
    size[0] = np.nan
    sizes = sizes_by_class(a_set(), measured(cell_diameter_px=size))["cell_diameter_px"]
    assert [(sizes[name]["n"], sizes[name]["median"]) for name in ("ALL", "HEM")] == [(39, 10), (40, 30)]
    assert sum(sizes["ALL"]["histogram"]) == 39
    unknown = {channel: np.full(N, np.nan) for channel in CHANNELS}
    assert colours_by(unknown, np.array(["x"] * N, np.str_), ["x"]) == {channel: {} for channel in CHANNELS}
    colours = colours_by(dict.fromkeys(CHANNELS, size), np.array(["x", "y"] * 40, np.str_), ["x", "y", "none"])
    assert {name: told["n"] for name, told in colours["L"].items()} == {"x": 39, "y": 40}
    assert colours["L"]["x"]["edges"] == colours["L"]["y"]["edges"]
    assert (colours["L"]["x"]["edges"][0], colours["L"]["x"]["edges"][-1]) == (10, 30)
