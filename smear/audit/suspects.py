"""Suspected label errors: what a model that never saw a label would call otherwise, by confident learning.

Method: confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70; the package cleanlab), on out-of-sample probabilities. They come
from a file, or from gradient-boosted trees on plain traits (size, shape, colour, texture), cross-validated so that a field and its
twins are never on both sides. A suspect is a question to a person, not a correction: such traits tell a white cell from a platelet
well, and ALL from HEM badly.
"""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smear.errors import AnnotationError, MissingExtra

N_FOLDS = 5
MIN_PER_CLASS = 20  # labels of a class; with fewer it has no picture of its own
MIN_SKILL = 0.9  # balanced accuracy of the traits below which their doubts say more about them than about the labels
MAX_TRAINING = 20_000  # rows that a fold learns from: more cost time and change little
N_LEVELS = 64  # that a trait is cut into: scikit-learn 1.9 takes 20 times as long to cut weighted rows as to learn from them
TRAITS_METHOD = "confident learning (cleanlab) on gradient-boosted trees over size, shape, colour and texture, cross-validated by field"
FILE_METHOD = "confident learning (cleanlab) on the given probabilities, which must be out of sample"


@dataclass(frozen=True)
class Suspect:
    """One label in doubt: its row, the label it has, the one that fits better, and the probability of each, in [0, 1]."""

    row: int
    label: str
    suggested: str
    p_label: float
    p_suggested: float


def cross_validated(
    traits: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64], *, n_classes: int, seed: int = 0
) -> NDArray[np.float64]:
    """(N, C) probabilities of each row by a model that saw no row of its group; classes are equally likely beforehand.

    Args:
        traits: (N, T). labels: (N,) class indices, each class present. groups: (N,) what must not be learnt from and judged at once.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # on demand: most audits ask for no suspects

    rng, traits = np.random.default_rng(seed), _levels(traits)
    fold_of_group = rng.permutation(int(groups.max()) + 1) % N_FOLDS
    folds = fold_of_group[groups]
    probabilities = np.full((len(labels), n_classes), 1 / n_classes)
    for fold in range(N_FOLDS):
        train, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(held) or len(np.unique(labels[train])) < 2:
            continue
        train = rng.permutation(train)[:MAX_TRAINING]
        model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed)
        n = np.bincount(labels[train], minlength=n_classes)
        model.fit(traits[train], labels[train], sample_weight=np.sqrt(len(train) / np.maximum(n, 1))[labels[train]])
        probabilities[np.ix_(held, model.classes_)] = model.predict_proba(traits[held])
        missing = np.setdiff1d(np.arange(n_classes), model.classes_)
        probabilities[np.ix_(held, missing)] = 0.0
    return probabilities


def _levels(traits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, T) each trait as the number of its quantile, NaN where it is not known: trees see its order alone."""
    levels = np.full(traits.shape, np.nan, np.float32)
    for found, values in zip(levels.T, traits.T, strict=True):
        known = np.isfinite(values)
        if known.any():
            cuts = np.unique(np.quantile(values[known], np.arange(1, N_LEVELS) / N_LEVELS))
            found[known] = np.searchsorted(cuts, values[known], side="right")
    return levels


def find_suspects(labels: NDArray[np.int64], probabilities: NDArray[np.float64], classes: Sequence[str]) -> list[Suspect]:
    """The labels that confident learning doubts, the least believed first.

    Args:
        labels: (N,) class indices. probabilities: (N, C), rows sum to 1, out of sample.

    Raises:
        MissingExtra: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise MissingExtra("finding suspected label errors", "cleanlab", "audit") from error
    logging.getLogger("cleanlab").setLevel(logging.ERROR)
    given = probabilities[np.arange(len(labels)), labels]
    doubted = np.asarray(find_label_issues(labels, probabilities, filter_by="both", n_jobs=1), bool)
    order = [int(i) for i in np.argsort(given, kind="stable") if doubted[i]]
    best = probabilities.argmax(axis=1)
    return [Suspect(i, classes[labels[i]], classes[best[i]], float(given[i]), float(probabilities[i, best[i]])) for i in order]


def skill(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Balanced accuracy in [0, 1] of the probabilities against the labels as given: how far the suspects can be believed."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))


def read_probabilities(path: Path, files: Sequence[str], classes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which of N files have a row, (K,) indices, and their (K, C) probabilities.

    The CSV has a column `file` and one a class, called by its name or `p_` and its name; other columns do not matter.

    Args:
        files: N paths as the crops table has them.

    Raises:
        AnnotationError: a column is missing, no file has a row, or a value is no probability.
    """
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            rows = {row["file"]: row for row in csv.DictReader(opened) if row.get("file")}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path}: cannot read it ({error})") from error
    known = np.array([i for i, file in enumerate(files) if file in rows], np.int64)
    if not len(known):
        raise AnnotationError(f"{path}: no row for any image of the set; its column 'file' must say what crops.csv says")
    values = np.array([[_probability(rows[files[i]], name, path) for name in classes] for i in known], np.float64)
    total = values.sum(axis=1, keepdims=True)
    if (values < 0).any() or (values > 1).any() or (np.abs(total - 1) > 1e-2).any():
        raise AnnotationError(f"{path}: the probabilities of a row must lie in 0 to 1 and add up to 1")
    return known, np.asarray(values / total)


def _probability(row: Mapping[str, str | None], name: str, path: Path) -> float:
    text = next((row[key] for key in (name, f"p_{name}") if row.get(key) not in (None, "")), None)
    if text is None:
        raise AnnotationError(f"{path}: column {name!r} (or 'p_{name}') is missing or empty; give one a class")
    try:
        return float(text)
    except ValueError as error:
        raise AnnotationError(f"{path}: {name}: expected a number, got {text!r}") from error
