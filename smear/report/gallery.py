"""Which cells a person gets to see: the doubtful ones and a spread of the others; the errors, grouped by their owner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GALLERY_LIMIT = 60  # cells shown per label
ERROR_LIMIT = 16  # errors shown per owner: with ten owners and 20 kB a picture, a third of the size that a report may have
OWNERS = {  # in the order shown: what it is called, and whose error it is
    "wrong": ("Labelled wrongly", "classifier"),
    "review": ("Sent to review", "classifier"),
    "missed": ("Missed", "detector"),
    "doubled": ("Counted twice", "detector"),
    "loose": ("Box too loose for the crop", "detector"),
    "background": ("Extra: background", "detector"),
    "debris": ("Extra: debris", "detector"),
    "red cell or platelet": ("Extra: red cell or platelet", "detector"),
    "duplicate": ("Extra: duplicate", "detector"),
    "ignored": ("Extra: in an ignored region", ""),
}


@dataclass(frozen=True)
class GalleryItem:
    """One cell to show: PNG or JPEG bytes; `label` is "" without a classifier, `probability` is that of the label.

    Which cells are shown is chosen before their pictures are read: `image` is empty until then.
    """

    field: str
    cell: int
    label: str
    probability: float
    image: bytes
    needs_review: bool = False


@dataclass(frozen=True)
class ErrorItem:
    """One error to show: its surroundings with the boxes drawn, PNG or JPEG bytes; see `metrics["errors"]` for the rest."""

    owner: str
    field: str
    truth: str | None
    label: str | None
    p: float | None
    score: float | None
    image: bytes


def choose_cells(items: Sequence[GalleryItem], limit: int = GALLERY_LIMIT) -> tuple[GalleryItem, ...]:
    """At most `limit` cells, the most doubtful first: all are shown when they fit, else half are the most doubtful and the rest are spread
    evenly over the surer ones. Deterministic, whatever the order given."""
    ranked = sorted(items, key=lambda g: (g.probability, g.field, g.cell))
    if len(ranked) <= limit:
        return tuple(ranked)
    n_doubtful = limit - limit // 2
    rest, n_rest = ranked[n_doubtful:], limit // 2
    return tuple(ranked[:n_doubtful] + [rest[round(i * (len(rest) - 1) / max(n_rest - 1, 1))] for i in range(n_rest)])


def choose_errors(errors: Sequence[Mapping[str, Any]], limit: int = ERROR_LIMIT) -> list[Mapping[str, Any]]:
    """At most `limit` errors of each owner, owners in the order of `OWNERS`; the most confident mistakes first, since they teach most."""
    chosen = []
    for owner in sorted({e["owner"] for e in errors}, key=_rank):
        mine = [e for e in errors if e["owner"] == owner]
        chosen += sorted(mine, key=lambda e: (-(e.get("p") or 0), -(e.get("score") or 0), e["field"], e["box"]))[:limit]
    return chosen


def owner_title(owner: str) -> str:
    """What the page calls an owner."""
    return OWNERS.get(owner, (owner.capitalize(), ""))[0]


def owner_fault(owner: str) -> str:
    """Whose error it is: detector, classifier, or "" when unknown."""
    return OWNERS.get(owner, ("", ""))[1]


def _rank(owner: str) -> tuple[int, str]:
    names = list(OWNERS)
    return (names.index(owner) if owner in OWNERS else len(names), owner)
