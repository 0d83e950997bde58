"""Two ways to train the same classifier on the same crops: the loop that people write, and the parts of ours."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from classification.augment import Step, build_augmentation, generator
from classification.batches import Batches
from classification.classifier import IMAGENET_MEAN, IMAGENET_STD
from classification.learner import Learner
from classification.networks import build
from classification.pictures import Pictures
from classification.settings import TrainSettings
from classification.steps import learning_rate, parameter_groups
from datasets.paint.camera import photograph
from datasets.paint.clutter import paint_plasma
from datasets.paint.shapes import Spot
from datasets.paint.style import draw_style
from datasets.paint.white import HEM_SHARES, KINDS, paint_white
from smear.types import Image
from smear.watch import Watch

WIDTH = 3.0  # of a crop in red cells, as the shipped classifier sees them
HIDING = 0.9  # how much of the plasma below a white cell is lost
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Crops:
    """N painted crops: images (N, S, S, 3) uint8 RGB, labels (N,) int64, 0 for ALL and 1 for HEM."""

    images: Image
    labels: NDArray[np.int64]


def paint_crops(n: int, *, px: int, seed: int) -> Crops:
    """n white cells, every second one a blast, each on a slide of its own, with nothing but plasma around it."""
    made = [_paint_crop(np.random.default_rng((seed, i)), "blast" if i % 2 == 0 else "", px) for i in range(n)]
    return Crops(np.stack(made), np.arange(n) % 2)


def _paint_crop(rng: np.random.Generator, kind: str, px: int) -> Image:
    style, rbc_px = draw_style(rng), px / WIDTH
    kind = kind or str(rng.choice(list(HEM_SHARES), p=list(HEM_SHARES.values())))
    patch = paint_white(rng, style, KINDS[kind], Spot(KINDS[kind].diameter[0] * rbc_px, rbc_px))
    density = paint_plasma(rng, style, (px, px), rbc_px)
    h, w = patch.cover.shape
    top, left = (px - h) // 2, (px - w) // 2  # negative where the cell is larger than the crop
    window = (slice(max(top, 0), top + h), slice(max(left, 0), left + w))
    shown = (slice(max(-top, 0), px - top), slice(max(-left, 0), px - left))
    density[window] = density[window] * (1 - HIDING * patch.cover[shown][..., None]) + patch.density[shown]
    return photograph(rng, style, density, zoom=1, rbc_px=rbc_px)


@dataclass(frozen=True)
class Ran:
    """The loss of each step, and `images_per_s` and `waiting_share`."""

    losses: list[float]
    pace: dict[str, float]


class PlainLoop:
    """What people write, with the recipe of ours: a DataLoader of decoded pictures, float32, NCHW, the loss asked for at each step."""

    def __init__(self, crops: Crops, settings: TrainSettings, *, n_steps: int, workers: int = 0) -> None:
        torch.manual_seed(settings.seed)
        self.network = build(settings.model, settings.head, len(settings.classes), front=settings.front).train()
        self.optimiser = torch.optim.AdamW(parameter_groups(self.network, settings.optimiser.weight_decay))
        schedule = partial(learning_rate, settings=settings, steps_per_epoch=n_steps)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: schedule(step) / settings.optimiser.lr)
        self.settings, self.data, self.n_epochs = settings, _Augmented(crops, settings), 0
        self.order: list[tuple[int, int, int]] = []
        how: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
        self.loader = DataLoader(
            self.data, batch_size=settings.batch, sampler=_Listed(self.order), num_workers=workers, **how, generator=torch.Generator()
        )

    def run(self, order: NDArray[np.int64]) -> Ran:
        """Learn from the crops of `order`, each drawn anew."""
        self.n_epochs += 1
        torch.manual_seed(self.settings.seed * 100_003 + self.n_epochs)  # dropout
        self.order[:] = [(self.n_epochs, place, int(cell)) for place, cell in enumerate(order)]
        watch, losses = Watch(), []
        for pictures, labels in watch.items(self.loader):
            logits = self.network(pictures)[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, (labels == 0).float())
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.optimiser.clip_norm)
            self.optimiser.step()
            self.scheduler.step()
            losses.append(loss.item())
        return Ran(losses, watch.pace(len(order)))


class OurLoop:
    """The parts that `classification.train` is made of, in its order; only validation and checkpoints are missing."""

    def __init__(self, crops: Crops, settings: TrainSettings, *, n_steps: int, device: torch.device = CPU) -> None:
        torch.manual_seed(settings.seed)
        network = build(settings.model, settings.head, len(settings.classes), front=settings.front).train()
        self.learner = Learner.of(network, settings, device)
        self.batches = Batches(Pictures.of(crops.images), settings, device)
        self.labels = torch.from_numpy(crops.labels).to(device)
        self.n_steps, self.n_epochs, self.number = n_steps, 0, 0

    def run(self, order: NDArray[np.int64]) -> Ran:
        """Learn from the crops of `order`, each drawn anew."""
        self.n_epochs += 1
        torch.manual_seed(self.learner.settings.seed * 100_003 + self.n_epochs)  # dropout
        watch, losses = Watch(), []
        weights = torch.ones(self.learner.settings.batch, device=self.labels.device)
        for pictures, cells in watch.items(self.batches.epoch(self.n_epochs, order)):
            one = weights[: len(cells)]
            losses.append(self.learner.step(pictures, self.labels[cells], one, number=self.number, n_steps=self.n_steps))
            self.number += 1
        return Ran(torch.stack(losses).tolist(), watch.pace(len(order)))


class _Augmented(Dataset):
    """(epoch, place, cell) → (3, S, S) float32 and its label: the very pictures that `Batches` makes."""

    def __init__(self, crops: Crops, settings: TrainSettings) -> None:
        self.crops, self.settings = crops, settings

    @cached_property
    def augment(self) -> Step:
        return build_augmentation(self.settings.augment)

    def __getitem__(self, which: tuple[int, int, int]) -> tuple[torch.Tensor, int]:
        epoch, place, cell = which
        picture = self.augment(generator(self.settings.seed, epoch, place), self.crops.images[cell])
        pixels = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        return (pixels - _MEAN) / _STD, int(self.crops.labels[cell])


class _Listed(Sampler):
    """What the list holds when an epoch begins."""

    def __init__(self, order: list[tuple[int, int, int]]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


_MEAN, _STD = (torch.from_numpy(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
