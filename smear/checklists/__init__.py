"""Reporting checklists as tables: each item asks for one fact of a model card, and is answered from it or marked open."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["answered", "partly", "open", "not applicable"]
STATUSES: tuple[Status, ...] = ("answered", "partly", "open", "not applicable")


@dataclass(frozen=True)
class Item:
    """One item of a published checklist: its number there, what it asks (our words), and the fact that answers it."""

    number: str
    section: str
    asks: str
    fact: str


@dataclass(frozen=True)
class Checklist:
    """A published checklist: `cite` names the publication, whose wording is the one to follow."""

    name: str
    cite: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Fact:
    """What a card says to one question; `status` "open" has no text, "partly" says what is known and leaves the rest open."""

    status: Status
    text: str = ""


OPEN = Fact("open")


def answered(text: str) -> Fact:
    return Fact("answered", text)


def partly(text: str) -> Fact:
    return Fact("partly", text)


def fill(checklist: Checklist, facts: Mapping[str, Fact]) -> dict[str, Any]:
    """The checklist with its answers, as plain values: `name`, `cite`, `counts` per status (they add up to the items) and `items`.

    Raises:
        KeyError: an item asks for a fact that is not there, which is a mistake of ours.
    """
    items = [_filled(item, facts[item.fact]) for item in checklist.items]
    counts = {status: sum(i["status"] == status for i in items) for status in STATUSES}
    return {"name": checklist.name, "cite": checklist.cite, "counts": counts, "items": items}


def fact_names(checklists: Sequence[Checklist]) -> tuple[str, ...]:
    """Every fact that some item asks for, once, in the order of the items."""
    return tuple(dict.fromkeys(item.fact for checklist in checklists for item in checklist.items))


def _filled(item: Item, fact: Fact) -> dict[str, str]:
    return {**asdict(item), "status": fact.status, "answer": fact.text}
