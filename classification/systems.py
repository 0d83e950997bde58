"""What the bench compares: a system learns from cells and gives probabilities; the kinds of systems stand in a table."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from classification.crops import CropTable
from classification.pictures import Pictures
from classification.recipes import Recipe
from smear.errors import ModelError
from smear.files import write_atomic
from smear.report.records import jsonable
from smear.types import Image

FITTED = "fitted.json"  # in the folder of a saved system: its kind, and what that kind needs besides

# Kind of recipe → module; it has `make(recipe, *, weights) -> System` and `load(folder) -> Fitted`.
KINDS = {
    "network": "classification.network_system",
    "classical": "classification.baselines",
    "ensemble": "classification.ensemble",
}


@dataclass(frozen=True)
class Cells:
    """N cells to learn from or to label.

    pictures: their crops, at whatever size; `at` brings them to the one that a system wants.
    labels (N,) int64 index `classes`; groups (N,) str: cells of one group are never on both sides of a split.
    """

    pictures: Pictures
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.str_]

    @classmethod
    def of(cls, images: Image, labels: NDArray[np.int64], classes: tuple[str, ...], groups: NDArray[np.str_]) -> Self:
        """(N, S, S, 3) uint8 in memory."""
        return cls(Pictures.of(images), labels, classes, groups)

    @classmethod
    def of_table(cls, table: CropTable, groups: NDArray[np.str_]) -> Self:
        """The crops of a table, each read from its file when a system asks for it (`at`)."""
        return cls(Pictures.of_files(table.paths), table.labels, table.classes, groups)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray) -> Self:
        """Some of the cells (integers or booleans), in that order; memory is shared."""
        index = np.arange(len(self))[rows]
        return replace(self, pictures=self.pictures.part(index), labels=self.labels[index], groups=self.groups[index])

    def at(self, size: int) -> Pictures:
        """The crops at (size, size, 3), read or resized once and kept as far as memory allows; raises as `crops.read_crop`."""
        return self.pictures.at(size)

    def images(self, size: int) -> Image:
        """All crops, (N, size, size, 3) uint8, in memory."""
        return self.at(size)[:]


class Fitted(Protocol):
    """A system that has learned.

    about: plain values for the result: `n_parameters` (int), `file_bytes` (int, of what `save` writes), `pretrained` (bool: its
    weights began as ImageNet's), `epochs` (int), `history` (a list of mappings), `stopped_by_budget` (bool), `note` (str; "" or
    what was done otherwise than the recipe says); perhaps `seconds_saved`: that the fit would have taken longer by itself.
    """

    @property
    def about(self) -> Mapping[str, Any]: ...

    def probabilities(self, cells: Cells) -> NDArray[np.float32]:
        """(N, C) float32 in the order of the classes that were learned, rows sum to 1; N may be 0. Labels are not looked at."""
        ...

    def save(self, folder: Path) -> None:
        """Write it, without code in it, such that `open_fitted(folder)` gives the same probabilities."""
        ...


class System(Protocol):
    """A recipe that can be fitted; fitting twice with one seed gives the same on one machine."""

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
    ) -> Fitted:
        """Learn from `train`; `val`, of other groups, picks the epoch, the weights of members and the like.

        Args:
            deadline: in the seconds of `time.monotonic`; after it the fit ends soon, with what it has; None: no hurry.
            out: a folder of its own for what is written on the way.
            epochs, imgsz: at most, for a run that is meant to be small; None: as the recipe says.

        Raises:
            SmearError: it cannot be fitted to these cells; the message says why.
        """
        ...


def open_system(recipe: Recipe, *, weights: str = "none") -> System:
    """The system of a recipe; `weights`: "none" (random), "imagenet" (downloaded once), or a folder of `<architecture>.safetensors`.

    Raises:
        ConfigError: the recipe names parts that do not exist.
        MissingExtra: a package that it needs is not installed.
    """
    return importlib.import_module(KINDS[recipe.kind]).make(recipe, weights=weights)


def open_fitted(folder: Path) -> Fitted:
    """What `Fitted.save` wrote.

    Raises:
        ModelError: it is missing, damaged, or of a kind that this version does not know.
    """
    kind = read_description(folder).get("kind")
    if kind not in KINDS:
        raise ModelError(f"{folder / FITTED}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return importlib.import_module(KINDS[kind]).load(folder)


def write_description(folder: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write `fitted.json`; `content` holds plain values."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / FITTED, json.dumps(jsonable({"kind": kind, **content}), indent=1, allow_nan=False) + "\n")


def read_description(folder: Path) -> dict[str, Any]:
    """Raises ModelError: `fitted.json` is missing or not ours."""
    try:
        content = json.loads((folder / FITTED).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{folder / FITTED}: cannot read it ({error.strerror}); give a folder that a system was saved in") from error
    except ValueError as error:
        raise ModelError(f"{folder / FITTED}: not JSON ({error}); the folder is damaged, fit the system again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{folder / FITTED}: must be a mapping, got {type(content).__name__}")
    return content
