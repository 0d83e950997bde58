import itertools
from collections.abc import Iterator

import pytest

from smear import watch as module
from smear.watch import IMAGES_PER_S, WAITING_SHARE, Watch, median_pace


class Clock:
    """A clock that only stands where it was put."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def slow(clock: Clock, n: int, seconds: float) -> Iterator[int]:
    for i in range(n):
        clock.now += seconds
        yield i


def test_waiting_is_the_time_until_an_item_is_there(clock: Clock) -> None:
    watch = Watch()
    for _ in watch.items(slow(clock, 4, 1.0)):
        clock.now += 3.0
    assert watch.pace(8) == {IMAGES_PER_S: 0.5, WAITING_SHARE: 0.25}


def test_a_loop_that_is_left_early_counts_what_it_did(clock: Clock) -> None:
    watch = Watch()
    for _ in itertools.islice(watch.items(slow(clock, 4, 1.0)), 1):
        clock.now += 1.0
    assert watch.pace(1)[WAITING_SHARE] == pytest.approx(0.5)


def test_each_loop_begins_at_nought(clock: Clock) -> None:
    watch = Watch()
    for n in (4, 2):
        for _ in watch.items(slow(clock, n, 1.0)):
            clock.now += 1.0
    assert watch.pace(2) == {IMAGES_PER_S: 0.5, WAITING_SHARE: 0.5}


def test_the_median_leaves_out_epochs_that_were_not_timed() -> None:
    rows = [{"loss": 1.0}, *({IMAGES_PER_S: v, WAITING_SHARE: v / 10} for v in (1.0, 9.0, 2.0))]
    assert median_pace(rows) == {IMAGES_PER_S: 2.0, WAITING_SHARE: 0.2}
    assert median_pace([{"loss": 1.0}]) == {}
