"""The model that is explained: a bundle, or a system that `classification.compare --keep-models` saved, part by part."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from classification.baselines import FittedClassical
from classification.classifier import build_network
from classification.compare_runs import MODEL
from classification.ensemble import FittedEnsemble
from classification.network_system import FittedNetwork
from classification.networks import Network
from classification.pictures import Pictures
from classification.probabilities import to_probabilities
from classification.segmented import keep_segment
from classification.steps import predict_logits
from classification.systems import FITTED, Cells, Fitted, open_fitted
from smear.annotations import sha256
from smear.errors import ModelError
from smear.models import CARD_NAME, ModelCard, open_bundle
from smear.runtimes.torch import open_module

Segment = Literal["none", "cell", "nucleus"]


@dataclass(frozen=True)
class NetworkPart:
    """A network that labels crops of `size` pixels; its weights rest and it is in evaluation mode.

    segment: what the recipe cuts the crop down to first. temperature: divides the logits.
    """

    network: Network
    architecture: str
    classes: tuple[str, ...]
    size: int
    normalise: str
    device: torch.device
    temperature: float = 1.0
    segment: Segment = "none"

    def shown(self, cells: Cells) -> Pictures:
        """The crops as the network gets them, at its size."""
        pictures = cells.at(self.size)
        return pictures if self.segment == "none" else keep_segment(pictures, self.segment)

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """As `systems.Fitted.probabilities`."""
        if not len(cells):
            return np.zeros((0, len(self.classes)), np.float32)
        logits = predict_logits(self.network, self.shown(cells), self.normalise, self.device, torch.float32)
        return to_probabilities(logits, self.temperature)


Part = NetworkPart | FittedClassical


@dataclass(frozen=True)
class Subject:
    """A model by the name of its folder, and its parts by name with their weights, which sum to 1: one, or the members of an ensemble.

    card: of a bundle; None: a system of the bench. files: SHA-256 of each file, by its path in the folder.
    """

    name: str
    classes: tuple[str, ...]
    parts: tuple[tuple[str, float, Part], ...]
    files: dict[str, str]
    card: ModelCard | None = None

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """As `systems.Fitted.probabilities`; the weighted mean of the parts."""
        stated = [weight * part.probabilities(cells) for _, weight, part in self.parts]
        return np.asarray(np.sum(stated, axis=0), np.float32)


def open_subject(folder: Path, device: torch.device) -> Subject:
    """The model in a folder, checked by hash as far as the folder states hashes; nothing is unpickled.

    Raises:
        ModelError: no such folder, neither kind of model in it, a detector, or files that are missing, changed or do not fit.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; give a bundle, or a model that classification.compare --keep-models saved")
    if (folder / CARD_NAME).is_file():
        return _of_bundle(folder, device)
    if not (folder / FITTED).is_file():
        inner = folder / MODEL
        hint = f"; did you mean {inner}?" if (inner / FITTED).is_file() else ""
        raise ModelError(f"{folder}: holds neither {CARD_NAME} (a bundle) nor {FITTED} (a system of classification.compare){hint}")
    fitted = open_fitted(folder)
    name = folder.resolve().parent.parent.name if folder.resolve().name == MODEL else folder.resolve().name
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return Subject(name, fitted.classes, tuple(_parts(name, 1.0, fitted, device)), files)


def _of_bundle(folder: Path, device: torch.device) -> Subject:
    bundle = open_bundle(folder)
    card = bundle.card
    if card.task != "classify":
        raise ModelError(f"{card.name}: is a model to {card.task}, a classifier is needed")
    network = _resting(open_module(bundle, build_network), device)
    part = NetworkPart(network, card.architecture, card.classes, card.input_px, card.normalise, device, card.temperature)
    return Subject(card.name, card.classes, ((card.name, 1.0, part),), dict(card.files), card)


def _parts(name: str, weight: float, fitted: Fitted, device: torch.device) -> list[tuple[str, float, Part]]:
    """The model itself, or the members of an ensemble, whatever they are."""
    if isinstance(fitted, FittedEnsemble):
        members = zip(fitted.names, fitted.weights, fitted.members, strict=True)
        return [part for own, share, member in members for part in _parts(own, weight * share, member, device)]
    if isinstance(fitted, FittedNetwork):
        s = fitted.settings
        network = _resting(fitted.network, device)
        return [(name, weight, NetworkPart(network, s.model, s.classes, s.imgsz, s.normalise, device, segment=s.segment))]
    if isinstance(fitted, FittedClassical):
        return [(name, weight, replace(fitted, device=str(device)))]
    raise ModelError(f"{name}: is a {type(fitted).__name__}, which cannot be explained")


def _resting(network: Network, device: torch.device) -> Network:
    """In evaluation mode, on the device, without gradients of weights: only those of the crop's maps are asked for."""
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
