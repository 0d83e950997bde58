"""The small pieces of the training loop: device and precision, learning rate, loss, running average, prediction."""

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from classification.batches import to_tensor
from classification.networks import Network
from classification.pictures import Pictures
from classification.settings import Optimiser, TrainSettings
from smear.errors import ConfigError
from smear.types import Image

PREDICTION_BATCH = 128
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """ "auto" is the first CUDA device if there is one, else the CPU; or "cpu", "cuda", "cuda:1", or a bare index.

    Raises:
        ConfigError: not a device, or one that is not there.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return torch.device("cuda:0" if n_cuda else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    index = wanted.removeprefix("cuda").removeprefix(":") or "0"
    if not index.isdigit():
        raise ConfigError(f"device: must be 'auto', 'cpu', 'cuda', 'cuda:1' or an index, got {wanted!r}")
    if int(index) >= n_cuda:
        raise ConfigError(f"device: {wanted!r} is not there; torch sees {n_cuda} CUDA devices; use 'cpu' or 'auto'")
    return torch.device(f"cuda:{index}")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """ "auto" is float16 (AMP) on CUDA, bfloat16 on a CPU that has instructions for it, float32 elsewhere.

    Raises:
        ConfigError: float16 on a CPU, where training in it is neither fast nor safe.
    """
    if wanted == "auto":
        wanted = "float16" if device.type == "cuda" else "bfloat16" if _cpu_has_bfloat16() else "float32"
    if wanted == "float16" and device.type == "cpu":
        raise ConfigError("precision: float16 needs a CUDA device; use 'bfloat16', 'float32' or 'auto'")
    return _DTYPES[wanted]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    return torch.autocast(device.type, dtype=precision if precision != torch.float32 else None, enabled=precision != torch.float32)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Weights decay; biases and batch-norm scales, which have one axis, do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, settings: TrainSettings, steps_per_epoch: int) -> float:
    """Linear warm-up, then constant or half a cosine to zero at the end of the last epoch; `step` counts from 0 over the whole run."""
    warmup = settings.optimiser.warmup_epochs * steps_per_epoch
    total = settings.epochs * steps_per_epoch
    if step < warmup:
        return settings.optimiser.lr * (step + 1) / (warmup + 1)
    if settings.optimiser.schedule == "constant":
        return settings.optimiser.lr
    return settings.optimiser.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))


def cell_losses(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy of each cell, (B,) float32, from (B, 1) logits of class 0 or (B, C) logits.

    Args:
        labels: (B,) int64, or (B, C) float32 shares of the classes that sum to 1 (`classification.mixing`).
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        first = labels[:, 0] if labels.ndim == 2 else (labels == 0).float()
        target = first * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")


def make_optimiser(network: nn.Module, settings: Optimiser, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser that the settings name, over the parameters that learn."""
    groups = parameter_groups(network, settings.weight_decay)
    on_gpu = device.type == "cuda"  # fused: one launch there, and no question to the GPU whether a 16-bit gradient overflowed
    if settings.name == "adamax":  # has no fused form
        return torch.optim.Adamax(groups, lr=settings.lr)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=on_gpu)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.name]
    return kind(groups, lr=settings.lr, fused=on_gpu)


def penalty(head: nn.Module, *, l1: float, l2: float) -> Tensor:
    """l1 · Σ|w| + l2 · Σw² over the weights of the head's dense layers but the last, or of the only one; a scalar on their device."""
    dense = [layer.weight for layer in head.modules() if isinstance(layer, nn.Linear)]
    kept = dense[:-1] or dense
    return torch.stack([l1 * weight.abs().sum() + l2 * (weight * weight).sum() for weight in kept]).sum()


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], network: nn.Module, *, decay: float, step: int) -> None:
    """Move the running average of weights and statistics towards the network, in place; young averages move faster.

    In place, against the house rule: a copy of every weight at every step would cost more than the step.
    """
    kept = min(decay, (1 + step) / (10 + step))
    floats: list[tuple[Tensor, Tensor]] = []
    counts: list[tuple[Tensor, Tensor]] = []
    for name, value in network.state_dict().items():
        (floats if value.is_floating_point() else counts).append((average[name], value))
    torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - kept)  # one launch on a GPU, not 600
    for old, new in counts:
        old.copy_(new)


def with_state(network: Network, state: Mapping[str, Tensor]) -> Network:
    """A copy of the network with other weights."""
    twin = copy.deepcopy(network)
    twin.load_state_dict(dict(state))
    return twin


def predict_logits(
    network: Network, crops: Image | Pictures, normalisation: str, device: torch.device, precision: torch.dtype
) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 → (N, 1) or (N, C) float32 logits, in evaluation mode; N may not be 0."""
    network.eval()
    parts = []
    with torch.inference_mode(), autocast(device, precision):
        for i in range(0, len(crops), PREDICTION_BATCH):
            batch = to_tensor(crops[i : i + PREDICTION_BATCH], normalisation)
            parts.append(network(batch.to(device)).float().cpu().numpy())
    return np.concatenate(parts)


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX512-BF16 or AMX); emulation would be slower than float32."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public question for this
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in names)
