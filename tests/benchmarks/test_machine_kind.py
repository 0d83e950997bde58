"""The machine is told by its kind, and one benchmark has it to itself."""

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.machine import alone, describe
from smear.errors import ConfigError


def test_the_machine_is_told_by_its_kind_and_never_by_its_name() -> None:
    about = describe()
    assert about["cores"] >= 1
    assert about["memory_gb"] > 0
    assert about["packages"]["numpy"]
    assert about.keys() == {"cores", "processor", "instructions", "memory_gb", "gpus", "system", "python", "packages"}


def test_a_second_benchmark_in_the_same_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with alone(tmp_path):
        with pytest.raises(ConfigError, match="another benchmark"), alone(tmp_path):
            pass
        assert command.main(["--quick", "--out", str(tmp_path)]) == 2
    assert "another benchmark is running there" in capsys.readouterr().err


def test_the_folder_is_free_again_when_a_benchmark_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path):
        pass


@pytest.mark.parametrize(
    ("words", "said"), [(["--repeats", "0"], "--repeats: must be at least 1"), (["--kind", "huge"], "--kind: must be one of")]
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], said: str) -> None:
    assert command.main([*words, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
