"""A line of work: each stage runs a bounded number of items ahead of the next one, in threads of its own; order never changes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_CPU_LANES = 4  # more hold more fields and activations in memory than they gain in speed
AHEAD = 2  # items waiting for each thread of a stage: enough that it never starves, few enough that memory stays small


@dataclass(frozen=True)
class Pace:
    """How many threads each stage of an analysis has; 0 does its work in the calling thread, when it is asked for.

    readers decode fields, lanes find and label cells (the networks are called by all lanes at once), writers draw and keep results.
    """

    readers: int = 0
    lanes: int = 0
    writers: int = 0

    @classmethod
    def of_machine(cls, *, lanes: int) -> Self:
        """Readers and writers for that many lanes; they share the cores with a CPU's lanes and feed a GPU's."""
        spare = max(1, n_cores() // 2)
        return cls(readers=spare, lanes=lanes, writers=spare)


def n_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(work: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Result]:
    """`map(work, items)`, in order, by `threads` threads that work on at most `AHEAD` items each beyond the one asked for.

    An exception of `work` or of `items` reaches the caller in its place; what has not begun by then is dropped, what has
    begun is finished first. 0 threads: the plain `map`.
    """
    if threads == 0:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix=getattr(work, "__name__", "work"))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while pending and (len(pending) >= threads * AHEAD or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
