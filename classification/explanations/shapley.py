"""SHAP values of a model on features, a number a feature: what each adds to the probability of a class; the only file that knows shap.

Trees and forests are explained exactly, along their paths (Lundberg et al., Nature Machine Intelligence 2, 2020). Any other model, or
trees behind a PCA, is asked about mixtures of the crop and some others: features are exchanged one after the other in a random order,
there and back (Štrumbelj and Kononenko, KAIS 41, 2014), a pass of 2 P + 1 mixtures for P players. A player is a feature; where there are
more than `MOST_PLAYERS` (pixels, deep features), neighbours of one family play together and share what they add equally.
"""

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from classification.classical.pipeline import Members
from classification.readable import Watch
from smear.errors import MissingExtra

MOST_PLAYERS = 200
BACKGROUND = 16  # other crops whose features stand in for a feature that is taken away
LEAST_MIXTURES = 600  # a crop: few players go through several orders
TREES = (DecisionTreeClassifier, RandomForestClassifier)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Shap:
    """values (N, F): what each feature adds to the probability of the label, from `base` (N,) up to `output` (N,).

    method: "tree" or "permutation". evaluations: how often the model was asked for one crop; 0 for trees. players: P ≤ F.
    """

    values: Matrix
    base: NDArray[np.float64]
    output: NDArray[np.float64]
    method: str
    evaluations: int
    players: int


def require() -> ModuleType:
    """Raises MissingExtra: the package is not installed. It takes seconds to load, so nothing else of ours loads it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its plots, which we do not use, ask matplotlib in an old way
            return importlib.import_module("shap")
    except ModuleNotFoundError as error:
        raise MissingExtra("SHAP of a model on features", "shap", "explain") from error


def explain_labels(
    members: Members,
    x: Matrix,
    labels: NDArray[np.int64],
    background: Matrix,
    families: Sequence[str],
    *,
    n_classes: int,
    seed: int,
    watch: Watch = lambda rows, n: rows,
) -> Shap:
    """SHAP values of P(label) for N crops; N may be 0.

    Args:
        members: of one system; their mean is explained. x: (N, F), NaN where not known. labels: (N,) the class that each is for.
        background: (B, F), B ≥ 1, of other crops; trees do not need it. families: (F,) of each column: only columns of one play together.
        watch: wraps the crops, for a progress bar.

    Raises:
        MissingExtra: shap is not installed.
    """
    output = members.probabilities(x, n_classes)[np.arange(len(x)), labels].astype(np.float64)
    if all(_is_tree(each) for each in members.estimators):
        values, base = _along_trees(members, x, labels, n_classes=n_classes)
        return Shap(values, base, output, "tree", 0, x.shape[1])
    owners = players_of(families)
    n_players = int(owners.max(initial=-1)) + 1
    passes = max(1, LEAST_MIXTURES // (2 * n_players + 1))
    mixtures = passes * (2 * n_players + 1)
    values, base = np.zeros(x.shape), np.zeros(len(x))
    for i in watch(range(len(x)), len(x)):

        def ask(rows: Matrix, label: int = int(labels[i])) -> NDArray[np.float64]:
            return members.probabilities(rows, n_classes)[:, label].astype(np.float64)

        added, base[i] = _by_exchange(ask, x[i], background, owners, mixtures=mixtures, seed=seed)
        values[i] = (added / np.bincount(owners, minlength=n_players))[owners]
    return Shap(values, base, output, "permutation", mixtures * len(background), n_players)


def players_of(families: Sequence[str]) -> NDArray[np.int64]:
    """The player (F,) that each column belongs to, 0 to P - 1, P ≤ `MOST_PLAYERS` unless there are more families."""
    width = 1
    while True:
        starts, run = [], 0
        for i, family in enumerate(families):
            run = run + 1 if i and family == families[i - 1] and run < width else 1
            starts.append(run == 1)
        if sum(starts) <= MOST_PLAYERS or width > len(families):
            return np.cumsum(starts, dtype=np.int64) - 1
        width *= 2


@dataclass(frozen=True)
class _Mixer:
    """A masker of shap: features of the crop where their player is in, those of the background crops elsewhere."""

    crop: Matrix
    background: Matrix
    owners: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.background), int(self.owners.max()) + 1

    def __call__(self, mask: NDArray[np.bool_], _: Any) -> tuple[Matrix]:
        return (np.where(mask[self.owners], self.crop, self.background),)


def _by_exchange(
    ask: Callable[[Matrix], NDArray[np.float64]], crop: Matrix, background: Matrix, owners: NDArray[np.int64], *, mixtures: int, seed: int
) -> tuple[NDArray[np.float64], float]:
    """(P,) what each player adds, and the mean of `ask` over the background."""
    shap, before = require(), np.random.get_state()  # noqa: NPY002  it seeds NumPy's global generator, which is the caller's
    try:
        explainer = shap.explainers.Permutation(ask, _Mixer(crop, background, owners), seed=seed)
        found = explainer(np.arange(owners.max() + 1)[None], max_evals=mixtures, batch_size=64, silent=True)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.asarray(found.values[0], np.float64), float(np.ravel(found.base_values)[0])


def _along_trees(members: Members, x: Matrix, labels: NDArray[np.int64], *, n_classes: int) -> tuple[Matrix, NDArray[np.float64]]:
    """The mean over the members; a class that a member did not learn gets nothing from it."""
    shap, rows = require(), np.arange(len(x))
    values, base = np.zeros(x.shape), np.zeros(len(x))
    for each in members.estimators if len(x) else ():  # scikit-learn takes no empty matrix
        steps = dict(each.named_steps)
        seen = x
        for name in ("impute", "scale"):  # column by column, so a column stays what it was
            seen = steps[name].transform(seen) if name in steps else seen
        explainer = shap.TreeExplainer(steps["model"])
        added, start = np.zeros((*x.shape, n_classes)), np.zeros(n_classes)
        start[each.classes_] = explainer.expected_value
        added[..., each.classes_] = explainer.shap_values(seen, check_additivity=False)
        values += added[rows, :, labels] / len(members.estimators)
        base += start[labels] / len(members.estimators)
    return values, base


def _is_tree(estimator: Any) -> bool:
    steps = getattr(estimator, "named_steps", {})
    return isinstance(steps.get("model"), TREES) and "pca" not in steps
