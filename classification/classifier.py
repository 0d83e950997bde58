"""Labels crops with a bundle: uint8 crops in, calibrated probabilities out, over any runtime."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.probabilities import to_probabilities
from smear.errors import ModelError
from smear.models import Bundle, ModelCard, open_bundle
from smear.runtimes import open_runtime
from smear.types import Image, Pixels, Runtime

# Means and deviations of ImageNet's training images, RGB in [0, 1]; torchvision's published weights expect them.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


def _unit(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    return crops / np.float32(255)


def _imagenet(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    return (crops / np.float32(255) - IMAGENET_MEAN) / IMAGENET_STD


def _minmax(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = crops.min(axis=(1, 2, 3), keepdims=True), crops.max(axis=(1, 2, 3), keepdims=True)
    return (crops - low) / np.maximum(high - low, np.float32(1))  # an even crop becomes 0


NORMALISATIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {"unit": _unit, "imagenet": _imagenet, "minmax": _minmax}


# The same as one subtraction and one division a channel, which a runtime may do itself; "minmax" looks at each crop as a whole.
PIXELS: dict[str, Pixels] = {
    "unit": Pixels(),
    "imagenet": Pixels(tuple((IMAGENET_MEAN * 255).tolist()), tuple((IMAGENET_STD * 255).tolist())),
}


def normalise(crops: Image, kind: str) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 → (N, 3, S, S) float32, as `ModelCard.normalise` says; training and use share it."""
    return np.ascontiguousarray(NORMALISATIONS[kind](crops.astype(np.float32)).transpose(0, 3, 1, 2))


class BundleClassifier:
    """(N, S, S, 3) uint8 crops → (N, C) float32 probabilities by the card: its input size, normalisation, head and temperature.

    `runtime` was opened with the `PIXELS` of the card's normalisation, or without any.
    """

    def __init__(self, runtime: Runtime, card: ModelCard, *, batch: int = 64) -> None:
        if card.task != "classify":
            raise ModelError(f"{card.name}: is a model to {card.task}, a classifier is needed")
        self.card, self.classes = card, card.classes
        self._runtime, self._batch = runtime, batch
        self._takes_pixels = getattr(runtime, "takes_pixels", False)

    def __call__(self, crops: Image) -> NDArray[np.float32]:
        """Label N crops; N may be 0. They may be a tensor of the runtime's device if it takes pixels.

        Raises:
            ValueError: the crops have another size or type than the card says.
            ModelError: the network gives another number of logits than the card has classes, or values that are not finite.
        """
        return to_probabilities(self.logits(crops), self.card.temperature)

    def logits(self, crops: Image) -> NDArray[np.float32]:
        """The raw (N, 1) or (N, C) output of the network, before the temperature; raises as `__call__`."""
        size, n_logits = self.card.input_px, 1 if self.card.head == "sigmoid" else len(self.classes)
        if str(crops.dtype).removeprefix("torch.") != "uint8" or tuple(crops.shape[1:]) != (size, size, 3):
            raise ValueError(f"crops must be uint8 (N, {size}, {size}, 3), got {crops.dtype} {crops.shape}")
        chunks = [crops[start:end] for start, end in _few_sizes(len(crops), self._batch)]
        outputs = [self._runtime(chunk if self._takes_pixels else normalise(chunk, self.card.normalise))[0] for chunk in chunks]
        logits = np.concatenate([np.zeros((0, n_logits), np.float32), *outputs]) if _all_wide(outputs, n_logits) else None
        if logits is None or not np.isfinite(logits).all():
            shape = outputs[0].shape[1:] if logits is None else "values that are not finite"
            raise ModelError(f"{self.card.name}: the network must give {n_logits} finite logits a crop, gave {shape}; export it again")
        return logits


def open_classifier(
    folder: Path, *, runtime: str = "auto", device: str = "auto", threads: int | None = None, batch: int = 64
) -> BundleClassifier:
    """A classifier from a bundle folder, checked by hash first.

    Raises:
        ModelError: the bundle is missing, changed or unsafe, is no classifier, or the runtime cannot load it.
        MissingExtra: the runtime is not installed.
    """
    bundle: Bundle = open_bundle(folder)
    pixels = PIXELS.get(bundle.card.normalise)
    opened = open_runtime(bundle, runtime=runtime, device=device, threads=threads, pixels=pixels, build_module=build_network)
    return BundleClassifier(opened, bundle.card, batch=batch)


def build_network(card: ModelCard) -> object:
    """The torch module of a card, to be filled with its weights; what `open_runtime` asks for as `build_module`.

    Raises:
        ConfigError: the card names parts that `classification.networks` does not have.
    """
    from classification.networks import build_blank  # torch only when the torch runtime was asked for

    network = card.training.get("network", {})
    return build_blank(card.architecture, network.get("head", "leukodetect"), len(card.classes), front=network.get("front", "none"))


def _few_sizes(n: int, most: int) -> list[tuple[int, int]]:
    """(start, end) of batches that cover n crops: of `most`, then of powers of two; a runtime prepares itself once for every new size."""
    cuts = list(range(0, n - n % most + 1, most))
    while cuts[-1] < n:
        cuts.append(cuts[-1] + 2 ** ((n - cuts[-1]).bit_length() - 1))
    return list(pairwise(cuts))


def _all_wide(outputs: list[NDArray[np.float32]], n_logits: int) -> bool:
    return all(out.ndim == 2 and out.shape[1] == n_logits for out in outputs)
