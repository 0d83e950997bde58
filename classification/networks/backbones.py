"""The feature extractors: torchvision's, timm's Xception, and three that are small enough to be written here."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torchvision
from torch import nn

from classification.networks.timm_models import legacy_xception


@dataclass(frozen=True)
class Backbone:
    """How to make a feature extractor (B, 3, S, S) → (B, channels, h, w), and what its library calls its ImageNet weights.

    min_px: the smallest S of which a map is left. published: a name of torchvision's weights, or "timm/…" ; None: there are none.
    """

    make: Callable[[], nn.Module]
    channels: int
    published: str | None
    min_px: int = 32


def _features_of(name: str) -> nn.Module:
    """The `features` of a torchvision model, with random weights."""
    return torchvision.models.get_model(name, weights=None).features


def _densenet121() -> nn.Module:
    features = _features_of("densenet121")
    features.add_module("relu5", nn.ReLU(inplace=True))  # torchvision applies it in forward, outside `features`
    return features


def _vgg(layers: str) -> nn.Module:
    """A VGG's convolutions alone, begun as torchvision begins them; its 120 million dense weights would cost a second to draw."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[layers])
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return features


def _resnet(name: str) -> nn.Module:
    """All of a residual network before its pooling, under torchvision's names."""
    whole = torchvision.models.get_model(name, weights=None)
    return nn.Sequential(OrderedDict((key, child) for key, child in whole.named_children() if key not in ("avgpool", "fc")))


def _norm_block(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]


def _tiny() -> nn.Module:
    """Three convolutions for tests and smoke runs, where a real backbone costs minutes; not meant to be good."""
    return nn.Sequential(*_norm_block(3, 8), *_norm_block(8, 16), *_norm_block(16, 32))


def _convolutions(channels: tuple[int, ...], *, padding: int) -> nn.Module:
    """3 × 3 convolution, ReLU and 2 × 2 max-pooling for each number of channels."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


BACKBONES: dict[str, Backbone] = {
    "densenet121": Backbone(_densenet121, 1024, "DenseNet121_Weights.IMAGENET1K_V1"),
    "mobilenet_v2": Backbone(partial(_features_of, "mobilenet_v2"), 1280, "MobileNet_V2_Weights.IMAGENET1K_V1"),
    "resnet18": Backbone(partial(_resnet, "resnet18"), 512, "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet50": Backbone(partial(_resnet, "resnet50"), 2048, "ResNet50_Weights.IMAGENET1K_V1"),
    "vgg16": Backbone(partial(_vgg, "D"), 512, "VGG16_Weights.IMAGENET1K_V1"),
    "vgg19": Backbone(partial(_vgg, "E"), 512, "VGG19_Weights.IMAGENET1K_V1"),
    "alexnet": Backbone(partial(_features_of, "alexnet"), 256, "AlexNet_Weights.IMAGENET1K_V1", min_px=63),
    "efficientnet_b0": Backbone(partial(_features_of, "efficientnet_b0"), 1280, "EfficientNet_B0_Weights.IMAGENET1K_V1"),
    "efficientnet_b2": Backbone(partial(_features_of, "efficientnet_b2"), 1408, "EfficientNet_B2_Weights.IMAGENET1K_V1"),
    "efficientnet_b3": Backbone(partial(_features_of, "efficientnet_b3"), 1536, "EfficientNet_B3_Weights.IMAGENET1K_V1"),
    "xception": Backbone(legacy_xception, 2048, "timm/legacy_xception"),
    "plain_cnn": Backbone(partial(_convolutions, (32, 64, 128, 256), padding=1), 256, None, min_px=16),
    "modified_cnn": Backbone(partial(_convolutions, (32, 64, 64), padding=0), 64, None, min_px=22),
    "tiny": Backbone(_tiny, 32, None, min_px=16),
}
