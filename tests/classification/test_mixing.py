"""MixUp and CutMix: labels are shares that sum to 1 and say how much of each crop is there; the seed decides all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from classification.mixing import choose_kind, mix_batch, paste
from classification.settings import Mix, TrainSettings
from classification.steps import cell_losses
from classification.train import train

CLASSES = ("a", "b", "c")


def settings(**mix: float) -> TrainSettings:
    return TrainSettings(classes=CLASSES, head="plain", mix=Mix(**mix), seed=3)


def coded(n: int, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops of one value each, 0, 1, 2, …, their labels and weights."""
    values = torch.arange(n, dtype=torch.float32)
    return values.view(n, 1, 1, 1).expand(n, 3, side, side).contiguous(), torch.arange(n) % 3, 1 + values


def test_nothing_is_mixed_unless_asked_for() -> None:
    given_batch = coded(4, 8)
    for how in (settings(), settings(mixup=1.0, p=0.0)):
        for before, after in zip(given_batch, mix_batch(*given_batch, how, number=0), strict=True):
            assert before is after


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_label_says_how_much_of_each_crop_is_there(kind: str) -> None:
    """Every cell is of a class of its own and of a value of its own, so the picture can be read."""
    n, side = 3, 16
    pictures, labels, weights = coded(n, side)
    for number in range(40):
        mixed, shares, weighed = mix_batch(pictures, labels, weights, settings(**{kind: 1.0}), number=number)
        assert shares.shape == (n, 3)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(n))
        expected = (shares * torch.arange(3.0)).sum(dim=1)  # of the value that a crop has on average
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(weighed, 1 + expected)
        if kind == "cutmix":
            assert set(mixed.unique().tolist()) <= {0.0, 1.0, 2.0}


@given(share=st.floats(0, 1), seed=st.integers(0, 1000), height=st.integers(1, 33), width=st.integers(1, 33))
def test_the_share_of_cutmix_is_the_area_that_is_left(share: float, seed: int, height: int, width: int) -> None:
    ones, zeros = torch.ones(2, 3, height, width), torch.zeros(2, 3, height, width)
    mixed, left = paste(ones, zeros, share, np.random.default_rng(seed))
    assert left == pytest.approx(mixed.mean().item(), abs=1e-5)
    assert left >= share - 1e-9  # what the edge cuts off, and rounding down, only leave more
    assert (ones == 1).all()


def test_the_step_and_the_seed_decide_and_nothing_else() -> None:
    batch = coded(8, 8)
    how = settings(mixup=0.5, cutmix=1.0)
    for one, two in zip(mix_batch(*batch, how, number=5), mix_batch(*batch, how, number=5), strict=True):
        assert torch.equal(one, two)
    others = [mix_batch(*batch, changed, number=n)[1] for changed, n in ((how, 6), (how.model_copy(update={"seed": 4}), 5))]
    assert all(not torch.equal(mix_batch(*batch, how, number=5)[1], other) for other in others)


def test_of_two_kinds_each_is_drawn_as_often_and_p_says_how_often_at_all() -> None:
    drawn = [choose_kind(Mix(mixup=1, cutmix=1, p=0.5), np.random.default_rng(i)) for i in range(2000)]
    for kind, expected in ((None, 0.5), ("mixup", 0.25), ("cutmix", 0.25)):
        assert drawn.count(kind) / 2000 == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("n_logits", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_of_one_class_lose_what_the_label_loses(n_logits: int, smoothing: float) -> None:
    logits, labels = torch.randn(6, n_logits, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 1, 0])
    by_share = cell_losses(logits, functional.one_hot(labels, 2).float(), smoothing=smoothing)
    torch.testing.assert_close(by_share, cell_losses(logits, labels, smoothing=smoothing))


@pytest.mark.parametrize("n_logits", [1, 2])
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(n_logits: int) -> None:
    logits = torch.randn(5, n_logits, generator=torch.Generator().manual_seed(1))
    first, second = (cell_losses(logits, torch.full((5,), label), smoothing=0) for label in (0, 1))
    mixed = cell_losses(logits, torch.tensor([[0.3, 0.7]]).expand(5, 2), smoothing=0)
    torch.testing.assert_close(mixed, 0.3 * first + 0.7 * second)


@pytest.mark.usefixtures("no_export")
def test_a_training_with_mixed_crops_learns(smoke: Callable, table: Path, tmp_path: Path) -> None:
    done = train(smoke(epochs=10, mix={"mixup": 0.2, "cutmix": 1.0, "p": 0.7}), [table], tmp_path / "out")
    assert done.card.metrics["validation"]["roc_auc"] > 0.9
