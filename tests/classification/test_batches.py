import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from classification import batches as batches_module
from classification.batches import Batches, choose_workers, epoch_order, normalise_there, sample_weights, to_tensor
from classification.classifier import normalise
from classification.pictures import Pictures
from classification.settings import Balance
from smear.images import write_image


def draws(weights: np.ndarray, balance: Balance, n: int = 20_000) -> np.ndarray:
    return epoch_order(weights, n, balance=balance, seed=0, epoch=1)


def test_classes_are_drawn_equally_often() -> None:
    labels, balance = np.repeat([0, 1], [900, 100]), Balance(by="class")
    order = draws(sample_weights(labels, np.full(1000, ""), balance), balance)
    assert labels[order].mean() == pytest.approx(0.5, abs=0.02)


def test_within_every_stain_with_both_classes_the_stain_carries_no_news() -> None:
    stains, labels = np.repeat(["a", "a", "b", "b"], [400, 100, 60, 240]), np.repeat([0, 1, 0, 1], [400, 100, 60, 240])
    balance = Balance(by="class_stain")
    order = draws(sample_weights(labels, stains, balance), balance)
    for stain in "ab":
        assert labels[order][stains[order] == stain].mean() == pytest.approx(0.5, abs=0.02)


def test_a_stain_of_one_class_leaves_the_classes_equal() -> None:
    stains, labels = np.repeat(["a", "a", "b"], [400, 100, 500]), np.repeat([0, 1, 0], [400, 100, 500])
    weights = sample_weights(labels, stains, Balance(by="class_stain"))
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())


def test_a_handful_of_cells_is_not_repeated_without_end() -> None:
    labels = np.repeat([0, 1], [9999, 1])
    assert sample_weights(labels, np.full(10_000, ""), Balance(by="class", cap=10)).max() <= 10.01


@pytest.mark.parametrize("by", ["none", "class", "class_stain"])
def test_no_cell_is_no_weight(by: str) -> None:
    assert sample_weights(np.zeros(0, np.int64), np.zeros(0, "<U1"), Balance(by=by)).shape == (0,)


def test_without_a_sampler_every_cell_is_seen_once_an_epoch() -> None:
    balance = Balance(by="class", how="loss")
    order = epoch_order(np.arange(1.0, 11), 10, balance=balance, seed=0, epoch=1)
    assert sorted(order) == list(range(10))
    assert not np.array_equal(order, epoch_order(np.arange(1.0, 11), 10, balance=balance, seed=0, epoch=2))
    repeated = epoch_order(np.ones(4), 10, balance=balance, seed=0, epoch=1)
    assert sorted(np.bincount(repeated)) == [2, 2, 3, 3]


def test_batches_cover_the_order_and_never_hold_one_cell(smoke: Callable) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    batches = Batches(Pictures.of(images), smoke(batch=4, augment=[]))
    seen = list(batches.epoch(1, np.arange(9)))
    assert [tuple(x.shape) for x, _ in seen] == [(4, 3, 64, 64), (4, 3, 64, 64)]  # the ninth would be alone
    assert [i for _, cells in seen for i in cells.tolist()] == list(range(8))
    np.testing.assert_allclose(seen[0][0][2].permute(1, 2, 0).numpy(), images[2] / 255, atol=1e-6)


def test_a_cell_drawn_twice_is_augmented_twice(smoke: Callable) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    ((pictures, _),) = Batches(Pictures.of(images), smoke(batch=4)).epoch(1, np.array([0, 0, 1]))
    assert not np.array_equal(pictures[0], pictures[1])


def assert_same_batches(one: Batches, two: Batches) -> None:
    for epoch in (1, 2):
        for (x, cells), (y, same) in zip(one.epoch(epoch, np.arange(12)), two.epoch(epoch, np.arange(12)), strict=True):
            np.testing.assert_array_equal(x, y)
            np.testing.assert_array_equal(cells, same)


STRONG = ("move", "mix_channels", "light", "GaussianBlur", "GaussNoise", "ImageCompression")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(smoke: Callable, n: int) -> None:
    pictures = Pictures.of(np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))
    alone, helped = (Batches(pictures, smoke(batch=4, workers=k, augment=[{"name": s} for s in STRONG])) for k in (0, n))
    assert (alone.threads, helped.threads, helped.processes) == (0, n, 0)
    assert_same_batches(alone, helped)


@pytest.mark.slow
def test_processes_change_nothing_and_live_from_epoch_to_epoch(smoke: Callable, tmp_path: Path) -> None:
    """Half of the crops are shared with them, half are read by them."""
    whole = Pictures.of(np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))
    paths = tuple(tmp_path / f"{i}.png" for i in range(12))
    for path, image in zip(paths, whole.kept, strict=True):
        write_image(path, image)
    half = Pictures(paths, 64, whole.kept[:6], np.where(np.arange(12) < 6, np.arange(12), -1))
    helped = Batches(half, smoke(batch=4, workers=2), apart=True)
    assert (helped.threads, helped.processes) == (0, 2)
    assert_same_batches(Batches(whole, smoke(batch=4, workers=0)), helped)


def test_too_little_shared_memory_means_threads(smoke: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 << 20))
    small, large = (Pictures((), 64, np.zeros((n, 64, 64, 3), np.uint8), np.zeros(0, np.int64)) for n in (10, 2000))
    assert Batches(small, smoke(workers=2), apart=True).processes == 2
    assert (Batches(large, smoke(workers=2), apart=True).processes, Batches(large, smoke(workers=2), apart=True).threads) == (0, 2)


@pytest.mark.parametrize(("device", "cores", "expected"), [("cpu", 1, 1), ("cpu", 64, 1), ("cuda", 1, 1), ("cuda", 8, 7), ("cuda", 96, 16)])
def test_workers_follow_device_and_cores(monkeypatch: pytest.MonkeyPatch, device: str, cores: int, expected: int) -> None:
    monkeypatch.setattr(batches_module, "n_cores", lambda: cores)
    assert choose_workers("auto", torch.device(device)) == expected
    assert choose_workers(3, torch.device(device)) == 3


def test_opencv_has_its_threads_again_after_an_epoch(smoke: Callable) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    batches = Batches(Pictures.of(np.zeros((4, 64, 64, 3), np.uint8)), smoke(batch=2, workers=1)).epoch(1, np.arange(4))
    next(batches)
    assert cv2.getNumThreads() == 1
    batches.close()
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)


@pytest.mark.parametrize("kind", ["unit", "imagenet", "minmax"])
def test_normalising_on_the_device_is_normalising(kind: str) -> None:
    """Against the function that a bundle is used with; an even crop is among them."""
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    crops[1] = 7
    expected = normalise(crops, kind)
    np.testing.assert_array_equal(to_tensor(crops, kind), expected)
    np.testing.assert_allclose(normalise_there(torch.from_numpy(crops), kind), expected, atol=1e-6)
    for made in (to_tensor(crops, kind), normalise_there(torch.from_numpy(crops), kind)):
        assert made.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_arrive_on_the_gpu_as_they_left(smoke: Callable, workers: int) -> None:
    pictures = Pictures.of(np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))
    here = Batches(pictures, smoke(batch=4, workers=0)).epoch(1, np.arange(12))
    there = Batches(pictures, smoke(batch=4, workers=workers), torch.device("cuda:0")).epoch(1, np.arange(12))
    for (x, cells), (y, same) in zip(here, there, strict=True):
        np.testing.assert_allclose(y.cpu(), x, atol=1e-5)
        np.testing.assert_array_equal(same.cpu(), cells)
