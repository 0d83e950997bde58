"""What turns features (B, channels, h, w) into logits; the numbers are those of the papers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

OutputKind = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class Head:
    """`kind` says how many logits: "sigmoid" one of P(classes[0]), "softmax" one a class."""

    make: Callable[[int, int], nn.Module]
    kind: OutputKind


def _leukodetect(channels: int, n_classes: int) -> nn.Module:
    """Global average pooling, dropout 0.4, dense 512 ReLU, one logit: the head of the LeukoDetect paper."""
    del n_classes  # always one logit; `build` has checked that there are two classes
    return _leukodetect_softmax(channels, 1)


def _leukodetect_softmax(channels: int, n_classes: int) -> nn.Module:
    """The same for more than two classes, which the paper does not have."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels, 512), nn.ReLU(inplace=True), nn.Linear(512, n_classes)
    )


def _compact_net(channels: int, n_classes: int) -> nn.Module:
    """Global average pooling, EfficientNet-B3's own dropout 0.3, one logit a class: Compact-Net's softmax."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels, n_classes))


def _plain(channels: int, n_classes: int) -> nn.Module:
    """Global average pooling and one logit a class, where a paper says nothing of a head."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes))


def _modified_cnn(channels: int, n_classes: int) -> nn.Module:
    """Dense 128-128 ReLU on all of the last 4 × 4 map, which is what 50 px leave; other sizes are averaged to it."""
    first = nn.Linear(channels * 4 * 4, 128)
    dense = [first, nn.ReLU(inplace=True), nn.Linear(128, 128), nn.ReLU(inplace=True), nn.Linear(128, n_classes)]
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), *dense)


def _resnet50_cnn(channels: int, n_classes: int) -> nn.Module:
    """Global max pooling, batch norm (Keras' momentum 0.99 is 0.01 here), dense 256 ReLU, dropout 0.5, one logit a class.

    The regularisers of the dense layer are in the loss: `optimiser.l1` and `optimiser.l2`. The paper does not say how much is dropped.
    """
    norm = nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)
    dense = [nn.Linear(channels, 256), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(256, n_classes)]
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), norm, *dense)


HEADS: dict[str, Head] = {
    "leukodetect": Head(_leukodetect, "sigmoid"),
    "leukodetect_softmax": Head(_leukodetect_softmax, "softmax"),
    "compact_net": Head(_compact_net, "softmax"),
    "plain": Head(_plain, "softmax"),
    "modified_cnn": Head(_modified_cnn, "softmax"),
    "resnet50_cnn": Head(_resnet50_cnn, "softmax"),
}
