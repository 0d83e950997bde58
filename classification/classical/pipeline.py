"""From features to probabilities: imputing, scaling, PCA, balance, the model and its calibration, all learned inside the training part."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from classification.classical.balance import make_pipeline, make_sampler
from classification.classical.models import Params, count, make_members
from classification.recipes import Classical
from smear.errors import ConfigError, TrainingError

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}
FOLDS = 3  # inside the training part, for calibration and search; 2 where 3 leave a part without a class
Rows = NDArray[np.int64]
Split = tuple[Rows, Rows]  # learned from, held out


@dataclass(frozen=True)
class Sheet:
    """N crops as a model sees them: x (N, F) float64, NaN where a feature is not known; y (N,) int64 index `classes`; groups (N,) str."""

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    groups: NDArray[np.str_]
    classes: tuple[str, ...]

    def take(self, rows: Rows) -> "Sheet":
        return Sheet(self.x[rows], self.y[rows], self.groups[rows], self.classes)


@dataclass(frozen=True)
class Members:
    """Fitted estimators that vote with equal weight, and what there is to say about how they were fitted."""

    estimators: tuple[Any, ...]
    notes: tuple[str, ...] = field(default=())

    def probabilities(self, x: NDArray[np.float64], n_classes: int) -> NDArray[np.float32]:
        """(N, F) → (N, C) float32, rows sum to 1; a class that was not learned has 0. Mean of the members' (a soft vote)."""
        found = np.zeros((len(x), n_classes))
        if not len(x):
            return found.astype(np.float32)
        for each in self.estimators:
            found[:, each.classes_] += each.predict_proba(x)
        return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)

    def labels(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N, F) → (N,) of one estimator that may not state probabilities, or of the vote."""
        if len(self.estimators) == 1:
            return np.asarray(self.estimators[0].predict(x), np.int64)
        return np.mean([each.predict_proba(x) for each in self.estimators], axis=0).argmax(axis=1)

    def n_parameters(self) -> int:
        """Of models (`models.count`), calibrations, and what is known of each feature before them."""
        return sum(map(_count, self.estimators))


def fit_members(recipe: Classical, params: Params, sheet: Sheet, *, seed: int, calibrate: bool = True) -> Members:
    """Fit the model of a recipe; SVMs get probabilities by Platt's sigmoid on `inner_folds`.

    Args:
        params: of the model, instead of those of the recipe. calibrate: False leaves SVMs with labels only.

    Raises:
        TrainingError: fewer than two classes, or a class too small for what the recipe does.
        ConfigError: scikit-learn does not take a value.
    """
    two_classes(sheet)
    made = make_members(recipe.model.name, params, seed=seed)
    uncertain = [calibrate and not hasattr(each, "predict_proba") for each in made]
    folds, folding = inner_folds(sheet, seed=seed) if any(uncertain) else ([], "")
    parts = [sheet.y, *(sheet.y[learned] for learned, _ in folds)]
    sampler, sampling = make_sampler(recipe.balance, smallest=_smallest(parts, sheet.classes), seed=seed)
    fitted, notes = [], [folding, sampling]
    with _told(recipe.model.name, notes):
        for each, needs in zip(made, uncertain, strict=True):
            pipeline = make_pipeline([*_before(recipe, sheet, seed), ("balance", sampler), ("model", each)])
            fitted.append(_calibrated(pipeline, folds, sheet) if needs else pipeline.fit(sheet.x, sheet.y))
            fitted[-1].predict(sheet.x[:1])  # what cannot label says so here
    for each in fitted:
        _one_thread(each)
    return Members(tuple(fitted), tuple(dict.fromkeys(filter(None, notes))))


def inner_folds(sheet: Sheet, *, seed: int) -> tuple[list[Split], str]:
    """Parts of the training part, by whole groups if every class is then in every part that is learned from; and a note ("" for none).

    Raises:
        TrainingError: a class has one crop.
    """
    present, n = np.unique(sheet.y, return_counts=True)
    if n.min() < 2:
        raise TrainingError(
            f"class {sheet.classes[present[n.argmin()]]!r} has one crop in the training part; calibration and search hold some out, "
            "so bring more or leave that class out"
        )
    rows = np.arange(len(sheet.y))
    for whole in (True, False):
        for k in range(FOLDS, 1, -1):
            cutter = (StratifiedGroupKFold if whole else StratifiedKFold)(k, shuffle=True, random_state=seed)
            if len(set(sheet.groups.tolist()) if whole else rows) < k or n.max() < k:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a class with fewer crops than parts: looked at below
                found = [(learned, held) for learned, held in cutter.split(rows, sheet.y, sheet.groups)]
            if all(len(held) and len(np.unique(sheet.y[learned])) == len(present) for learned, held in found):
                return found, "" if whole else "inner folds share groups: a class lies in one group of the training part"
    raise TrainingError("the training part is too small to hold crops out for calibration and search; bring more")


def two_classes(sheet: Sheet) -> None:
    """Raises TrainingError: there is nothing to tell apart."""
    present = np.unique(sheet.y)
    if len(present) < 2:
        of = f"only crops of {sheet.classes[present[0]]!r}" if len(present) else "no crops"
        raise TrainingError(f"the training part has {of}; a classifier needs two classes (of {', '.join(sheet.classes)})")


def _before(recipe: Classical, sheet: Sheet, seed: int) -> Iterator[tuple[str, Any]]:
    yield "impute", SimpleImputer(strategy="median", keep_empty_features=True)
    if recipe.scale != "none":
        yield "scale", SCALERS[recipe.scale]()
    if recipe.pca is not None:
        yield "pca", PCA(recipe.pca, svd_solver="full", random_state=seed)


def _calibrated(pipeline: Any, folds: Sequence[Split], sheet: Sheet) -> Any:
    """The pipeline fitted to all rows; its sigmoids to what it said of each row when the row's group was held out."""
    fitted = CalibratedClassifierCV(pipeline, method="sigmoid", cv=list(folds), ensemble=False).fit(sheet.x, sheet.y)
    return fitted.set_params(cv=None)  # row numbers are no part of a model


