"""Time contestants side by side: one process, A B A B, so that a busy moment of the machine hits all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Name = TypeVar("Name")


@dataclass(frozen=True)
class Spread:
    """What repeated measurements say: the median, the middle half, the extremes, and how many there were."""

    median: float
    q25: float
    q75: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, four digits."""
        return {name: value if name == "n" else float(f"{value:.4g}") for name, value in asdict(self).items()}


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    q25, median, q75 = np.percentile(values, (25, 50, 75))
    return Spread(float(median), float(q25), float(q75), float(min(values)), float(max(values)), len(values))


def interleave(contestants: Mapping[Name, Callable[[], int]], *, rounds: int, warm: bool = True) -> dict[Name, list[float]]:
    """Seconds per unit of each contestant, one number a round; every round calls all of them in order.

    Args:
        contestants: by name; each does its work and returns how many units (fields) that was, at least 1.
        warm: call each once before the first round, not counted.
    """
    if warm:
        for work in contestants.values():
            work()
    seconds: dict[Name, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.perf_counter()
            n_units = work()
            seconds[name].append((time.perf_counter() - started) / n_units)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times longer `slow` took than `fast`, round by round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def on_cores(work: Callable[[Item], object], items: Sequence[Item], *, threads: int) -> Callable[[], int]:
    """A contestant that does `work` on every item in so many threads; a unit is an item."""

    def run() -> int:
        if threads == 1:
            for item in items:
                work(item)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, items))
        return len(items)

    return run
