"""Class activation maps of a network and their faithfulness (ROAD); the only file that knows pytorch_grad_cam.

Two methods, since they answer at two resolutions. Grad-CAM weighs the channels of the last map, whose places are few: 7 × 7 of a crop of
224 px, 2 × 2 of one of 80. LayerCAM weighs every place by its own gradient, so it can be asked at an earlier layer whose places are
smaller than a nucleus. Both take two passes through the network, where Score-CAM takes one a channel.

Sources: Selvaraju et al., Grad-CAM, ICCV 2017; Jiang et al., LayerCAM, IEEE TIP 30 (2021);
Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods (ROAD), ICML 2022.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classification.networks import Network
from smear.errors import MissingExtra

LAST, FINE = "last", "fine"  # which map of the network a method looks at
FINE_PLACES = 10  # along a side: a crop is 3 red cells wide, so a nucleus spans 4 of them or more
PERCENTILES = (90, 70, 50)  # ROAD takes away a tenth, three tenths and half of the pixels; a cell fills about a third of its crop

Heat = NDArray[np.float32]  # (N, S, S) in [0, 1], 1 at the hottest place of each; all 0 where nothing speaks for the class


@dataclass(frozen=True)
class Method:
    """How a map is made: its name for readers, the class of the package, and at which layer."""

    title: str
    name: str
    at: str


METHODS = {"grad_cam": Method("Grad-CAM", "GradCAM", LAST), "layer_cam": Method("LayerCAM", "LayerCAM", FINE)}


@dataclass(frozen=True)
class Layer:
    """A module of the network, its name, and the rows and columns of the map that it gives."""

    name: str
    module: nn.Module
    places: tuple[int, int]


@dataclass(frozen=True)
class Logit:
    """What a map explains: the logit of a class; of a single logit, which is that of class 0, its negative for class 1."""

    label: int

    def __call__(self, logits: Tensor) -> Tensor:
        if len(logits) > 1:
            return logits[self.label]
        return -logits[0] if self.label else logits[0]


@dataclass(frozen=True)
class Probability:
    """What ROAD measures: the probability of a class, as the model states it."""

    label: int
    temperature: float

    def __call__(self, logits: Tensor) -> Tensor:
        if len(logits) > 1:
            return torch.softmax(logits / self.temperature, dim=-1)[self.label]
        return torch.sigmoid(Logit(self.label)(logits) / self.temperature)


def require() -> None:
    """Raises MissingExtra: the package is not installed. It takes seconds to load, so nothing else of ours loads it."""
    try:
        importlib.import_module("pytorch_grad_cam")
    except ModuleNotFoundError as error:
        raise MissingExtra("a class activation map", "grad-cam", "explain") from error


def find_layer(network: Network, size: int, at: str) -> Layer:
    """The map that a method looks at: the last one, or the last that still has `FINE_PLACES` a side (the finest, if none has).

    Only the children of `features` are asked, which end where their block ends; found out by labelling a blank crop of that size.
    """
    children = [(f"features.{name}", child) for name, child in network.features.named_children()]
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Tensor) -> None:
        shapes[name] = tuple(output.shape)

    handles = [child.register_forward_hook(lambda _, __, out, name=name: note(name, out)) for name, child in children]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, size, size, device=next(network.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    maps = [Layer(name, child, (shape[2], shape[3])) for name, child in children if len(shape := shapes[name]) == 4]
    if at == LAST:
        return Layer("features", network.features, maps[-1].places)
    fine = [each for each in maps if min(each.places) >= FINE_PLACES]
    return fine[-1] if fine else max(reversed(maps), key=lambda each: each.places)


def heat_maps(network: Network, crops: Tensor, labels: NDArray[np.int64], method: str, layer: Layer) -> Heat:
    """Where the evidence for a class lies.

    Args:
        network: in evaluation mode; its weights may rest. crops: (N, 3, S, S) float32, normalised, on its device.
        labels: (N,) the class that each map is for. method: a name of `METHODS`.
    """
    if not len(crops):
        return np.zeros((0, *crops.shape[2:]), np.float32)
    require()
    import pytorch_grad_cam

    made = getattr(pytorch_grad_cam, METHODS[method].name)(model=network, target_layers=[layer.module])
    try:
        with torch.enable_grad(), _quiet():
            found = made(crops.detach().clone().requires_grad_(True), [Logit(int(label)) for label in labels])
    finally:
        made.activations_and_grads.release()
    return np.asarray(found, np.float32)


def road_scores(
    network: Network, crops: Tensor, labels: NDArray[np.int64], order: Heat, *, temperature: float, seed: int
) -> NDArray[np.float32]:
    """ROAD of each map, (N,) in [-1, 1]: how much less the probability of the class suffers from the loss of the coldest pixels than of
    the hottest, halved; 0 for a map that says nothing. Pixels are lost by filling them in from around them.

    Args:
        crops, labels: as for `heat_maps`. order: (N, S, S), no two pixels of a map alike (`heat.rank`). seed: of the noise in the filling.
    """
    if not len(crops):
        return np.zeros(0, np.float32)
    require()
    from pytorch_grad_cam.metrics.road import ROADCombined

    targets = [Probability(int(label), temperature) for label in labels]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _quiet():
        torch.manual_seed(seed)
        return np.asarray(ROADCombined(percentiles=list(PERCENTILES))(crops, order, targets, network), np.float32)


@contextmanager
def _quiet() -> Iterator[Any]:
    """The package asks NumPy for what NumPy will not do for ever; nobody who reads our output can do anything about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
