"""Deep features: what ResNet50 makes of a crop before its classifier, averaged over the map (He et al., CVPR 2016)."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from classification.networks import Network, find_weights, load_weights
from classification.networks.backbones import BACKBONES
from classification.steps import choose_device, predict_logits
from smear.types import Image

ARCHITECTURE = "resnet50"
FAMILY = f"deep_{ARCHITECTURE}"
N_FEATURES = BACKBONES[ARCHITECTURE].channels
MIN_PX = BACKBONES[ARCHITECTURE].min_px
SEED = 0  # of random weights: the same features for every fold, so that they are computed once
NO_WEIGHTS = f"{FAMILY}: random weights, not ImageNet's"


@dataclass(frozen=True)
class Extractor:
    """A network that ends in its features; digest: SHA-256 of its weights."""

    network: Network
    pretrained: bool
    digest: str

    def __call__(self, crops: Image, device: str) -> NDArray[np.float32]:
        """(N, S, S, 3) uint8, N ≥ 1, S ≥ `MIN_PX` → (N, 2048)."""
        where = choose_device(device)
        return predict_logits(self.network.to(where, memory_format=torch.channels_last), crops, "imagenet", where, torch.float32)

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def n_bytes(self) -> int:
        """Of `weights`, but for its header."""
        return sum(tensor.numel() * tensor.element_size() for tensor in _state(self.network).values())

    def weights(self) -> bytes:
        """A safetensors file that `open_extractor` takes."""
        return save(_state(self.network))


def open_extractor(weights: str) -> Extractor:
    """ResNet50's features with `weights` as for `systems.open_system`, or a safetensors file; random ones where there are none.

    Raises:
        ModelError: the file does not fit, or a download is asked for and there is no way to it.
        ConfigError: `weights` is none of these.
    """
    path = Path(weights)
    start = weights if path.is_file() else find_weights(weights, ARCHITECTURE)[0]
    changed = Path(start).stat().st_mtime_ns if Path(start).is_file() else 0
    return _extractor(start, changed)


@lru_cache(maxsize=2)
def _extractor(start: str, changed: int) -> Extractor:
    del changed  # another file under the same name is opened again
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Network(nn.Identity(), BACKBONES[ARCHITECTURE].make(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    load_weights(network, start, architecture=ARCHITECTURE)
    network.eval().requires_grad_(False)
    digest = hashlib.sha256()
    for tensor in _state(network).values():
        digest.update(tensor.numpy().tobytes())
    return Extractor(network, start != "none", digest.hexdigest())


def _state(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
