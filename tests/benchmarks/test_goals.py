"""Each goal is judged by the right number of a report."""

from typing import Any

import pytest

from benchmarks.goals import goals


def told(median: float) -> dict[str, float]:
    return {"median": median}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "main": "large",
        "runtimes": ["onnx", "openvino-bf16", "openvino-int8"],
        "ratio_naive": {
            "large": {
                "ours": told(6.5),
                "ours, pictures": told(99.0),
                "ours / script, all cores": told(3.5),
                "ours, onnx": told(3.0),
                "ours, openvino-bf16": told(4.5),
                "ours, openvino-int8": told(6.6),
            }
        },
        "ratio_sahi": {"ours, same windows": told(4.1), "ours, own windows": told(9.0)},
        "fraction_of_ceiling": {"large": {"slowest": "detect", "ours": told(0.8)}},
        "auto": {"best": "openvino-int8", "share_of_best": told(0.99)},
        "startup": {"first field": told(1.5), "help": told(0.1)},
        **changes,
    }


def got(found: dict[str, Any]) -> dict[str, float]:
    return {goal["name"]: goal["got"] for goal in goals(found)}


def test_a_line_without_eight_bits_is_the_fastest_by_hand_that_is_not() -> None:
    assert got(report())["the same by hand, without 8-bit networks, large"] == 4.5


def test_all_are_reached_or_the_one_that_is_not_is_named() -> None:
    assert all(goal["reached"] for goal in goals(report()) if goal["reached"] is not None)
    slow = report(ratio_sahi={"ours, same windows": told(3.9)})
    assert [goal["name"] for goal in goals(slow) if goal["reached"] is False] == ["times as fast as SAHI in the same windows"]


@pytest.mark.parametrize(("seconds", "reached"), [(2.9, True), (3.1, False)])
def test_a_start_is_better_when_it_is_shorter(seconds: float, reached: bool) -> None:
    found = {g["name"]: g["reached"] for g in goals(report(startup={"first field": told(seconds), "help": told(0.1)}))}
    assert found["first field, seconds"] is reached


def test_the_script_given_all_cores_stands_beside_without_a_goal() -> None:
    (goal,) = [g for g in goals(report()) if g["reached"] is None]
    assert goal == {"name": "the same given all cores, large", "got": 3.5, "reached": None}


def test_what_was_not_measured_is_no_goal() -> None:
    assert "auto as a share of the best by hand" not in got(report(auto={}))
