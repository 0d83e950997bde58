"""Fitted estimators in a file that holds no code; the only file that knows skops."""

import hashlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from smear.errors import MissingExtra, ModelError

# What a file may hold besides what skops lets pass by itself (scikit-learn's public estimators, numpy's arrays and numbers).
TRUSTED = (
    "imblearn.over_sampling._smote.base.SMOTE",
    "imblearn.pipeline.Pipeline",
    "imblearn.under_sampling._prototype_selection._random_under_sampler.RandomUnderSampler",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


def to_bytes(estimators: tuple[Any, ...]) -> bytes:
    """Raises MissingExtra: skops is not installed."""
    return _skops().dumps(list(estimators), compression=zipfile.ZIP_DEFLATED)


def from_bytes(content: bytes, *, name: str, sha256: str) -> tuple[Any, ...]:
    """The estimators; the hash is looked at first, and only types that are expected are made.

    Args:
        name: of the file, for messages.

    Raises:
        ModelError: the content is not what was written, or would make something else than a fitted model.
        MissingExtra: skops is not installed.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{name}: sha256 is {found[:12]}…, the description says {sha256[:12]}…; the file was changed, fit the system again"
        )
    skops = _skops()
    try:
        loaded = skops.loads(content, trusted=list(TRUSTED))
    except skops.exceptions.UntrustedTypesFoundException as error:
        raise ModelError(f"{name}: holds what no system of ours has; not opened: {str(error).splitlines()[0]}") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{name}: not a readable model ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, list) or not loaded:
        raise ModelError(f"{name}: must hold a list of estimators, got {type(loaded).__name__}")
    for each in loaded:
        check_is_fitted(each)
        if not all(_leads_to_leaves(tree) for tree in _trees(each)):
            raise ModelError(f"{name}: a tree in it points outside itself; the file was changed, fit the system again")
    return tuple(loaded)


def _trees(estimator: Any) -> Iterator[DecisionTreeClassifier]:
    model = getattr(estimator, "named_steps", {}).get("model", estimator)
    if isinstance(model, DecisionTreeClassifier):
        yield model
    elif isinstance(model, RandomForestClassifier):
        yield from model.estimators_


def _leads_to_leaves(tree: DecisionTreeClassifier) -> bool:
    """Whether every fork asks for a feature that there is and goes on to later nodes; scikit-learn does not look and would read astray."""
    nodes, forks = tree.tree_, np.flatnonzero(tree.tree_.children_left != -1)
    feature, ways = nodes.feature[forks], np.stack([nodes.children_left[forks], nodes.children_right[forks]])
    return bool(((feature >= 0) & (feature < tree.n_features_in_)).all() and ((ways > forks) & (ways < nodes.node_count)).all())


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise MissingExtra("saving a classical system", "skops", "papers") from error
    return skops.io
