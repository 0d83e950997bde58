"""Crops stay in memory as far as the limit allows; what is read again is the same picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.crops import CropTable, load_images, read_crops
from classification.material import prepare
from classification.pictures import Pictures, load_pictures
from smear.errors import ImageError

ONE = 16 * 16 * 3  # bytes of a crop at 16 px


@pytest.fixture
def crops(table: Path) -> CropTable:
    return read_crops([table], ("ALL", "HEM"))


@pytest.mark.parametrize(("most", "n_kept"), [(None, 40), (100 * ONE, 40), (10 * ONE + 5, 10), (ONE - 1, 0), (0, 0)])
def test_no_more_is_kept_than_the_limit_and_all_is_there(crops: CropTable, most: int | None, n_kept: int) -> None:
    wanted = np.arange(60, 20, -1)
    pictures = load_pictures(crops, size=16, wanted=wanted, most_bytes=most)
    assert len(pictures) == 64
    assert pictures.kept.nbytes == n_kept * ONE <= (most if most is not None else 40 * ONE)
    assert pictures.kept_share(wanted[:10]) == (1.0 if n_kept >= 10 else 0.0)
    np.testing.assert_array_equal(pictures[:], load_images(crops, size=16))


def test_parts_and_slices_follow_the_order_asked_for(crops: CropTable) -> None:
    images = load_images(crops, size=16)
    pictures = load_pictures(crops, size=16, wanted=np.arange(32), most_bytes=20 * ONE)
    rows = np.array([40, 3, 3, 25, 19])
    np.testing.assert_array_equal(pictures[rows], images[rows])
    np.testing.assert_array_equal(pictures.part(rows)[1:4], images[rows[1:4]])
    assert pictures.part(rows[:0])[:].shape == (0, 16, 16, 3)


def test_a_batch_is_a_copy(crops: CropTable) -> None:
    pictures = Pictures.of(load_images(crops, size=16))
    pictures[np.array([5])][:] = 0
    np.testing.assert_array_equal(pictures.kept, load_images(crops, size=16))


def test_a_file_that_went_away_is_named(rows: Callable, write_table: Callable, tmp_path: Path) -> None:
    made = read_crops([write_table(tmp_path / "set", rows(8))], ("ALL", "HEM"))
    pictures = load_pictures(made, size=16, wanted=np.arange(8), most_bytes=4 * ONE)
    for path in made.paths:
        path.unlink()
    assert pictures[np.arange(4)].shape == (4, 16, 16, 3)
    with pytest.raises(ImageError, match="c004"):
        pictures[np.array([0, 4])]


@pytest.mark.parametrize(("free", "cache", "n_kept"), [(10**9, 0.5, 48), (64 * 64 * 3 * 20, 0.5, 10), (None, 0.5, 48), (None, 0.0, 0)])
def test_the_share_of_free_memory_is_the_limit(
    table: Path, smoke: Callable, monkeypatch: pytest.MonkeyPatch, free: int | None, cache: float, n_kept: int
) -> None:
    """Test crops are never drawn in training and never kept; a system that does not tell its memory keeps the others."""
    monkeypatch.setattr("classification.material.free_bytes", lambda: free)
    assert len(prepare(smoke(cache=cache), [table]).pictures.kept) == n_kept


def test_another_size_is_made_from_the_files_or_from_memory(crops: CropTable) -> None:
    files = Pictures.of_files(crops.paths)
    expected = load_images(crops, size=12)
    np.testing.assert_array_equal(files.at(12)[:], expected)
    np.testing.assert_array_equal(files.part(np.array([9, 2])).at(12)[:], expected[[9, 2]])
    np.testing.assert_array_equal(files.at(7).at(12)[:], expected)  # from the files again, not from the small ones
    scarce = files.at(12, share=0.0)
    assert scarce.kept.nbytes == 0
    np.testing.assert_array_equal(scarce[5:9], expected[5:9])
    held = Pictures.of(load_images(crops, size=20))
    np.testing.assert_array_equal(held.at(12, share=0.0)[:], expected)  # painted at 20 px
    assert held.at(20) is held
    assert held.part(np.zeros(0, np.int64)).at(12)[:].shape == (0, 12, 12, 3)
