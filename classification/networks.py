"""Every network that can label a cell: a table of backbones, a table of heads, an optional front against stain."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from smear.errors import ConfigError, ModelError

MIN_INPUT_PX = 64  # five halvings leave 2 × 2; less leaves nothing to average

OutputKind = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class Backbone:
    """How to make a feature extractor (B, 3, S, S) → (B, channels, S / 32, S / 32), and torchvision's name of its weights."""

    make: Callable[[], nn.Module]
    channels: int
    published: str | None


@dataclass(frozen=True)
class Head:
    """What turns features into logits; `kind` says how many: "sigmoid" one of P(classes[0]), "softmax" one a class."""

    make: Callable[[int, int], nn.Module]
    kind: OutputKind


class Network(nn.Module):
    """front → features → head; (B, 3, S, S) float, normalised, S ≥ 64 → (B, 1) or (B, C) logits.

    The names of `features` are torchvision's own, so its published weights fit without translation.
    """

    def __init__(self, front: nn.Module, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.front, self.features, self.head = front, features, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.front(x)))


class GreyFront(nn.Module):
    """Throws colour away: the mean of the channels, three times."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


class StandardFront(nn.Module):
    """Every channel of every image to mean 0 and deviation 1: gains and offsets of stain and lamp cannot speak."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        centred = x - mean
        deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt()
        return centred / (deviation + 0.05)  # the floor, about 13 grey levels / 255, keeps a blank crop blank


def build(architecture: str, head: str, n_classes: int, *, front: str = "none") -> Network:
    """A new network with random weights (torch's global generator; seed it before).

    Raises:
        ConfigError: a name that is not in the tables, or a one-logit head for other than two classes.
    """
    backbone, top = _choose("model", BACKBONES, architecture), _choose("head", HEADS, head)
    if top.kind == "sigmoid" and n_classes != 2:
        raise ConfigError(f"head: {head!r} has one logit and needs two classes, got {n_classes}; use 'compact_net'")
    return Network(_choose("front", FRONTS, front)(), backbone.make(), top.make(backbone.channels, n_classes))


def load_weights(network: Network, weights: str, *, architecture: str) -> tuple[str, ...]:
    """Start from `weights`: "none" (random), "imagenet" (downloaded once by torchvision) or a .safetensors file.

    The features must fit in full. A head of other shapes, or the absence of one, is left random.

    Returns:
        The names of the head's tensors that stayed random.

    Raises:
        ModelError: offline, not a safetensors file, or features whose names or shapes differ.
    """
    if weights == "none":
        return tuple(name for name in network.state_dict() if name.startswith("head."))
    found = _download(architecture) if weights == "imagenet" else _read(Path(weights))
    wanted = network.state_dict()
    misfits = [n for n, v in wanted.items() if n.startswith("features.") and (n not in found or found[n].shape != v.shape)]
    if misfits:
        name = misfits[0]
        came = list(found[name].shape) if name in found else "no such tensor"
        raise ModelError(
            f"{weights}: does not fit {architecture}: {name} must be {list(wanted[name].shape)}, got {came} ({len(misfits)} tensors differ)"
        )
    fitting = {n: found[n] for n, v in wanted.items() if n in found and found[n].shape == v.shape}
    network.load_state_dict({**wanted, **fitting})
    return tuple(n for n in wanted if n not in fitting)


def _choose(key: str, table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise ConfigError(f"{key}: must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: weights must be 'none', 'imagenet' or a .safetensors file; other formats can run code when opened")
    try:
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from error


def _download(architecture: str) -> dict[str, Tensor]:
    published = BACKBONES[architecture].published
    if published is None:
        raise ModelError(f"imagenet: there are no published weights of {architecture!r}; use 'none' or a .safetensors file")
    try:
        state = torchvision.models.get_weight(published).get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"imagenet: cannot download {published} ({error}); go online once, give a .safetensors file, or use --weights none"
        ) from error
    old_densenet = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")
    return {old_densenet.sub(r"\1\2", name): tensor for name, tensor in state.items()}


def _densenet121() -> nn.Module:
    features = torchvision.models.densenet121(weights=None).features
    features.add_module("relu5", nn.ReLU(inplace=True))  # torchvision applies it in forward, outside `features`
    return features


def _efficientnet_b3() -> nn.Module:
    return torchvision.models.efficientnet_b3(weights=None).features


def _tiny() -> nn.Module:
    """Three convolutions for tests and smoke runs, where a real backbone costs minutes; not meant to be good."""

    def block(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]

    return nn.Sequential(*block(3, 8), *block(8, 16), *block(16, 32))


def _leukodetect(channels: int, n_classes: int) -> nn.Module:
    """Global average pooling, dropout 0.4, dense 512 ReLU, one logit: the head of the LeukoDetect paper."""
    del n_classes  # always one logit; `build` has checked that there are two classes
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels, 512), nn.ReLU(inplace=True), nn.Linear(512, 1)
    )


def _compact_net(channels: int, n_classes: int) -> nn.Module:
    """Global average pooling, EfficientNet-B3's own dropout 0.3, one logit a class: Compact-Net's softmax."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels, n_classes))


BACKBONES: dict[str, Backbone] = {
    "densenet121": Backbone(_densenet121, 1024, "DenseNet121_Weights.IMAGENET1K_V1"),
    "efficientnet_b3": Backbone(_efficientnet_b3, 1536, "EfficientNet_B3_Weights.IMAGENET1K_V1"),
    "tiny": Backbone(_tiny, 32, None),
}
HEADS: dict[str, Head] = {"leukodetect": Head(_leukodetect, "sigmoid"), "compact_net": Head(_compact_net, "softmax")}
FRONTS: dict[str, Callable[[], nn.Module]] = {"none": nn.Identity, "grey": GreyFront, "standard": StandardFront}
