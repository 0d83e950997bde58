"""A ratio that falls below the committed one, less its tolerance, is named; nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import regression
from benchmarks.regression import expectation, falls, flatten, other_machine

MACHINE = {"cores": 2, "processor": "any", "instructions": ["avx2"], "gpus": []}


def report(naive: float = 6.0, sahi: float = 4.0) -> dict[str, Any]:
    def told(median: float) -> dict[str, float]:
        return {"median": median, "low": median - 1, "high": median + 1, "n": 5}

    return {
        "machine": MACHINE,
        "ratio_naive": {"large": {"ours": told(naive)}},
        "ratio_sahi": {"same": told(sahi)},
        "auto": {"best": "onnx", "share_of_best": told(1.0)},
        "fields_per_second": {"large": {"ours": told(9.0)}},
    }


def test_ratios_are_taken_and_speeds_are_not() -> None:
    """Fields a second are the machine's, ratios are the program's."""
    assert flatten(report()) == {"ratio_naive.large.ours": 6.0, "ratio_sahi.same": 4.0, "auto.share_of_best": 1.0}


def test_a_run_does_not_fall_below_itself() -> None:
    assert falls(report(), expectation(report())) == ()


@pytest.mark.parametrize(("naive", "n_falls"), [(9.0, 0), (5.2, 0), (5.1, 0), (5.0, 1)])
def test_a_fall_within_the_tolerance_is_none(naive: float, n_falls: int) -> None:
    assert len(falls(report(naive=naive), expectation(report(naive=6.0), tolerance=0.15))) == n_falls


def test_a_fall_says_what_came_and_what_was_expected() -> None:
    (fall,) = falls(report(sahi=2.0), expectation(report(), tolerance=0.1))
    assert str(fall) == "ratio_sahi.same: 2, at least 3.6 was expected"


def test_a_ratio_that_was_not_measured_is_a_fall() -> None:
    found = {**report(), "ratio_sahi": {}}
    (fall,) = falls(found, expectation(report()))
    assert str(fall) == "ratio_sahi.same: not measured, at least 3.4 was expected"


def test_a_ratio_that_is_not_a_number_is_a_fall() -> None:
    assert len(falls(report(sahi=float("nan")), expectation(report()))) == 1


def test_another_machine_is_named() -> None:
    expected = expectation(report())
    assert other_machine(report(), expected) is None
    assert other_machine({**report(), "machine": {**MACHINE, "cores": 64}}, expected) == "cores: measured on 64, expected for 2"


def test_the_committed_ratios_are_complete() -> None:
    expected = regression.read_expected()
    assert expected["tolerance"] > 0
    assert {name.split(".")[0] for name in expected["ratios"]} >= {"ratio_naive", "ratio_sahi", "fraction_of_ceiling", "auto"}


@pytest.mark.parametrize(("naive", "code"), [(6.0, 0), (1.0, 1)])
def test_check_says_by_its_exit_code_whether_something_fell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, naive: float, code: int
) -> None:
    (tmp_path / "expected.json").write_text(json.dumps(expectation(report())))
    (tmp_path / "bench.json").write_text(json.dumps({**report(naive=naive), "load_before": 0.0}))
    monkeypatch.setattr(regression, "EXPECTED", tmp_path / "expected.json")
    monkeypatch.setattr(command, "render", lambda found: "")
    assert command.main(["--read", str(tmp_path / "bench.json"), "--check"]) == code
    assert ("slower: ratio_naive.large.ours: 1, at least 5.1" in capsys.readouterr().err) == bool(code)


def test_a_run_that_is_not_there_is_a_mistake_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["--read", str(tmp_path / "none.json"), "--check"]) == 2
    assert "run `make bench` first" in capsys.readouterr().err
