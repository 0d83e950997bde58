"""A watch on a loop: how fast it goes, and what share of its time it waits for its next item."""

import time
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import TypeVar

Item = TypeVar("Item")
IMAGES_PER_S, WAITING_SHARE = "images_per_s", "waiting_share"  # their names in metrics.csv, results.csv and cards


class Watch:
    """Runs from the first item asked for until `pace` is called."""

    def __init__(self) -> None:
        self._began = self._waited = 0.0

    def items(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time until each is there counts as waiting."""
        self._began, self._waited = time.perf_counter(), 0.0
        asked = self._began
        for item in items:
            self._waited += time.perf_counter() - asked
            yield item
            asked = time.perf_counter()
        self._waited += time.perf_counter() - asked

    def pace(self, n_images: int) -> dict[str, float]:
        """`images_per_s`, and `waiting_share` in [0, 1], of a loop that went through so many images and ends now."""
        seconds = time.perf_counter() - self._began
        return {IMAGES_PER_S: n_images / seconds, WAITING_SHARE: self._waited / seconds}


def median_pace(epochs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of `images_per_s` and of `waiting_share` over those epochs that have them; empty when none has."""
    paces = [(row[IMAGES_PER_S], row[WAITING_SHARE]) for row in epochs if IMAGES_PER_S in row and WAITING_SHARE in row]
    return {name: median(values) for name, values in zip((IMAGES_PER_S, WAITING_SHARE), zip(*paces, strict=True), strict=False)}
