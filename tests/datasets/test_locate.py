"""Crops are found again in the fields that they were cut from."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.locate import Place, locate_crops
from smear.images import write_image


def paint_field(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((300, 400, 3), 240, np.uint8)
    for _ in range(60):
        x, y, r = int(rng.integers(0, 400)), int(rng.integers(0, 300)), int(rng.integers(8, 26))
        cv2.circle(image, (x, y), r, [int(v) for v in rng.integers(80, 220, 3)], -1)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def fields(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"Im{i:03d}_1.png" for i in range(4)]
    for seed, path in enumerate(paths):
        write_image(path, paint_field(seed))
    return paths


@pytest.mark.parametrize(("x", "y"), [(0, 0), (123, 77), (320, 220)])
def test_a_crop_is_found_to_the_pixel(fields: list[Path], tmp_path: Path, x: int, y: int) -> None:
    crop = tmp_path / "crop.png"
    write_image(crop, paint_field(2)[y : y + 80, x : x + 80])
    place = locate_crops([crop], fields)[crop]
    assert (place.field, place.x, place.y) == (fields[2], x, y)
    assert place.correlation > 0.99


def test_a_crop_that_was_compressed_again_is_still_found(fields: list[Path], tmp_path: Path) -> None:
    crop = tmp_path / "crop.jpg"
    write_image(crop, paint_field(1)[50:140, 60:150])
    place = locate_crops([crop], fields)[crop]
    assert (place.field, place.x, place.y) == (fields[1], 60, 50)


def test_a_crop_of_another_field_and_a_flat_one_are_left_out(fields: list[Path], tmp_path: Path) -> None:
    other, flat, large = tmp_path / "other.png", tmp_path / "flat.png", tmp_path / "large.png"
    write_image(other, paint_field(99)[50:130, 60:140])
    write_image(flat, np.full((80, 80, 3), 200, np.uint8))
    write_image(large, np.vstack([paint_field(1)] * 2))
    assert locate_crops([other, flat, large], fields) == {}


def test_no_crops_have_no_place(fields: list[Path]) -> None:
    found: dict[Path, Place] = locate_crops([], fields)
    assert found == {}