def _smallest(parts: Sequence[NDArray[np.int64]], classes: Sequence[str]) -> tuple[str, int]:
    sizes = [(n, classes[label]) for part in parts for label, n in Counter(part.tolist()).items()]
    n, name = min(sizes)
    return name, n


def _one_thread(estimator: Any) -> None:
    """Forests add up their trees' votes in the order in which threads finish, so the last bit would depend on timing."""
    model = getattr(estimator, "named_steps", {}).get("model")
    if model is not None and hasattr(model, "n_jobs"):
        model.set_params(n_jobs=1)


@contextmanager
def _told(name: str, notes: list[str]) -> Iterator[None]:
    """scikit-learn's complaints in our words; what it only warns of goes to `notes`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except InvalidParameterError as error:
            raise ConfigError(f"{name}: {error}") from error
        except ValueError as error:
            raise TrainingError(f"{name}: cannot be fitted to these crops: {error}") from error
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            notes.append(f"{name}: {str(warning.message).splitlines()[0]}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _count(estimator: Any) -> int:
    """`models.count`, two numbers a sigmoid, and one or more a feature for each step before the model."""
    if isinstance(estimator, CalibratedClassifierCV):
        (inner,) = estimator.calibrated_classifiers_
        return _count(inner.estimator) + 2 * len(inner.calibrators)
    steps = dict(estimator.named_steps)
    total = count(steps["model"]) + steps["impute"].statistics_.size
    if "scale" in steps:
        total += 2 * steps["scale"].scale_.size
    if "pca" in steps:
        total += steps["pca"].components_.size + steps["pca"].mean_.size
    return int(total)
