"""Labels in doubt, and how far features tell the classes at all: on groups apart, and at random, which flatters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.audit import suspects
from smear.errors import MissingExtra

METHOD = "confident learning (cleanlab) on gradient-boosted trees over handcrafted features, cross-validated by group and its twins"


def find_doubts(
    values: NDArray[np.float64], labels: NDArray[np.int64], classes: tuple[str, ...], groups: NDArray[np.int64], *, seed: int
) -> dict[str, Any]:
    """What cannot be believed about N labels.

    `method`, `skill` and `skill_random` (balanced accuracies with groups apart and with crops parted at random), `believable`, `why_not`
    (None: it was told) and `found`: one entry a suspect, `row`, `label`, `suggested`, `p_label`, `p_suggested`, the least believed first.

    Args:
        values: (N, F) features, NaN where there is none. groups: (N,) numbers from 0, see `copies.together`.
    """
    nothing: dict[str, Any] = {"method": METHOD, "skill": None, "skill_random": None, "n_looked_at": 0, "believable": False, "found": []}
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts >= suspects.MIN_PER_CLASS)
    if len(present) < 2:
        return {**nothing, "why_not": f"fewer than two classes have {suspects.MIN_PER_CLASS} crops"}
    rows = np.flatnonzero(np.isin(labels, present))
    given, names = np.searchsorted(present, labels[rows]), tuple(classes[i] for i in present)
    traits = values[rows].astype(np.float32)
    stated = suspects.cross_validated(traits, given, _numbered(groups[rows]), n_classes=len(names), seed=seed)
    flattered = suspects.cross_validated(traits, given, np.arange(len(rows)), n_classes=len(names), seed=seed)
    skill = suspects.skill(given, stated)
    told = {**nothing, "skill": skill, "skill_random": suspects.skill(given, flattered), "n_looked_at": len(rows)}
    try:
        found = suspects.find_suspects(given, stated, names)
    except MissingExtra as error:
        return {**told, "why_not": str(error)}
    doubted = [{**vars(each), "row": int(rows[each.row])} for each in found]
    return {**told, "believable": skill >= suspects.MIN_SKILL, "found": doubted, "why_not": None}


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
