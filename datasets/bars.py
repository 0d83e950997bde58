"""The one progress bar of the data commands."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], what: str, *, shown: bool, total: int | None = None) -> Iterable[T]:
    """The same items, with a bar on stderr while they pass when `shown`; `total` where the length is not known."""
    if not shown:
        return items
    return rich_track(items, what, total, console=Console(stderr=True))
