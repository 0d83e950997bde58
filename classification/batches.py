"""Which cells a training epoch sees, in what order, and how they become tensors; nothing depends on worker timing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classification.augment import Step, build_augmentation, generator
from classification.classifier import normalise
from classification.settings import Balance, TrainSettings
from smear.types import Image

Job = tuple[int, int, int, NDArray[np.int64]]  # seed, epoch, place of the first picture in the epoch, rows


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
        weights = _capped(weights, balance.cap)
    classes, which = np.unique(labels, return_inverse=True)
    total = np.bincount(which, weights=weights)
    weights = weights * (total.sum() / (len(classes) * total))[which]
    return _capped(weights, balance.cap)


def epoch_order(weights: NDArray[np.float64], size: int, *, balance: Balance, seed: int, epoch: int) -> NDArray[np.int64]:
    """The cells of one epoch, (size,) indices: drawn by weight with a sampler, else shuffled (and repeated when `size` is more)."""
    rng = np.random.default_rng((seed, epoch))
    if balance.how == "sampler" and balance.by != "none":
        return rng.choice(len(weights), size=size, replace=True, p=weights / weights.sum())
    rounds = -(-size // len(weights))
    return np.concatenate([rng.permutation(len(weights)) for _ in range(rounds)])[:size]


class Batches:
    """Augmented batches, epoch after epoch, drawn ahead by worker processes that live as long as this does.

    The picture at place i of an epoch has the generator of (seed, epoch, i), so the number of workers changes nothing.
    Workers are started afresh, not forked: a fork inherits the thread pools of OpenCV and torch in a state that can hang.
    """

    def __init__(self, images: Image, settings: TrainSettings) -> None:
        """images: (N, S, S, 3) uint8, shared with the workers, not copied."""
        self._settings = settings
        self._plan: list[Job] = []
        workers = settings.workers
        self._loader = torch.utils.data.DataLoader(
            _Drawn(torch.from_numpy(images), settings.augment),
            sampler=_Listed(self._plan),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            multiprocessing_context="spawn" if workers else None,
        )

    def epoch(self, number: int, order: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(B, 3, S, S) float32 in channels_last, and the (B,) int64 rows of their cells, for the cells of `order`.

        A last batch of one cell is left out: batch normalisation has nothing to average there.
        """
        size, seed = self._settings.batch, self._settings.seed
        starts = [i for i in range(0, len(order), size) if i == 0 or len(order) - i > 1]
        self._plan[:] = [(seed, number, i, order[i : i + size]) for i in starts]
        for pictures, (_, _, _, cells) in zip(self._loader, self._plan, strict=True):
            yield to_tensor(pictures.numpy(), self._settings.normalise), torch.from_numpy(cells)


def _capped(weights: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """Mean 1 and none above `cap`; cutting lowers the mean, hence the rounds."""
    weights = weights / weights.mean()
    while weights.max() > cap * (1 + 1e-6):
        weights = np.minimum(weights, cap)
        weights = weights / weights.mean()
    return weights


def to_tensor(crops: Image, normalisation: str) -> torch.Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float32, channels_last."""
    return torch.from_numpy(normalise(crops, normalisation)).contiguous(memory_format=torch.channels_last)


class _Listed(torch.utils.data.Sampler):
    """The jobs of the current epoch; the list is refilled for each."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


class _Drawn(torch.utils.data.Dataset):
    """Job → augmented pictures (B, S, S, 3) uint8."""

    def __init__(self, images: torch.Tensor, steps: Sequence[Mapping[str, Any]]) -> None:
        self.images, self.steps = images, steps
        self._augment: Step | None = None

    def __getitem__(self, job: Job) -> torch.Tensor:
        if self._augment is None:  # built in the worker: not everything in it can be sent there
            self._augment = build_augmentation(self.steps)
        seed, epoch, first, cells = job
        images, augment = self.images.numpy(), self._augment
        return torch.from_numpy(np.stack([augment(generator(seed, epoch, first + i), images[cell]) for i, cell in enumerate(cells)]))
