import json

import numpy as np
import pytest

from datasets import check
from datasets.convert import CropRecord, Record, write_crops, write_yolo
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


def test_the_report_tells_every_part_and_the_page_loads_nothing(leaking, tmp_path):
    (leaking / "labels/train/field_2.txt").write_text("0 .5 .5 0 .1\n0 .5 .5 .3 .3\n0 .5 .5 .3 .3\n")
    (leaking / "labels/train/stray.txt").write_text("")
    (leaking / "images/train/broken.png").write_bytes(b"no picture")
    assert run(leaking, "--out", tmp_path / "report") == 1
    report = json.loads((tmp_path / "report/check.json").read_text())
    assert report["leaks_by"]["twins in two splits"] == 1
    told = {(p["problem"], p["file"].rsplit("/", 1)[-1]) for part in ("images", "labels") for p in report[part]["problems"]}
    wanted = {("unreadable image", "broken.png"), ("zero area", "field_2.txt"), ("duplicated", "field_2.txt")}
    assert wanted | {("label file without an image", "stray.txt"), ("changed since it was prepared", "field_3.png")} <= told
    assert report["distributions"]["classes"]["train"]["images"] == 2
    assert report["suspects"]["found"] is None
    page = (tmp_path / "report/check.html").read_text()
    assert "1 leak between splits" in page
    assert 'src="http' not in page
    assert "<script" not in page


def test_a_slide_in_two_splits_is_a_leak(tmp_path, paint, capsys):
    parts = ((1, "train", "s1"), (2, "train", "s2"), (3, "test", "s2"))
    records = [Record(None, paint(i)[0], f"f{i}", split, paint(i)[1], slide=slide) for i, split, slide in parts]
    write_yolo(records, tmp_path / "slides", classes=("WBC", "RBC", "Platelets"), about={})
    assert run(tmp_path / "slides", "--out", tmp_path / "report") == 1
    assert "leak: slides in two splits: 1" in capsys.readouterr().out
    report = json.loads((tmp_path / "report/check.json").read_text())
    assert report["groups"]["slide"]["in_two_splits"] == [{"value": "s2", "splits": {"test": 1, "train": 1}}]


def test_copies_that_are_labelled_differently_are_told(paint, tmp_path, capsys):
    for name, seed in (("ALL/a", 1), ("HEM/b", 1), ("HEM/c", 2)):
        images.write_image(tmp_path / "plain" / f"{name}.png", paint(seed)[0])
    assert run(tmp_path / "plain") == 0
    assert "1  twins labelled differently" in capsys.readouterr().out


def test_swapped_classes_of_boxes_are_suspected(prepared, tmp_path):
    """Red cells and white cells differ in size and colour: of 24 fields one has its white cell called red."""
    root = prepared("swapped", {"train": list(range(24))}).parent
    path = root / "labels/train/field_5.txt"
    path.write_text("".join(("1" + line[1:] if line[0] == "0" else line) for line in path.read_text().splitlines(True)))
    run(root, "--out", tmp_path / "report")
    suspects = json.loads((tmp_path / "report/check.json").read_text())["suspects"]
    (found,) = suspects["found"]
    assert (found["file"].rsplit("/", 1)[-1], found["label"], found["suggested"]) == ("field_5.png", "RBC", "WBC")
    assert suspects["skill"] > 0.95


def test_predictions_may_be_given_for_a_crops_table(tmp_path, paint):
    rows = [CropRecord(paint(i)[0], f"c{i:02d}", "ALL" if i % 2 else "HEM", None, None, None, "train") for i in range(60)]
    write_crops(rows, tmp_path / "cells", crop=None, about={})
    stated = ["file,p_ALL,p_HEM"]
    stated += [f"crops/c{i:02d}.png,{p},{1 - p}" for i in range(60) for p in ([0.02] if (i % 2 == 0) != (i == 7) else [0.97])]
    (tmp_path / "p.csv").write_text("\n".join(stated) + "\n")
    assert run(tmp_path / "cells", "--probabilities", tmp_path / "p.csv", "--out", tmp_path / "report") == 0
    (found,) = json.loads((tmp_path / "report/check.json").read_text())["suspects"]["found"]
    assert (found["file"].rsplit("/", 1)[-1], found["label"], found["suggested"]) == ("c07.png", "ALL", "HEM")


def test_mistakes_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "gone") == 2
    assert run(tmp_path / "empty") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no such folder" in first
    assert "no images in it" in second
