"""Every true white cell and every extra detection in exactly one count, and the list of those that went wrong."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.metrics.pairs import EXTRAS, OWNERS, OWNERS_OF_UNKNOWN, Pair

GOOD = ("right", "found")
ERRORS_PER_OWNER = 200  # listed; the counts are complete


def owner_counts(pairs: Sequence[Pair], classes: Sequence[str]) -> dict[str, Any]:
    """How many pairs end in each owner; every count is whole, and a pair is in one of `owners` or `extras`.

    Returns:
        `owners`: true cells of known kind, by `OWNERS`. `owners_by_class`: the same for each of the classes. `owners_white`: all true white
        cells whatever their kind, by `OWNERS_OF_UNKNOWN` (right, wrong and review are found). `extras`: extra detections, by `EXTRAS`.
    """
    known = [p for p in pairs if p.truth is not None and p.truth >= 0]
    whole = [p.owner if p.owner in OWNERS_OF_UNKNOWN else "found" for p in pairs if p.truth is not None]
    return {
        "owners": _count([p.owner for p in known], OWNERS),
        "owners_by_class": {name: _count([p.owner for p in known if p.truth == i], OWNERS) for i, name in enumerate(classes)},
        "owners_white": _count(whole, OWNERS_OF_UNKNOWN),
        "extras": _count([p.owner for p in pairs if p.truth is None], EXTRAS),
    }


def list_errors(
    pairs: Sequence[Pair], names: Sequence[str], classes: Sequence[str], *, unknown: str = "WBC", per_owner: int = ERRORS_PER_OWNER
) -> tuple[list[dict[str, Any]], int]:
    """Every pair that is not `right` (or `found`, where no kind is known), for a gallery, and how many there are.

    Args:
        names: the id of each field. unknown: what to call the truth of a white cell of unknown kind.
        per_owner: at most so many of each owner are listed; the total is complete.

    Returns:
        Rows `field`, `owner`, `truth` (None for an extra detection), `label` and its probability `p` (None without), `score` of the
        detection (None for a missed cell), `box` (x0 y0 x1 y1, pixels, of the detection, or of the truth where it was missed) and
        `true_box` (None for an extra detection). Owners in the order of `OWNERS` and `EXTRAS`, the most confident mistakes first.
    """
    rows = [_row(p, names, classes, unknown) for p in pairs if p.owner not in GOOD]
    order = (*OWNERS, *EXTRAS)
    rows.sort(key=lambda r: (order.index(r["owner"]), -(r["p"] or 0), -(r["score"] or 0), r["field"], r["box"]))
    kept, seen = [], Counter[str]()
    for row in rows:
        seen[row["owner"]] += 1
        if seen[row["owner"]] <= per_owner:
            kept.append(row)
    return kept, len(rows)


def _row(pair: Pair, names: Sequence[str], classes: Sequence[str], unknown: str) -> dict[str, Any]:
    label, cell = pair.label, pair.found
    box = cell.box if cell is not None else pair.true_box
    return {
        "field": names[pair.field],
        "owner": pair.owner,
        "truth": None if pair.truth is None else unknown if pair.truth < 0 else classes[pair.truth],
        "label": None if label is None else classes[label],
        "p": None if label is None else float(pair.probabilities[label]),
        "score": None if cell is None else cell.detection_score,
        "box": _plain(box),
        "true_box": _plain(pair.true_box),
    }


def _plain(box: NDArray[np.float32] | None) -> list[float] | None:
    return None if box is None else [float(str(v)) for v in np.asarray(box, np.float32)]


def _count(owners: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    counted = Counter(owners)
    if counted.keys() - set(names):
        raise AssertionError(f"owners {sorted(counted)} are not among {names}")
    return {name: counted[name] for name in names}
