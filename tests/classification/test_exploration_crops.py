"""Which crops are explored, what is measured of them, and which show the same cell."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from classification.crops import CropTable
from classification.exploration.copies import count_copies, find_copies, together, twin_of
from classification.exploration.crops import Crops, Look, read_all
from classification.exploration.numbers import NEEDED, SIZES, measure
from classification.features import feature_names
from smear.audit import stain, twins
from smear.errors import AnnotationError, ConfigError
from smear.images import write_image

Row = dict[str, str]


@pytest.fixture
def given(rows: Callable[[int], list[Row]], write_table: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A table of n crops with columns changed: `change` is called with the row and its number."""

    def make(n: int, change: Callable[[Row, int], Row] = lambda row, i: row, folder: str = "discs") -> Path:
        return write_table(tmp_path / folder, [change(row, i) for i, row in enumerate(rows(n))])

    return make


def textured(seed: int, side: int = 64) -> np.ndarray:
    """No two alike."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(30, 225, (9, 9, 3)).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


def crops_of(images: Sequence[np.ndarray], *, files: Sequence[str] | None = None, **columns: Sequence[str]) -> Crops:
    """Crops that were never files; a column is all "x" where none is given."""
    n = len(images)
    told = {name: tuple(columns.get(name, ["x"] * n)) for name in ("label", "source", "split", "slide")}
    names = tuple(files or [f"{i}.png" for i in range(n)])
    classes = tuple(sorted(set(told["label"])))
    labels = np.array([classes.index(name) for name in told["label"]], np.int64)
    table = CropTable(tuple(map(Path, names)), labels, classes, {"file": names, **told}, None, ())
    looks = tuple(Look(image.shape[0], twins.look(image), np.zeros(len(stain.FEATURES), np.float32)) for image in images)
    return Crops(table, looks, table.column("slide"), "slide", np.array(["x"] * n, np.str_), False, (), ())


def test_the_coarsest_group_that_is_known_is_taken_unless_one_is_named(given: Callable[..., Path]) -> None:
    table = given(16)
    assert read_all([table]).unit == "slide"
    assert sorted(set(read_all([table]).groups.tolist())) == ["discs/s0", "discs/s1", "discs/s2", "discs/s3"]
    assert read_all([table], group="field").unit == "field"
    assert read_all([given(16, lambda row, i: row | {"patient": f"p{i // 8}", "split": "train"}, "known")]).unit == "patient"
    alone = read_all([given(16, lambda row, i: row | {"slide": "", "field": ""}, "alone")])
    assert (alone.unit, len(set(alone.groups.tolist()))) == ("file", 16)


def test_a_crop_without_a_group_is_said(given: Callable[..., Path]) -> None:
    crops = read_all([given(16, lambda row, i: row | {"slide": "" if i < 2 else row["slide"]})])
    assert crops.groups[:3].tolist() == ["discs/field f0", "discs/field f1", "discs/s0"]
    assert crops.warnings == ("2 of 16 crops have no slide; their field stands in",)


def test_stains_are_those_of_the_tables_or_clusters_where_one_is_missing(given: Callable[..., Path]) -> None:
    told = read_all([given(12)])
    assert (set(told.stains.tolist()), told.made_stains) == ({"a", "b"}, False)
    both = read_all([given(12), given(12, folder="more")])
    assert set(both.stains.tolist()) == {"discs/a", "discs/b", "more/a", "more/b"}  # two laboratories share no stain
    made = read_all([given(12, lambda row, i: row | {"stain": "" if i == 5 else "a"}, "some")], n_stains=3)
    assert (set(made.stains.tolist()), made.made_stains) == ({"colour 0", "colour 1", "colour 2"}, True)


def test_drawing_keeps_the_shares_of_the_groups_and_repeats(given: Callable[..., Path]) -> None:
    table = given(32)
    drawn = read_all([table], max_cells=16, seed=1)
    assert np.unique(drawn.groups, return_counts=True)[1].tolist() == [2] * 8
    assert drawn.files == read_all([table], max_cells=16, seed=1).files
    assert drawn.files != read_all([table], max_cells=16, seed=2).files


def test_one_class_will_do_and_all_is_put_first(given: Callable[..., Path]) -> None:
    assert read_all([given(4, lambda row, i: row | {"label": "ALL"}, "one")]).table.classes == ("ALL",)
    assert read_all([given(4, lambda row, i: row | {"label": ("Abc", "ALL")[i % 2]}, "two")]).table.classes == ("ALL", "Abc")


def test_crops_that_are_not_square_are_left_out_with_the_reason(given: Callable[..., Path]) -> None:
    table = given(8)
    write_image(table.parent / "crops/c003.png", np.zeros((20, 30, 3), np.uint8))
    crops = read_all([table])
    assert len(crops) == len(crops.groups) == len(crops.stains) == 7
    (dropped,) = crops.dropped
    assert dropped["file"] == "crops/c003.png"
    assert "a crop must be square, got 30×20 pixels" in dropped["error"]


def test_what_cannot_be_explored_is_refused(given: Callable[..., Path], tmp_path: Path) -> None:
    table = given(4)
    with pytest.raises(ConfigError, match="there is no column 'nobody'"):
        read_all([table], group="nobody")
    with pytest.raises(AnnotationError, match="column 'kind' is missing"):
        read_all([table], label_column="kind")
    for path in (table.parent / "crops").iterdir():
        path.write_bytes(b"")
    with pytest.raises(AnnotationError, match="no crop can be read; the first: "):
        read_all([table])
    table.write_text(table.read_text().splitlines()[0])
    with pytest.raises(AnnotationError, match="holds no crops"):
        read_all([table])


def disc(path: Path, side: int, radius: float, *, ground: Sequence[int] = (230, 220, 228)) -> np.ndarray:
    """A crop whose cell and nucleus are two discs, the nucleus of half the radius; with noise, as a camera has it."""
    image = np.full((side, side, 3), ground, np.uint8)
    for r, colour in ((radius, (178, 150, 206)), (radius / 2, (92, 44, 150))):
        cv2.circle(image, (side // 2, side // 2), round(r), colour, -1)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    write_image(path, noisy)
    return noisy


def test_sizes_are_in_pixels_of_the_crop_and_unknown_without_a_nucleus(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    images = [disc(Path(paths[0]), 80, 24), disc(Path(paths[1]), 120, 30), np.full((50, 50, 3), 220, np.uint8)]
    write_image(Path(paths[2]), images[2])
    numbers = measure(crops_of(images, files=paths), NEEDED)
    assert set(numbers.sizes) == set(SIZES)
    assert numbers.sizes["crop_side_px"].tolist() == [80, 120, 50]
    np.testing.assert_allclose(numbers.sizes["cell_diameter_px"], [48, 60, np.nan], rtol=0.06)
    np.testing.assert_allclose(numbers.sizes["nucleus_diameter_px"], [24, 30, np.nan], rtol=0.1)
    np.testing.assert_allclose(numbers.sizes["nucleus_to_cell_area"], [0.25, 0.25, np.nan], rtol=0.15)
    assert numbers.known.tolist() == [0, 1]
    assert numbers.notes == ("1 of 3 crops: no cell found, its features are NaN",)


def test_the_ground_is_that_of_the_crop_in_lab(tmp_path: Path) -> None:
    grounds = [(230, 220, 228), (205, 225, 235)]
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    images = [disc(Path(path), 80, 24, ground=ground) for path, ground in zip(paths, grounds, strict=True)]
    crops = crops_of(images, files=paths)
    crops = replace(crops, looks=tuple(replace(each, colours=stain.stain_features(i)) for each, i in zip(crops.looks, images, strict=True)))
    found = measure(crops, NEEDED).ground
    painted = cv2.cvtColor(np.array([grounds], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    np.testing.assert_allclose(np.stack([found[channel] for channel in "Lab"], axis=1), painted, atol=1.5)


def test_the_families_that_sizes_need_are_measured_always(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    crops = crops_of([disc(Path(path), 64, 20)], files=[path])
    numbers = measure(crops, ["glcm"])
    assert numbers.families == ("nucleus_shape", "shape", "glcm", "colour")
    assert numbers.names == feature_names(numbers.families)
    assert numbers.values.shape == (1, len(numbers.names))
    with pytest.raises(ConfigError, match="got 'glmc'"):
        measure(crops, ["glmc"])


def test_no_twins_among_different_crops() -> None:
    assert find_copies(crops_of([textured(0)])) == []
    assert find_copies(crops_of([textured(i) for i in range(6)])) == []
    assert count_copies([])["exact"] == {"pairs": 0, "within_groups": 0, "splits": 0, "labels": 0, "groups": 0, "sources": 0}
    assert twin_of([], 3) == [None] * 3


@pytest.fixture(scope="module")
def planted() -> list[dict[str, Any]]:
    """0 and 1 are equal, across labels; 2 is 0 turned, in another split and group; 3 and 4 are equal, of one group; 5 is alone."""
    images = [textured(0), textured(0), np.rot90(textured(0)), textured(3), textured(3), textured(5)]
    crops = crops_of(images, label="ABAAAA", split=("train", "train", "test", "train", "train", "train"), slide="aabcca", source="sssssS")
    return find_copies(crops)


def test_twins_are_found_with_what_they_lie_across_the_worst_first(planted: list[dict[str, Any]]) -> None:
    assert [(p["a"], p["b"], p["kind"], p["across"]) for p in planted] == [
        (1, 2, "near", ["splits", "labels", "groups"]),
        (0, 2, "near", ["splits", "groups"]),
        (0, 1, "exact", ["labels"]),
        (3, 4, "exact", []),
    ]
    assert [p["transform"] for p in planted] == ["rot90", "rot90", "identity", "identity"]
    assert max(p["distance"] for p in planted) < 0.01


def test_twins_are_counted_by_kind(planted: list[dict[str, Any]]) -> None:
    counts = count_copies(planted)
    assert counts["exact"] == {"pairs": 2, "within_groups": 2, "splits": 0, "labels": 1, "groups": 0, "sources": 0}
    assert counts["near"] == {"pairs": 2, "within_groups": 0, "splits": 2, "labels": 1, "groups": 2, "sources": 0}


def test_the_twin_of_a_crop_is_the_one_most_like_it(planted: list[dict[str, Any]]) -> None:
    assert twin_of(planted, 6) == [1, 0, 0, 4, 3, None]


def test_groups_are_kept_together_with_those_of_their_twins(planted: list[dict[str, Any]]) -> None:
    groups = np.array(list("aabcca"), np.str_)
    assert together(groups, planted).tolist() == [0, 0, 0, 1, 1, 0]
    assert together(groups, []).tolist() == [0, 0, 1, 2, 2, 0]


def test_a_file_that_is_listed_twice_is_its_own_twin_and_shares_its_twins() -> None:
    images = [textured(0), np.rot90(textured(0)), textured(0)]
    crops = crops_of(images, files=["x.png", "y.png", "x.png"], split=("train", "train", "test"))
    pairs = {frozenset((p["a"], p["b"])): p for p in find_copies(crops)}
    assert set(pairs) == {frozenset((0, 1)), frozenset((0, 2)), frozenset((1, 2))}
    assert (pairs[frozenset((0, 2))]["kind"], pairs[frozenset((0, 2))]["across"]) == ("exact", ["splits"])
    for pair in pairs.values():
        turned = np.rot90(images[pair["a"]], twins.TRANSFORMS.index(pair["transform"]))
        np.testing.assert_array_equal(turned, images[pair["b"]])  # done to a gives b


def test_tables_may_be_read_together(given: Callable[..., Path]) -> None:
    first, second = given(4), given(4, folder="more")
    crops = read_all([first, second])
    with first.open() as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert crops.files == [f"{source}/{file}" for source in ("discs", "more") for file in files]
    assert crops.sources.tolist() == ["discs"] * 4 + ["more"] * 4
    assert len(find_copies(crops)) == 4  # the same pictures in both
    assert {tuple(pair["across"]) for pair in find_copies(crops)} == {("groups", "sources")}
