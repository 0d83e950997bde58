"""What torchvision does not have and timm has; the only file that knows timm."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from smear.errors import MissingExtra


def legacy_xception() -> nn.Module:
    """Xception as its author published it (Chollet, CVPR 2017), before its pooling, under timm's names; random weights."""
    whole = _create("legacy_xception", pretrained=False)
    return nn.Sequential(OrderedDict((key, child) for key, child in whole.named_children() if key not in ("global_pool", "fc")))


def published_state(name: str) -> dict[str, Tensor]:
    """The weights that timm publishes for a model, downloaded once.

    Raises:
        OSError, RuntimeError: offline, or the file that came is not the one that was published.
    """
    return dict(_create(name, pretrained=True).state_dict())


def _create(name: str, *, pretrained: bool) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the network {name!r}", "timm", "papers") from error
    timm.models.set_pretrained_check_hash(True)  # a switch of its module; off, it would take whatever comes under that name
    return timm.create_model(name, pretrained=pretrained)
