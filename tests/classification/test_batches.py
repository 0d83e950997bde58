from collections.abc import Callable

import numpy as np
import pytest

from classification.batches import Batches, epoch_order, sample_weights
from classification.settings import Balance


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
    batches = Batches(images, smoke(batch=4, augment=[]))
    seen = list(batches.epoch(1, np.arange(9)))
    assert [tuple(x.shape) for x, _ in seen] == [(4, 3, 64, 64), (4, 3, 64, 64)]  # the ninth would be alone
    assert [i for _, cells in seen for i in cells.tolist()] == list(range(8))
    np.testing.assert_allclose(seen[0][0][2].permute(1, 2, 0).numpy(), images[2] / 255, atol=1e-6)


def test_a_cell_drawn_twice_is_augmented_twice(smoke: Callable) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    ((pictures, _),) = Batches(images, smoke(batch=4)).epoch(1, np.array([0, 0, 1]))
    assert not np.array_equal(pictures[0], pictures[1])


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(smoke: Callable) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    alone, helped = (Batches(images, smoke(batch=4, workers=n)) for n in (0, 2))
    for epoch in (1, 2):
        for (x, cells), (y, same) in zip(alone.epoch(epoch, np.arange(12)), helped.epoch(epoch, np.arange(12)), strict=True):
            np.testing.assert_array_equal(x, y)
            np.testing.assert_array_equal(cells, same)
