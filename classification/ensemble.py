"""An ensemble recipe as a system of the bench: its members are fitted one after the other, their probabilities averaged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.recipes import Recipe, all_recipes
from classification.systems import FITTED, Cells, Fitted, System, open_fitted, open_system, read_description, write_description
from smear.errors import ModelError


@dataclass(frozen=True)
class EnsembleSystem:
    """Members by name, and whether validation weighs them."""

    members: tuple[tuple[str, System], ...]
    by_validation: bool

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
    ) -> "FittedEnsemble":
        """As `systems.System.fit`; what is left of the time is shared equally among the members that are left."""
        fitted: list[Fitted] = []
        for i, (name, member) in enumerate(self.members):
            until = share_of(deadline, len(self.members) - i)
            some = member.fit(train, val, seed=seed, device=device, deadline=until, out=out / name, epochs=epochs, imgsz=imgsz)
            fitted.append(some)
        if self.by_validation and len(val):
            weights = weigh([float((member.probabilities(val).argmax(axis=1) == val.labels).mean()) for member in fitted])
        else:
            weights = weigh([1.0] * len(fitted))
        names = tuple(name for name, _ in self.members)
        return FittedEnsemble(names, tuple(fitted), weights, train.classes, describe(names, [member.about for member in fitted], weights))


@dataclass(frozen=True)
class FittedEnsemble:
    """Members that have learned, and their weights, which sum to 1."""

    names: tuple[str, ...]
    members: tuple[Fitted, ...]
    weights: tuple[float, ...]
    classes: tuple[str, ...]
    about: dict[str, Any]

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """As `systems.Fitted.probabilities`."""
        stated = [weight * member.probabilities(cells) for weight, member in zip(self.weights, self.members, strict=True)]
        return np.asarray(np.stack(stated).sum(axis=0), np.float32)

    def save(self, folder: Path) -> None:
        """`fitted.json`, and a folder a member."""
        for name, member in zip(self.names, self.members, strict=True):
            member.save(folder / name)
        content = {"members": self.names, "weights": self.weights, "classes": self.classes, "about": self.about}
        write_description(folder, "ensemble", content)


def make(recipe: Recipe, *, weights: str = "none") -> EnsembleSystem:
    """What `systems.open_system` asks for; the members are recipes of `recipes.all_recipes`."""
    assert recipe.ensemble is not None
    known = all_recipes()
    members = tuple((name, open_system(known[name], weights=weights)) for name in recipe.ensemble.members)
    return EnsembleSystem(members, recipe.ensemble.weights == "validation")


def load(folder: Path) -> FittedEnsemble:
    """What `FittedEnsemble.save` wrote; raises ModelError when something of it is missing or changed."""
    content = read_description(folder)
    try:
        names, weights, classes = (tuple(content[key]) for key in ("members", "weights", "classes"))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / FITTED}: {error} is missing or no list; fit the system again") from error
    if len(names) != len(weights) or any(Path(name).name != name for name in names):
        raise ModelError(f"{folder / FITTED}: members and weights must be as many, and members plain names")
    return FittedEnsemble(names, tuple(open_fitted(folder / name) for name in names), weights, classes, dict(content.get("about", {})))


def share_of(deadline: float | None, n_left: int) -> float | None:
    """When the next of so many members has to be ready."""
    if deadline is None:
        return None
    now = time.monotonic()
    return now + max(0.0, deadline - now) / n_left


def weigh(merits: Sequence[float]) -> tuple[float, ...]:
    """Weights that sum to 1, in proportion to merits of 0 or more; equal ones when nobody has any."""
    total = sum(merits)
    return tuple(merit / total if total > 0 else 1 / len(merits) for merit in merits)


def describe(names: Sequence[str], abouts: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """`Fitted.about` of the whole from those of the members: sums of their sizes, and all histories, each row with its `member`."""
    return {
        "n_parameters": sum(about["n_parameters"] for about in abouts),
        "file_bytes": sum(about["file_bytes"] for about in abouts),
        "pretrained": all(about["pretrained"] for about in abouts),
        "epochs": sum(about["epochs"] for about in abouts),
        "history": [{"member": name, **row} for name, about in zip(names, abouts, strict=True) for row in about["history"]],
        "stopped_by_budget": any(about["stopped_by_budget"] for about in abouts),
        "weights": dict(zip(names, weights, strict=True)),
        "members": {
            name: {key: value for key, value in about.items() if key != "history"} for name, about in zip(names, abouts, strict=True)
        },
        "note": "; ".join(f"{name}: {about['note']}" for name, about in zip(names, abouts, strict=True) if about["note"]),
    }
