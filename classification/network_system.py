"""A network recipe as a system of the bench: fitted by the loop of `classification.train`, saved as safetensors and JSON."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from classification.augment import build_augmentation
from classification.batches import Batches
from classification.learner import Learner
from classification.loop import History, Lesson, Part, learn
from classification.networks import HEADS, Network, build, build_blank, check_input, find_weights, load_weights, smallest_input
from classification.pictures import Pictures
from classification.probabilities import to_probabilities
from classification.recipes import Recipe
from classification.segmented import keep_segment
from classification.selection import best_epoch, has_stalled
from classification.settings import TrainSettings
from classification.steps import choose_device, predict_logits, with_state
from classification.systems import FITTED, Cells, read_description, write_description
from smear.config import explain
from smear.errors import ModelError
from smear.files import write_atomic

WEIGHTS = "weights.safetensors"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class NetworkSystem:
    """One network of one recipe; `weights` as for `systems.open_system`."""

    settings: TrainSettings
    weights: str

    def fit(
        self,
        train: Cells,
        val: Cells,
        *,
        seed: int,
        device: str,
        deadline: float | None,
        out: Path,
        epochs: int | None = None,
        imgsz: int | None = None,
    ) -> "FittedNetwork":
        """As `systems.System.fit`; `out` holds nothing afterwards that is needed again."""
        del out  # the best weights stay in memory
        settings, notes = resolve(self.settings, train.classes, seed=seed, epochs=epochs, imgsz=imgsz)
        start, note = find_weights(self.weights, settings.model)
        notes += [note] if note else []
        if settings.train_last is not None and start == "none":
            settings = settings.model_copy(update={"train_last": None})
            notes.append("all layers learn: there were no ImageNet weights to keep")
        where, began = choose_device(device), time.monotonic()
        network = begin(settings, start)
        learner = Learner.of(network, settings, where)
        lesson = Lesson(_part(train, settings), _part(val, settings))
        batches = Batches(lesson.train.pictures, settings, where)
        history: History = []
        best: dict[str, torch.Tensor] = {}
        for history in learn(learner, lesson, batches, deadline=deadline):
            if best_epoch(history) == len(history):
                best = {name: tensor.detach().cpu().clone() for name, tensor in learner.average.items()}
        stopped = "share" in history[-1] or (len(history) < settings.epochs and not has_stalled(history, settings.patience))
        about = {
            "pretrained": start != "none",
            "epochs": len(history),
            "best_epoch": best_epoch(history),
            "history": history,
            "stopped_by_budget": stopped,
            "seconds": time.monotonic() - began,
            "device": where.type,
            "precision": str(learner.precision).removeprefix("torch."),
            "note": "; ".join(notes),
        }
        return FittedNetwork(with_state(network.cpu(), best), settings, about | count(network), where)


@dataclass(frozen=True)
class FittedNetwork:
    """A network that has learned; it labels on `device` in 32 bits."""

    network: Network
    settings: TrainSettings
    about: dict[str, Any]
    device: torch.device = CPU

    @property
    def classes(self) -> tuple[str, ...]:
        return self.settings.classes

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """As `systems.Fitted.probabilities`."""
        if not len(cells):
            return np.zeros((0, len(self.classes)), np.float32)
        pictures = shown(cells, self.settings)
        there = self.network.to(self.device, memory_format=torch.channels_last)
        return to_probabilities(predict_logits(there, pictures, self.settings.normalise, self.device, torch.float32), 1.0)

    def save(self, folder: Path) -> None:
        """`fitted.json` and `weights.safetensors`."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        write_atomic(folder / WEIGHTS, save(state))
        write_description(folder, "network", {"settings": self.settings.model_dump(mode="json"), "about": self.about})


def make(recipe: Recipe, *, weights: str = "none") -> NetworkSystem:
    """What `systems.open_system` asks for; raises ConfigError as `classification.networks` and `build_augmentation`."""
    assert recipe.network is not None
    build_augmentation(recipe.network.augment)
    check_input(recipe.network.model, recipe.network.imgsz)
    return NetworkSystem(recipe.network.model_copy(update={"name": recipe.name}), weights)


def load(folder: Path) -> FittedNetwork:
    """What `FittedNetwork.save` wrote, to be used on the CPU; raises ModelError when something of it is missing or changed."""
    content = read_description(folder)
    try:
        settings = TrainSettings.model_validate(content.get("settings"))
    except ValidationError as error:
        raise ModelError(f"{folder / FITTED}: settings: {explain(error, TrainSettings)}") from error
    network = build_blank(settings.model, settings.head, len(settings.classes), front=settings.front)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{folder / WEIGHTS}: does not hold the weights of {settings.model} ({str(error).splitlines()[0]})") from error
    return FittedNetwork(network.eval(), settings, dict(content.get("about", {})))


def resolve(
    settings: TrainSettings, classes: tuple[str, ...], *, seed: int, epochs: int | None, imgsz: int | None
) -> tuple[TrainSettings, list[str]]:
    """The settings for these classes and limits, and what of it the recipe did not say."""
    changes: dict[str, Any] = {"classes": classes, "seed": seed}
    notes = []
    if HEADS[settings.head].kind == "sigmoid" and len(classes) != 2:
        changes["head"] = f"{settings.head}_softmax"
        notes.append(f"one logit cannot tell {len(classes)} classes: softmax instead")
    if settings.select == "val_auc" and len(classes) != 2:
        changes["select"] = "val_accuracy"
        notes.append("the best epoch is that of the best accuracy: the area is of two classes")
    if epochs is not None and epochs < settings.epochs:
        changes["epochs"] = epochs
        changes["optimiser"] = settings.optimiser.model_copy(update={"warmup_epochs": min(settings.optimiser.warmup_epochs, epochs - 1)})
        notes.append(f"{epochs} of {settings.epochs} epochs")
    if imgsz is not None and imgsz < settings.imgsz:
        changes["imgsz"] = max(imgsz, smallest_input(settings.model))
        notes.append(f"{changes['imgsz']} px instead of {settings.imgsz}")
    return settings.model_copy(update=changes), notes


def begin(settings: TrainSettings, weights: str) -> Network:
    """The network before its first step."""
    torch.manual_seed(settings.seed)
    network = build(settings.model, settings.head, len(settings.classes), front=settings.front)
    load_weights(network, weights, architecture=settings.model)
    if settings.train_last is not None:
        network.rest_all_but(settings.train_last)
    return network


def count(network: Network) -> dict[str, int]:
    """Parameters, and the bytes of the file that holds them and the statistics of batch normalisation."""
    state = network.state_dict()
    return {
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "file_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
    }


def shown(cells: Cells, settings: TrainSettings) -> Pictures:
    """The crops as the network gets them: at its size, and without what the recipe cuts off."""
    pictures = cells.at(settings.imgsz)
    return pictures if settings.segment == "none" else keep_segment(pictures, settings.segment)


def _part(cells: Cells, settings: TrainSettings) -> Part:
    return Part(shown(cells, settings), cells.labels, np.full(len(cells), ""))
