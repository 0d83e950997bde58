"""The systems of the papers as named recipes: one YAML file each under `configs/papers/<paper>/`, checked when it is read."""

import difflib
import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from classification.settings import TrainSettings
from smear.config import Settings, load
from smear.errors import ConfigError

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "papers"

Paper = Literal["leukodetect", "modified_cnn", "compact_net", "deep_leuko", "resnet50_cnn"]
Kind = Literal["network", "classical", "ensemble"]
Family = Literal[
    "nucleus_shape",
    "shape",
    "texture",
    "glcm",
    "lbp",
    "colour",
    "histogram",
    "dft",
    "hausdorff",
    "contour",
    "raw_pixels",
    "deep_resnet50",
]
ModelName = Literal[
    "svm_rbf",
    "svm_linear",
    "svm_quadratic",
    "svm",
    "naive_bayes",
    "decision_tree",
    "random_forest",
    "knn",
    "mlp",
    "vote_e1",
    "vote_e2",
]


class Reported(Settings):
    """What the paper says of itself, for the column beside ours; None: it does not say. Shares in [0, 1]."""

    accuracy: float | None = Field(None, ge=0, le=1)
    precision: float | None = Field(None, ge=0, le=1)
    recall: float | None = Field(None, ge=0, le=1)
    f1: float | None = Field(None, ge=0, le=1)
    split: str = ""
    data: str = ""


class ClassicalModel(Settings):
    """A model of scikit-learn by our name of it; `params` are scikit-learn's own arguments."""

    name: ModelName
    params: dict[str, Any] = Field(default_factory=dict)


class Classical(Settings):
    """Features of a crop, then a model that is no deep network.

    imgsz: side to which crops are brought first, pixels; None: as for the feature command. blur: side of a median filter on the
    crops, 0: none. scale: how features are brought to one range; pca: then so many components, or as many as keep that share of the
    variance; both are learned in the training part. balance: in the training part only, on features. search: over `space` (parameter →
    values), by group-disjoint inner folds; `trials` of "bayes".
    """

    features: tuple[Family, ...] = Field(min_length=1)
    model: ClassicalModel
    imgsz: int | None = Field(None, ge=8, le=1024)
    grey: bool = False
    blur: Literal[0, 3, 5, 7] = 0
    scale: Literal["none", "standard", "minmax"] = "standard"
    pca: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    balance: Literal["none", "smote", "under"] = "none"
    search: Literal["none", "grid", "bayes"] = "none"
    space: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    trials: int = Field(20, ge=2)

    @model_validator(mode="after")
    def _searches_somewhere(self) -> Self:
        if (self.search == "none") != (not self.space):
            raise ValueError("classical: search and space belong together: give both or none")
        return self


class Ensemble(Settings):
    """Members by the names of their recipes; their probabilities are averaged, by accuracy on validation if "validation"."""

    members: tuple[str, ...] = Field(min_length=2)
    weights: Literal["equal", "validation"] = "equal"


class Recipe(Settings):
    """One system of one paper: what it is, what the paper reports, and how it is trained here; one of the last three is given."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    paper: Paper
    about: str
    reported: Reported = Reported()
    kind: Kind
    network: TrainSettings | None = None
    classical: Classical | None = None
    ensemble: Ensemble | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        given = [kind for kind in get_args(Kind) if getattr(self, kind) is not None]
        if given != [self.kind]:
            raise ValueError(f"kind: is {self.kind!r}, so the recipe needs {self.kind!r} and nothing else of its kind, got {given}")
        return self


def read_recipe(path: Path) -> Recipe:
    """Raises ConfigError: it cannot be read, a key is unknown (with a suggestion) or missing, or a value is out of range."""
    return load(path, Recipe)


def all_recipes(folder: Path = FOLDER) -> dict[str, Recipe]:
    """Every recipe by its name: the papers in the order of `Paper`, the paper's own system first, then by name.

    Raises:
        ConfigError: there are none, one is wrong, two have one name, or an ensemble names a member that does not exist.
    """
    found: dict[str, Recipe] = {}
    for path in sorted(folder.glob("*/*.yaml")):
        recipe = read_recipe(path)
        if recipe.name in found:
            raise ConfigError(f"{path}: name: {recipe.name!r} is taken by another recipe")
        found[recipe.name] = recipe
    if not found:
        raise ConfigError(f"{folder}: has no recipes; run from a checkout of the project")
    papers = get_args(Paper)
    ordered = sorted(found.values(), key=lambda each: (papers.index(each.paper), each.name != each.paper, each.name))
    singles = {name: recipe for name, recipe in found.items() if recipe.kind != "ensemble"}
    for recipe in ordered:
        for member in recipe.ensemble.members if recipe.ensemble else ():
            if member not in singles:
                raise ConfigError(f"{recipe.name}: ensemble.members: {member!r} is no system that can be one{_close(member, singles)}")
    return {recipe.name: recipe for recipe in ordered}


def choose(words: str, recipes: dict[str, Recipe] | None = None) -> dict[str, Recipe]:
    """The recipes that `words` asks for: "all", or names and patterns such as `leukodetect*` between commas, in the order of `all_recipes`.

    Raises:
        ConfigError: a name or pattern that fits no recipe; names that are close are suggested.
    """
    known = all_recipes() if recipes is None else recipes
    wanted: set[str] = set()
    for word in filter(None, map(str.strip, words.split(","))):
        fitting = list(known) if word == "all" else list(filter(partial(_fits, pattern=word), known))
        if not fitting:
            raise ConfigError(f"--systems: there is no system {word!r}{_close(word, known)}")
        wanted.update(fitting)
    if not wanted:
        raise ConfigError(f"--systems: name at least one, or 'all'; known: {', '.join(known)}")
    return {name: recipe for name, recipe in known.items() if name in wanted}


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern)


def _close(name: str, known: dict[str, Recipe]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; known: {', '.join(known)}"
