"""The models by their names in recipes: scikit-learn's estimators, which of them vote together, how large a fitted one is."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from classification.recipes import Classical
from smear.errors import ConfigError
from smear.line import n_cores

_BETWEEN = "__"  # of a voter and its parameter: knn__n_neighbors
_CACHE_MB = 1000  # of an SVM's kernel: with scikit-learn's 200, twenty thousand crops take much longer
_MLP_EPOCHS = 500  # scikit-learn's 200 are not enough for some hundred crops

# What a recipe does not say is scikit-learn's default. SVMs state no probabilities themselves; `pipeline.fit_members` calibrates them.
MODELS: dict[str, Callable[..., BaseEstimator]] = {
    "svm": partial(SVC, cache_size=_CACHE_MB),
    "svm_rbf": partial(SVC, kernel="rbf", cache_size=_CACHE_MB),
    "svm_linear": partial(SVC, kernel="linear", cache_size=_CACHE_MB),
    "svm_quadratic": partial(
        SVC, kernel="poly", degree=2, coef0=1.0, cache_size=_CACHE_MB
    ),  # (γ x·z + 1)²: all terms up to the second order
    "naive_bayes": GaussianNB,
    "decision_tree": DecisionTreeClassifier,
    "random_forest": RandomForestClassifier,
    "knn": partial(KNeighborsClassifier, algorithm="brute"),  # a search tree finds the same neighbours and cannot be saved without code
    "mlp": partial(MLPClassifier, max_iter=_MLP_EPOCHS),
}
# The mean of the probabilities of these is the vote's.
VOTES: dict[str, tuple[str, ...]] = {
    "vote_e1": ("knn", "decision_tree", "svm_rbf", "naive_bayes"),
    "vote_e2": ("svm_linear", "svm_rbf", "svm_quadratic", "mlp"),
}
# What a parameter is of models that are no network.
COUNTED = (
    "support vectors and their coefficients (of a linear SVM the normals of its planes), means and variances of naive Bayes, a feature "
    "and a threshold at each fork of a tree and a share a class at each leaf, the crops that KNN keeps, weights and biases of an MLP; "
    "and what imputing, scaling, PCA, calibration and a network of deep features need"
)

Params = Mapping[str, Any]


def make_members(model: str, params: Params, *, seed: int) -> tuple[BaseEstimator, ...]:
    """The unfitted estimators of a model: one, or those that vote.

    Args:
        model: a name of `MODELS` or `VOTES`.
        params: scikit-learn's own arguments; those of a vote are `<member>__<argument>`.

    Raises:
        ConfigError: an argument that the estimator does not have.
    """
    if model in MODELS:
        return (_make(model, params, seed),)
    own: dict[str, dict[str, Any]] = {name: {} for name in VOTES[model]}
    for key, value in params.items():
        name, between, argument = key.partition(_BETWEEN)
        if name not in own or not between:
            raise ConfigError(f"params.{key}: of {model!r} must be one of its members {', '.join(own)}, then {_BETWEEN!r} and an argument")
        own[name][argument] = value
    return tuple(_make(name, some, seed) for name, some in own.items())


def check(recipe: Classical) -> None:
    """Raises ConfigError: the model of the recipe has no such arguments, given or searched."""
    make_members(recipe.model.name, {**recipe.model.params, **{key: values[0] for key, values in recipe.space.items()}}, seed=0)


def count(model: Any) -> int:
    """Numbers that a fitted estimator needs to label a crop, as `COUNTED` says."""
    if isinstance(model, SVC):
        if model.kernel == "linear":
            return int(model.coef_.size + model.intercept_.size)
        return int(model.support_vectors_.size + model.dual_coef_.size + model.intercept_.size)
    if isinstance(model, RandomForestClassifier):
        return sum(map(count, model.estimators_))
    if isinstance(model, DecisionTreeClassifier):
        return int(2 * (model.tree_.node_count - model.tree_.n_leaves) + model.tree_.n_leaves * len(model.classes_))
    if isinstance(model, GaussianNB):
        return int(model.theta_.size + model.var_.size + model.class_prior_.size)
    if isinstance(model, KNeighborsClassifier):
        return int(model.n_samples_fit_ * (model.n_features_in_ + 1))
    if isinstance(model, MLPClassifier):
        return sum(int(np.size(part)) for part in (*model.coefs_, *model.intercepts_))
    raise AssertionError(f"{type(model).__name__} is not in MODELS")


def _make(name: str, params: Params, seed: int) -> BaseEstimator:
    maker = MODELS[name]
    known = list(inspect.signature(maker).parameters)
    for key in params:
        if key not in known:
            raise ConfigError(f"params.{key}: {name!r} has no such argument{_close(key, known)}")
    extra: dict[str, Any] = {}
    if "random_state" in known:
        extra["random_state"] = seed
    if name == "random_forest":
        extra["n_jobs"] = n_cores()  # nothing else of ours runs beside it
    return maker(**{**extra, **params})


def _close(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; it has {', '.join(known)}"
