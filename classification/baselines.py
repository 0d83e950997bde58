"""A classical recipe as a system of the bench: features, then a model of scikit-learn; saved as skops and JSON, without pickle."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from pydantic import ValidationError

from classification.classical import deep, models, saving
from classification.classical.columns import DEFAULT_PX, STORE, Measure, matrix
from classification.classical.pipeline import Members, Sheet, fit_members, two_classes
from classification.classical.search import Found, search
from classification.recipes import Classical, Recipe
from classification.systems import FITTED, Cells, read_description, write_description
from smear.config import explain
from smear.errors import ModelError
from smear.files import write_atomic

MEMBERS, WEIGHTS = "members.skops", "resnet50.safetensors"


@dataclass(frozen=True)
class ClassicalSystem:
    """One classical recipe; `weights`, of deep features, as for `systems.open_system`."""

    recipe: Classical
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
    ) -> "FittedClassical":
        """As `systems.System.fit`; what is chosen is chosen by folds inside `train`, so `val` stays unseen for who weighs this system.

        The deadline ends measuring features (an error) and a search (the best so far is taken); a single fit is not interrupted.
        """
        del val, out
        began = time.monotonic()
        recipe = self.recipe
        measure = Measure.of(recipe, imgsz=imgsz, weights=self.weights)
        two_classes(Sheet(np.zeros((len(train), 0)), train.labels, train.groups, train.classes))  # before the features, which cost more
        values, measuring = STORE.get(train.pictures, measure, device=device, deadline=deadline)
        saved = max(0.0, measuring - (time.monotonic() - began))
        sheet = Sheet(matrix(values, flag=measure.may_miss), train.labels, train.groups, train.classes)
        found = Found(recipe.model.params)
        if recipe.search != "none":
            found = search(recipe, sheet, seed=seed, deadline=deadline, epochs=epochs)
        members = fit_members(recipe, found.params, sheet, seed=seed)
        notes = [*_notes(recipe, measure, sheet), *found.notes, *members.notes]
        stored = saving.to_bytes(members.estimators)
        extractor = measure.extractor
        about = {
            "n_parameters": members.n_parameters() + (extractor.n_parameters if extractor else 0),
            "counted": models.COUNTED,
            "file_bytes": len(stored) + (extractor.n_bytes if extractor else 0),
            "pretrained": bool(extractor and extractor.pretrained),
            "epochs": 0,
            "history": [],
            "stopped_by_budget": not found.in_time,
            "seconds": time.monotonic() - began,
            "feature_seconds": measuring,
            "seconds_saved": saved,  # of these, since another system or fold had measured the crops
            "features": list(recipe.features),
            "n_features": sheet.x.shape[1],
            "search": {"params": dict(found.params), "trials": list(found.trials)},
            "note": "; ".join(dict.fromkeys(filter(None, notes))),
        }
        return FittedClassical(members, recipe, measure, train.classes, about, stored, device)


@dataclass(frozen=True)
class FittedClassical:
    """Estimators that have learned, and what they measure of a crop; stored: the estimators as `save` writes them."""

    members: Members
    recipe: Classical
    measure: Measure
    classes: tuple[str, ...]
    about: Mapping[str, Any]
    stored: bytes = field(repr=False)
    device: str = "cpu"

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """As `systems.Fitted.probabilities`; crops in memory are measured anew each time, those of files once a run."""
        values, _ = STORE.get(cells.pictures, self.measure, device=self.device)
        return self.members.probabilities(matrix(values, flag=self.measure.may_miss), len(self.classes))

    def save(self, folder: Path) -> None:
        """`fitted.json`, `members.skops` and, for deep features, their network as `resnet50.safetensors`."""
        write_atomic(folder / MEMBERS, self.stored)
        if self.measure.extractor:
            write_atomic(folder / WEIGHTS, self.measure.extractor.weights())
        content = {
            "recipe": self.recipe.model_dump(mode="json"),
            "classes": self.classes,
            "imgsz": self.measure.size,
            "features": _digest(self.measure),
            "pretrained": bool(self.measure.extractor and self.measure.extractor.pretrained),
            "sha256": hashlib.sha256(self.stored).hexdigest(),
            "scikit_learn": sklearn.__version__,
            "about": dict(self.about),
        }
        write_description(folder, "classical", content)


def make(recipe: Recipe, *, weights: str = "none") -> ClassicalSystem:
    """What `systems.open_system` asks for; raises ConfigError: the model has no such arguments."""
    assert recipe.classical is not None
    models.check(recipe.classical)
    return ClassicalSystem(recipe.classical, weights)


def load(folder: Path) -> FittedClassical:
    """What `FittedClassical.save` wrote, to be used on the CPU; raises ModelError when something of it is missing or changed."""
    content = read_description(folder)
    try:
        recipe = Classical.model_validate(content["recipe"])
        classes, imgsz, sha256, version, features = (content[key] for key in ("classes", "imgsz", "sha256", "scikit_learn", "features"))
        stored = (folder / MEMBERS).read_bytes()
    except ValidationError as error:
        raise ModelError(f"{folder / FITTED}: recipe: {explain(error, Classical)}") from error
    except KeyError as error:
        raise ModelError(f"{folder / FITTED}: {error} is missing; fit the system again") from error
    except OSError as error:
        raise ModelError(f"{folder / MEMBERS}: cannot read it ({error.strerror}); fit the system again") from error
    if version != sklearn.__version__:
        raise ModelError(f"{folder}: was saved with scikit-learn {version}, this is {sklearn.__version__}; install that, or fit it again")
    measure = _measure(folder, recipe, imgsz, pretrained=bool(content.get("pretrained")))
    if _digest(measure) != features:
        raise ModelError(f"{folder}: was saved by a version that measured other features; fit the system again")
    members = Members(saving.from_bytes(stored, name=str(folder / MEMBERS), sha256=sha256))
    return FittedClassical(members, recipe, measure, tuple(classes), dict(content.get("about", {})), stored)


def _measure(folder: Path, recipe: Classical, imgsz: int, *, pretrained: bool) -> Measure:
    if deep.FAMILY not in recipe.features:
        return Measure.of(recipe, imgsz=imgsz, weights="none")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder / WEIGHTS}: no such file; fit the system again")
    measure = Measure.of(recipe, imgsz=imgsz, weights=str(folder / WEIGHTS))
    assert measure.extractor is not None
    return replace(measure, extractor=replace(measure.extractor, pretrained=pretrained))


def _digest(measure: Measure) -> str:
    """Of the names of the columns, and of the network that some come from."""
    network = measure.extractor.digest if measure.extractor else ""
    return hashlib.sha256(repr((measure.names, network)).encode()).hexdigest()


def _notes(recipe: Classical, measure: Measure, sheet: Sheet) -> list[str]:
    """What the recipe did not say, or could not know."""
    notes = []
    wanted = recipe.imgsz or DEFAULT_PX
    if measure.size != wanted:
        notes.append(f"{measure.size} px instead of {wanted}")
    if measure.extractor and not measure.extractor.pretrained:
        notes.append(deep.NO_WEIGHTS)
    absent = [name for i, name in enumerate(sheet.classes) if not (sheet.y == i).any()]
    if absent:
        notes.append(f"no crop of {', '.join(absent)} to learn from: probability 0")
    gaps = np.isnan(sheet.x)
    if gaps.any():
        notes.append(f"{int(gaps.any(axis=1).sum())} of {len(gaps)} training crops lack features; the median of the others stands in")
    if len(gaps) and gaps.all(axis=0).any():
        notes.append(f"{int(gaps.all(axis=0).sum())} of {gaps.shape[1]} features are missing in all training crops; 0 stands in")
    return notes
