"""A line of work gives what `map` gives, in order, whatever the threads; it runs ahead, but not far."""

import threading
import time

import pytest

from smear.line import AHEAD, Pace, ahead


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
class TestOrder:
    def test_nothing_gives_nothing(self, threads):
        assert list(ahead(str, [], threads=threads)) == []

    def test_results_come_in_the_order_of_the_items(self, threads):
        def slow_at_first(i: int) -> int:
            time.sleep(0.01 if i % 3 == 0 else 0)
            return i * i

        assert list(ahead(slow_at_first, range(20), threads=threads)) == [i * i for i in range(20)]

    def test_an_exception_comes_in_its_place(self, threads):
        results = ahead(lambda i: 1 // i, [1, -1, 0, 1], threads=threads)
        assert [next(results), next(results)] == [1, -1]
        with pytest.raises(ZeroDivisionError):
            next(results)

    def test_an_exception_of_the_items_comes_after_those_before_it(self, threads):
        def items():
            yield 1
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            list(ahead(str, items(), threads=threads))


def test_two_threads_work_at_once():
    meeting = threading.Barrier(2, timeout=5)
    assert sorted(ahead(lambda _: meeting.wait(), range(2), threads=2)) == [0, 1]


def test_it_runs_ahead_but_not_far():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = ahead(lambda i: time.sleep(0.001) or i, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 2 * AHEAD + 1
    results.close()
    assert len(taken) < 100


def test_what_has_not_begun_is_dropped_and_what_has_begun_is_finished():
    begun, done = [], []

    def work(i: int) -> int:
        begun.append(i)
        time.sleep(0.002)
        done.append(i)
        return i

    results = ahead(work, range(50), threads=2)
    assert next(results) == 0
    results.close()
    assert sorted(begun) == sorted(done)
    assert 49 not in begun


def test_stages_can_be_chained():
    doubled = ahead(lambda i: 2 * i, range(30), threads=2)
    assert list(ahead(str, (i + 1 for i in doubled), threads=3)) == [str(2 * i + 1) for i in range(30)]


def test_the_pace_of_a_machine_has_somebody_for_every_stage():
    pace = Pace.of_machine(lanes=2)
    assert pace.lanes == 2
    assert pace.readers >= 1
    assert pace.writers >= 1
