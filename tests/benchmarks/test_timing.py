"""Contestants take turns, and a ratio is taken within a round."""

import time

import pytest

from benchmarks.timing import interleave, on_cores, ratio, spread


def test_contestants_take_turns_after_a_warm_up() -> None:
    called: list[str] = []

    def contestant(name: str) -> int:
        called.append(name)
        return 1

    seconds = interleave({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=2)
    assert called == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_seconds_are_those_of_one_unit() -> None:
    def slow() -> int:
        time.sleep(0.02)
        return 4

    (seconds,) = interleave({"slow": slow}, rounds=1, warm=False)["slow"]
    assert 0.005 <= seconds < 0.02


def test_a_ratio_compares_the_same_round() -> None:
    """Everything was twice as slow in the second round, so the ratio did not change."""
    found = ratio([2.0, 4.0], [1.0, 2.0])
    assert (found.low, found.median, found.high, found.n) == (2.0, 2.0, 2.0, 2)


def test_a_spread_names_the_middle_and_the_extremes() -> None:
    found = spread([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.low, found.q25, found.median, found.q75, found.high) == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert spread([0.123456]).as_json()["median"] == 0.1235


@pytest.mark.parametrize("threads", [1, 3])
def test_every_item_is_worked_on_once(threads: int) -> None:
    seen: list[int] = []
    assert on_cores(seen.append, range(7), threads=threads)() == 7
    assert sorted(seen) == list(range(7))


def test_a_failure_in_a_thread_is_not_lost() -> None:
    def fail(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError):
        on_cores(fail, [1, 2], threads=2)()
