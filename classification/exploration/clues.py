"""What gives the class away: how well one thing alone tells it on groups that were not learned from, stain and source before all.

The rule is the simplest there is: the class that is commonest, in shares of the classes, among the crops of the same stain, source or
eighth of a size (naive Bayes with equal classes). A number says how far two labellings agree: adjusted mutual information.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.exploration.crops import Crops
from classification.exploration.numbers import CHANNELS, Column, Numbers
from smear.audit.stain import alignment
from smear.audit.suspects import N_FOLDS

N_PARTS = 8  # that a number is cut into, equally full
TELLS = 0.5  # of the way from chance to certain: a balanced accuracy of 0.75 with two classes; from here on a clue is a warning
AGREES = 0.5  # adjusted mutual information from which it is one as well, however few groups there are to learn from
FEW_GROUPS = 10  # with fewer an agreement may be chance
COLOUR_WORDS = {"L": "lightness", "a": "green to red", "b": "blue to yellow"}


def find_clues(crops: Crops, numbers: Numbers, *, seed: int) -> list[dict[str, Any]]:
    """One row a thing that may tell the class, shortcuts first, then what may be the cell's own.

    `name`, `kind` ("shortcut": says nothing of the cell; "size" or "colour": of the cell, or of its slide), `n_values`, `agreement`
    (adjusted mutual information, 0 chance, 1 the same), `balanced_accuracy` (with groups apart; None: too few), `strength` (0 chance,
    1 certain) and `tells`. Nothing for a set of one class.
    """
    labels = crops.table.labels
    if len(np.unique(labels)) < 2:
        return []
    things: list[tuple[str, str, NDArray[np.int64]]] = [
        ("stain", "shortcut", _codes(crops.stains)),
        ("source", "shortcut", _codes(crops.sources)),
        ("side of the crop", "shortcut", parts(numbers.sizes["crop_side_px"])),
        *((f"ground, {COLOUR_WORDS[c]}", "shortcut", parts(numbers.ground[c])) for c in CHANNELS),
        ("diameter of the cell", "size", parts(numbers.sizes["cell_diameter_px"])),
        ("diameter of the nucleus", "size", parts(numbers.sizes["nucleus_diameter_px"])),
        *((f"cell, {COLOUR_WORDS[c]}", "colour", parts(numbers.cell[c])) for c in CHANNELS),
    ]
    groups = _codes(crops.groups)
    varied = [thing for thing in things if len(np.unique(thing[2])) > 1]
    return [{"name": name, "kind": kind, **clue(codes, labels, groups, seed=seed)} for name, kind, codes in varied]


def clue(codes: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int) -> dict[str, Any]:
    """How well N values (codes from 0) tell N labels of two classes or more; see `find_clues`."""
    agreement = alignment([str(i) for i in codes], [str(i) for i in labels])
    told = _told(codes, labels, groups, seed)
    chance = 1 / len(np.unique(labels))
    strength = None if told is None else (told - chance) / (1 - chance)
    tells = agreement >= AGREES or (strength is not None and strength >= TELLS)
    return {"n_values": int(codes.max()) + 1, "agreement": agreement, "balanced_accuracy": told, "strength": strength, "tells": tells}


def parts(values: Column, n: int = N_PARTS) -> NDArray[np.int64]:
    """(N,) the part of each value, by quantiles, equal values together; what is not known is a part of its own."""
    known = np.isfinite(values)
    cuts = np.unique(np.quantile(values[known], np.arange(1, n) / n)) if known.any() else np.zeros(0)
    return _codes(np.where(known, np.searchsorted(cuts, np.nan_to_num(values), side="right"), -1))


def _told(codes: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> float | None:
    """Balanced accuracy, each crop called by the crops of other groups; None: a class or the set has only one group or crop."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.naive_bayes import CategoricalNB

    n_groups = min(len(np.unique(groups[labels == c])) for c in np.unique(labels))
    n_folds = min(N_FOLDS, n_groups)
    if n_folds < 2:
        return None
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    rule = CategoricalNB(fit_prior=False, min_categories=int(codes.max()) + 1)
    said = cross_val_predict(rule, codes[:, None], labels, groups=groups, cv=folds)
    return float(balanced_accuracy_score(labels, said))


def _codes(values: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
