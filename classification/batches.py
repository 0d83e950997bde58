"""Which cells a training epoch sees, in what order, and how they become tensors; nothing depends on worker timing."""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classification.augment import build_augmentation, generator
from classification.classifier import IMAGENET_MEAN, IMAGENET_STD, NORMALISATIONS
from classification.pictures import Pictures
from classification.settings import Balance, TrainSettings
from smear.line import ahead, n_cores
from smear.types import Image

Job = tuple[int, int, int, NDArray[np.int64]]  # seed, epoch, place of the first picture in the epoch, rows
CPU = torch.device("cpu")
MOST_WORKERS = 16  # each holds an interpreter and torch, about 0.4 GB
BATCHES_BYTES = 32 << 20  # shared memory for batches on their way, at least


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
    """Augmented batches, epoch after epoch, prepared ahead while the device works on the one before.

    The picture at place i of an epoch has the generator of (seed, epoch, i), so who prepares it changes nothing. Beside a
    CPU threads do: what costs time in a picture lets go of the interpreter's lock. Beside a GPU processes do, which live as
    long as this; they are started afresh, not forked: a fork inherits the thread pools of OpenCV and torch in a state that
    can hang. Where shared memory is too small for the pictures (a container's 64 MB), threads take their place.
    """

    def __init__(self, pictures: Pictures, settings: TrainSettings, device: torch.device = CPU, *, apart: bool | None = None) -> None:
        """apart: whether processes prepare the batches, not threads; None: beside a GPU."""
        self._settings, self._device = settings, device
        self._plan: list[Job] = []
        n_workers = choose_workers(settings.workers, device)
        apart = device.type == "cuda" if apart is None else apart
        self.processes = n_workers if apart and _can_share(pictures.kept.nbytes) else 0
        self.threads = n_workers - self.processes
        self._drawn = _Drawn(pictures, settings.augment)
        self._loader = torch.utils.data.DataLoader(
            self._drawn,
            sampler=_Listed(self._plan),
            batch_size=None,
            num_workers=self.processes,
            persistent_workers=self.processes > 0,
            prefetch_factor=4 if self.processes else None,
            multiprocessing_context="spawn" if self.processes else None,
            worker_init_fn=_use_one_core,
            pin_memory=device.type == "cuda",
        )

    def epoch(self, number: int, order: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, S, S) float32 in channels_last and the (B,) int64 rows of their cells, both on the device, for the cells of `order`.

        A last batch of one cell is left out: batch normalisation has nothing to average there.
        """
        size, seed = self._settings.batch, self._settings.seed
        starts = [i for i in range(0, len(order), size) if i == 0 or len(order) - i > 1]
        self._plan[:] = [(seed, number, i, order[i : i + size]) for i in starts]
        prepared = map(self._onto_device, self._loader) if self.processes else ahead(self._prepare, self._plan, threads=self.threads)
        with _one_core_each(self.threads):
            for pictures, (_, _, _, cells) in zip(prepared, self._plan, strict=True):
                yield pictures, torch.from_numpy(cells).to(self._device, non_blocking=True)

    def _prepare(self, job: Job) -> Tensor:
        pictures = self._drawn[job]
        return self._onto_device(pictures.pin_memory() if self._device.type == "cuda" else pictures)

    def _onto_device(self, pictures: Tensor) -> Tensor:
        if self._device.type == "cpu":
            return to_tensor(pictures.numpy(), self._settings.normalise)
        return normalise_there(pictures.to(self._device, non_blocking=True), self._settings.normalise)


def choose_workers(wanted: int | Literal["auto"], device: torch.device) -> int:
    """ "auto": one thread beside a CPU, whose cores are busy with the network; beside a GPU a process a core but one, at most 16."""
    if wanted != "auto":
        return wanted
    return 1 if device.type == "cpu" else max(1, min(MOST_WORKERS, n_cores() - 1))


def _capped(weights: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """Mean 1 and none above `cap`; cutting lowers the mean, hence the rounds."""
    weights = weights / weights.mean()
    while weights.max() > cap * (1 + 1e-6):
        weights = np.minimum(weights, cap)
        weights = weights / weights.mean()
    return weights


def to_tensor(crops: Image, normalisation: str) -> Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float32, channels_last; the values of `classifier.normalise`."""
    return torch.from_numpy(NORMALISATIONS[normalisation](crops.astype(np.float32))).permute(0, 3, 1, 2)


def normalise_there(crops: Tensor, normalisation: str) -> Tensor:
    """`to_tensor` on the device of the (B, S, S, 3) uint8 crops, equal but for rounding: a quarter of the bytes travels to it."""
    pixels = crops.float().permute(0, 3, 1, 2)
    if normalisation == "minmax":
        low, high = pixels.amin(dim=(1, 2, 3), keepdim=True), pixels.amax(dim=(1, 2, 3), keepdim=True)
        return (pixels - low) / (high - low).clamp(min=1)
    pixels = pixels / 255
    if normalisation == "unit":
        return pixels
    mean, std = (torch.from_numpy(values).to(crops.device, non_blocking=True)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


class _Listed(torch.utils.data.Sampler):
    """The jobs of the current epoch; the list is refilled for each."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


class _Drawn(torch.utils.data.Dataset):
    """Job → augmented pictures (B, S, S, 3) uint8; any thread or process may ask."""

    def __init__(self, pictures: Pictures, steps: Sequence[Mapping[str, Any]]) -> None:
        self._kept = torch.from_numpy(pictures.kept)  # as a tensor it is shared with the processes, not copied to them
        self._pictures, self._steps = replace(pictures, kept=pictures.kept[:0]), steps
        self._of_thread = threading.local()

    def __getitem__(self, job: Job) -> Tensor:
        augment = getattr(self._of_thread, "augment", None)
        if augment is None:  # it keeps random states of its own, and not everything in it can be sent to a process
            augment = self._of_thread.augment = build_augmentation(self._steps)
        seed, epoch, first, cells = job
        images = replace(self._pictures, kept=self._kept.numpy())[cells]
        return torch.from_numpy(np.stack([augment(generator(seed, epoch, first + i), image) for i, image in enumerate(images)]))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _of_thread=threading.local())


@contextmanager
def _one_core_each(n_threads: int) -> Iterator[None]:
    """While threads of ours prepare pictures, OpenCV does not start more of its own; pictures do not depend on it."""
    before = cv2.getNumThreads()
    if n_threads:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _use_one_core(_worker: int) -> None:
    cv2.setNumThreads(1)


def _can_share(n_bytes: int) -> bool:
    """Whether shared memory, where it is a folder, holds the pictures and as much again for the batches on their way."""
    try:
        return shutil.disk_usage("/dev/shm").free >= 2 * n_bytes + BATCHES_BYTES
    except OSError:
        return True
