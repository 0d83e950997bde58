"""New networks by the names of their parts, and the weights that they begin with."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from classification.networks.backbones import BACKBONES
from classification.networks.fronts import FRONTS
from classification.networks.heads import HEADS
from classification.networks.network import Network
from classification.networks.timm_models import published_state
from smear.errors import ConfigError, ModelError


def build(architecture: str, head: str, n_classes: int, *, front: str = "none") -> Network:
    """A new network with random weights (torch's global generator; seed it before).

    Raises:
        ConfigError: a name that is not in the tables, or a one-logit head for other than two classes.
        MissingExtra: the backbone is timm's, which is not installed.
    """
    backbone, top = _choose("model", BACKBONES, architecture), _choose("head", HEADS, head)
    if top.kind == "sigmoid" and n_classes != 2:
        raise ConfigError(f"head: {head!r} has one logit and needs two classes, got {n_classes}; use '{head}_softmax' or 'compact_net'")
    return Network(_choose("front", FRONTS, front)(), backbone.make(), top.make(backbone.channels, n_classes))


def build_blank(architecture: str, head: str, n_classes: int, *, front: str = "none") -> Network:
    """As `build`, to be filled from a file: its weights are whatever was in memory, since drawing random ones takes most of the time."""
    with _NothingDrawn():
        return build(architecture, head, n_classes, front=front)


def smallest_input(architecture: str) -> int:
    """The smallest side of a crop, pixels, of which the backbone leaves a map; raises ConfigError: there is no such backbone."""
    return int(_choose("model", BACKBONES, architecture).min_px)


def check_input(architecture: str, imgsz: int) -> None:
    """Raises ConfigError: crops of this size leave nothing after the backbone, or there is no such backbone."""
    if imgsz < smallest_input(architecture):
        raise ConfigError(f"imgsz: must be at least {smallest_input(architecture)} for {architecture!r}, got {imgsz}")


def find_weights(weights: str, architecture: str) -> tuple[str, str]:
    """What `load_weights` is to be given, and a note ("" for none): nothing to begin with is no error among many networks.

    Args:
        weights: "none", "imagenet", or a folder that may hold `<architecture>.safetensors`.

    Raises:
        ConfigError: `weights` is none of these, or there is no such backbone.
    """
    if _choose("model", BACKBONES, architecture).published is None or weights == "none":
        return "none", ""
    if weights == "imagenet":
        return "imagenet", ""
    if not Path(weights).is_dir():
        raise ConfigError(f"--weights: must be 'none', 'imagenet' or a folder of <architecture>.safetensors, got {weights!r}")
    path = Path(weights) / f"{architecture}.safetensors"
    return (str(path), "") if path.is_file() else ("none", f"random start: no {path.name} among the weights")


def load_weights(network: Network, weights: str, *, architecture: str) -> tuple[str, ...]:
    """Start from `weights`: "none" (random), "imagenet" (downloaded once by torchvision or timm) or a .safetensors file.

    The features must fit in full; they are named as ours or as the library's. A head of other shapes, or the absence of one, is left
    random.

    Returns:
        The names of the head's tensors that stayed random.

    Raises:
        ModelError: offline, not a safetensors file, or features whose names or shapes differ.
    """
    if weights == "none":
        return tuple(name for name in network.state_dict() if name.startswith("head."))
    found = _as_ours(_download(architecture) if weights == "imagenet" else _read(Path(weights)))
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


class _NothingDrawn(TorchFunctionMode):
    """Leaves a tensor as it is where it would be filled with random numbers; constants are written."""

    DRAWS = ("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_")

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in self.DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _choose(key: str, table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise ConfigError(f"{key}: must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def _as_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A library's names → ours: all that is not in `features` already is put there; what is of its classifier fits nothing."""
    old_densenet = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")
    has_features = any(name.startswith("features.") for name in state)
    return {old_densenet.sub(r"\1\2", name if has_features else f"features.{name}"): tensor for name, tensor in state.items()}


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
        if published.startswith("timm/"):
            return published_state(published.removeprefix("timm/"))
        return dict(torchvision.models.get_weight(published).get_state_dict(progress=True, check_hash=True, weights_only=True))
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"imagenet: cannot download {published} ({error}); go online once, give a .safetensors file, or use --weights none"
        ) from error
