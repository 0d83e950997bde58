"""Which cells a training epoch sees, in what order, and how they become tensors; nothing depends on worker timing."""

import multiprocessing
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from classification.augment import Step, generator
from classification.classifier import normalise
from classification.settings import Balance, TrainSettings
from smear.types import Image


def sample_weights(labels: NDArray[np.int64], stains: NDArray[np.str_], balance: Balance) -> NDArray[np.float64]:
    """How much each training cell counts, (N,), mean 1; made from the training split alone.

    "class": every class weighs the same. "class_stain": every (stain, class) cell of the table weighs the same, then
    the classes are made equal by one factor each; in a stain that has both classes they have the same share as
    everywhere, so the stain carries no news. A stain with one class cannot be balanced, and the cap keeps a small
    group from being repeated without end.
    """
    if balance.by == "none" or not len(labels):
        return np.ones(len(labels))
    weights = np.ones(len(labels))
    if balance.by == "class_stain":
        stain = np.unique(stains, return_inverse=True)[1]
        _, group, n_cells = np.unique(stain * (labels.max() + 1) + labels, return_inverse=True, return_counts=True)
        weights = 1 / n_cells[group]
        weights = np.minimum(weights / weights.mean(), balance.cap)
    classes, which = np.unique(labels, return_inverse=True)
    total = np.bincount(which, weights=weights)
    weights = weights * (total.sum() / (len(classes) * total))[which]
    weights = np.minimum(weights / weights.mean(), balance.cap)
    return weights / weights.mean()


def epoch_order(weights: NDArray[np.float64], size: int, *, balance: Balance, seed: int, epoch: int) -> NDArray[np.int64]:
    """The cells of one epoch, (size,) indices: drawn by weight with a sampler, else shuffled (and repeated when `size` is more)."""
    rng = np.random.default_rng((seed, epoch))
    if balance.how == "sampler" and balance.by != "none":
        return rng.choice(len(weights), size=size, replace=True, p=weights / weights.sum())
    rounds = -(-size // len(weights))
    return np.concatenate([rng.permutation(len(weights)) for _ in range(rounds)])[:size]


def training_batches(
    images: Image, order: NDArray[np.int64], *, augment: Step, epoch: int, settings: TrainSettings
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Augmented batches of one epoch: (B, 3, S, S) float32 in channels_last, and the (B,) int64 rows of their cells.

    The picture at place i of the epoch has the generator of (seed, epoch, i). A last batch of one cell is left out:
    batch normalisation has nothing to average there.
    """
    starts = [i for i in range(0, len(order), settings.batch) if i == 0 or len(order) - i > 1]
    drawn = _Drawn(images, [order[i : i + settings.batch] for i in starts], starts, augment, (settings.seed, epoch))
    for number, pictures in enumerate(_drawn_ahead(drawn, settings.workers)):
        yield to_tensor(pictures, settings.normalise), torch.from_numpy(drawn.batches[number])


def to_tensor(crops: Image, normalisation: str) -> torch.Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float32, channels_last."""
    return torch.from_numpy(normalise(crops, normalisation)).contiguous(memory_format=torch.channels_last)


class _Drawn(torch.utils.data.Dataset):
    """Batch number → augmented pictures (B, S, S, 3) uint8."""

    def __init__(self, images: Image, batches: list[NDArray[np.int64]], starts: list[int], augment: Step, seeds: tuple[int, int]) -> None:
        self.images, self.batches, self.starts, self.augment, self.seeds = images, batches, starts, augment, seeds

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Image:
        first, cells = self.starts[number], self.batches[number]
        return np.stack([self.augment(generator(*self.seeds, first + i), self.images[cell]) for i, cell in enumerate(cells)])


def _drawn_ahead(drawn: _Drawn, workers: int) -> Iterator[Image]:
    if workers == 0:
        yield from (drawn[number] for number in range(len(drawn)))
        return
    # fork shares the pictures in memory; elsewhere every worker would get a copy, which is right but slow
    context = multiprocessing.get_context("fork") if sys.platform == "linux" else None
    yield from torch.utils.data.DataLoader(
        drawn,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context=context,
        collate_fn=_as_is,
        worker_init_fn=_one_thread,
    )


def _as_is(pictures: Image) -> Image:
    return pictures


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
