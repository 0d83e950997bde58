"""MixUp and CutMix: two crops of a batch in one, and a label that says how much of each."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from classification.settings import Mix, TrainSettings

Batch = tuple[Tensor, Tensor, Tensor]


def mix_batch(pictures: Tensor, labels: Tensor, weights: Tensor, settings: TrainSettings, *, number: int) -> Batch:
    """A batch as it is, or every crop mixed with another of the batch; it follows from the seed and the step's number alone.

    Args:
        pictures: (B, 3, S, S) float32.
        labels, weights: (B,) int64 and float32.
        number: of the step, from 0 over the whole run.

    Returns:
        Pictures as above, labels (B,) int64 as given or (B, C) float32 that sum to 1, and weights (B,), mixed alike.
    """
    how = settings.mix
    rng = np.random.default_rng((settings.seed, 0x313, number))  # a stream of its own beside those of augmentation
    kind = choose_kind(how, rng)
    if kind is None:
        return pictures, labels, weights
    share = float(rng.beta(*(getattr(how, kind),) * 2))
    other = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    if kind == "cutmix":
        pictures, share = paste(pictures, pictures[other], share, rng)
    else:
        pictures = share * pictures + (1 - share) * pictures[other]
    kinds = functional.one_hot(labels, len(settings.classes)).float()
    return pictures, share * kinds + (1 - share) * kinds[other], share * weights + (1 - share) * weights[other]


def choose_kind(how: Mix, rng: np.random.Generator) -> str | None:
    """ "mixup" or "cutmix", each as often as the other if both are on; None: this batch stays as it is."""
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(how, kind) > 0]
    if not kinds or rng.random() >= how.p:
        return None
    return kinds[int(rng.integers(len(kinds)))]


def paste(pictures: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """A rectangle of (1 - share) of the area comes from `others`; what the edge cuts off is given back in the returned share.

    Source: Yun et al., CutMix (ICCV 2019), equation 2 and algorithm 1.
    """
    height, width = pictures.shape[2:]
    side = math.sqrt(1 - share)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    tall, wide = int(height * side), int(width * side)
    y0, y1 = max(0, y - tall // 2), min(height, y + (tall + 1) // 2)
    x0, x1 = max(0, x - wide // 2), min(width, x + (wide + 1) // 2)
    mixed = pictures.clone()
    mixed[:, :, y0:y1, x0:x1] = others[:, :, y0:y1, x0:x1]
    return mixed, 1 - (y1 - y0) * (x1 - x0) / (height * width)
