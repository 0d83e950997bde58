"""Fitted estimators in a file that holds no code; the only file that knows skops."""

import hashlib
import zipfile
from typing import Any

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
        strange = sorted(set(skops.get_untrusted_types(data=content)) - set(TRUSTED))
        if strange:
            raise ModelError(f"{name}: holds {', '.join(strange)}, which no system of ours has; not opened")
        loaded = skops.loads(content, trusted=list(TRUSTED))
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{name}: not a readable model ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, list) or not loaded:
        raise ModelError(f"{name}: must hold a list of estimators, got {type(loaded).__name__}")
    for each in loaded:
        check_is_fitted(each)
    return tuple(loaded)


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise MissingExtra("saving a classical system", "skops", "papers") from error
    return skops.io
