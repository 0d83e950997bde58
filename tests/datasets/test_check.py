import json

import numpy as np
import pytest

from datasets import check
from smear import images


@pytest.fixture
def leaking(prepared, paint):
    """A prepared set whose test image is the mirror of a training image."""
    data = prepared("leaking", {"train": [1, 2], "test": [3]})
    images.write_image(data.parent / "images/test/field_3.png", np.ascontiguousarray(paint(1)[0][:, ::-1]))
    return data.parent


def run(*arguments: object) -> int:
    return check.main([*map(str, arguments), "--quiet"])


def test_a_set_without_twins_passes(prepared, capsys):
    assert run(prepared("clean", {"train": [1, 2], "test": [3]}).parent) == 0
    assert "3 images, 0 pairs of twins" in capsys.readouterr().out


def test_a_leak_is_told_and_exits_1(leaking, tmp_path):
    assert run(leaking, "--out", tmp_path / "report") == 1
    report = json.loads((tmp_path / "report/check.json").read_text())
    (row,) = report["twins"]
    assert report["leaks"] == 1
    assert (row["kind"], row["transform"], sorted(row["splits"])) == ("near", "flip-h", ["test", "train"])
    assert row["distance"] < 0.1
    assert {row["a"], row["b"]} == {str(leaking / "images/train/field_1.png"), str(leaking / "images/test/field_3.png")}


def test_twins_in_another_set_are_found(prepared, capsys):
    one, two = prepared("one", {"train": [1, 2]}), prepared("two", {"test": [2, 3]})
    assert run(one.parent, "--against", two.parent) == 1
    assert "exact  train - test" in capsys.readouterr().out


def test_a_plain_folder_has_no_splits_and_cannot_leak(paint, tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        images.write_image(tmp_path / "plain" / f"{name}.png", paint(seed)[0])
    assert run(tmp_path / "plain") == 0
    assert "exact  no split - no split" in capsys.readouterr().out


def test_mistakes_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "gone") == 2
    assert run(tmp_path / "empty") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no such folder" in first
    assert "no images in it" in second
