"""datasets.labelme: every shape that LabelMe draws becomes the box around it, or is told as dropped."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from datasets import labelme
from smear import annotations, images

SHAPE = (96, 128)


def run(source: Path, out: Path, *more: str) -> int:
    return labelme.main(["--source", str(source), "--out", str(out), "--quiet", *more])


def shape(label: str, points: list, kind: str | None = "rectangle") -> dict:
    made = {"label": label, "points": points, "group_id": None, "flags": {}}
    return {**made, "shape_type": kind} if kind else made


def write(path: Path, shapes: list[dict], **changes: object) -> Path:
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{path.stem}.png", "imageData": None}
    content |= {"imageHeight": SHAPE[0], "imageWidth": SHAPE[1], **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def source(tmp_path, paint) -> Path:
    """Two slides: shapes of every kind in the one, no cell in the other; a settings file and a picture nobody has looked at."""
    root = tmp_path / "source"
    for seed, name in enumerate(("slide ä/one", "b/two", "b/unseen")):
        images.write_image(root / f"{name}.png", paint(seed)[0])
    shapes = [
        shape("ALL", [[40.5, 50.25], [10, 20]]),  # drawn from right below
        shape("HEM", [[60, 10], [80, 5], [90, 30]], "polygon"),
        shape("HEM", [[60, 60], [63, 64]], "circle"),
        shape("RBC", [[100, 70], [119, 89]], "mask"),
        shape("RBC", [[1, 1], [5, 1], [3, 7]], None),
        *(shape("RBC", [[3, 3], [9, 9]], kind) for kind in ("point", "line", "linestrip")),
    ]
    write(root / "slide ä/one.json", shapes)
    write(root / "b/two.json", [])
    (root / "settings.json").write_text("[]")
    return root


def test_every_shape_becomes_the_box_around_it(source, tmp_path):
    assert run(source, tmp_path / "out") == 0
    prepared = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert prepared.classes == ("ALL", "HEM", "RBC")
    truth = annotations.read_labels(tmp_path / "out/labels/train/slide ä/one.txt", SHAPE, 3)
    expected = [[10, 20, 40.5, 50.25], [60, 5, 90, 30], [55, 55, 65, 65], [100, 70, 120, 90], [1, 1, 5, 7]]
    np.testing.assert_allclose(truth.boxes, expected, atol=1e-3)
    assert truth.labels.tolist() == [0, 1, 1, 2, 2]
    assert len(annotations.read_labels(tmp_path / "out/labels/train/b/two.txt", SHAPE, 3)) == 0


def test_what_is_dropped_is_told_and_a_subfolder_is_a_slide(source, tmp_path, capsys):
    assert run(source, tmp_path / "out") == 0
    manifest = annotations.read_manifest(tmp_path / "out")
    assert manifest["notes"] == {"shape without area dropped": ["images/train/slide ä/one.png"] * 3}
    assert {f["file"]: f["slide"] for f in manifest["files"]} == {
        "images/train/b/two.png": "b",
        "images/train/slide ä/one.png": "slide ä",
    }
    assert "shape without area dropped: 3" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["one.png", ".\\one.png", "..\\elsewhere\\one.png", "C:\\Users\\x\\one.png"])
def test_the_picture_is_found_where_windows_or_another_machine_had_it(source, tmp_path, path):
    write(source / "slide ä/one.json", [shape("ALL", [[1, 2], [30, 40]])], imagePath=path)
    assert run(source, tmp_path / "out") == 0


def test_a_picture_inside_the_file_and_an_unknown_size_are_read(source, tmp_path):
    data = (source / "slide ä/one.png").read_bytes()
    (source / "slide ä/one.png").unlink()
    shapes = [shape("ALL", [[-5, 2], [30, 200]])]
    write(source / "slide ä/one.json", shapes, imageData=base64.b64encode(data).decode(), imageHeight=None, imageWidth=None)
    assert run(source, tmp_path / "out") == 0
    truth = annotations.read_labels(tmp_path / "out/labels/train/slide ä/one.txt", SHAPE, 1)
    np.testing.assert_allclose(truth.boxes, [[0, 2, 30, 96]], atol=1e-3)
    expected = images.decode(data, name="one")
    np.testing.assert_array_equal(images.read_image(tmp_path / "out/images/train/slide ä/one.png"), expected)


def test_classes_may_be_given_in_their_order(source, tmp_path):
    assert run(source, tmp_path / "out", "--classes", "RBC,HEM,ALL", "--split", "val") == 0
    prepared = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert (prepared.classes, sorted(prepared.splits)) == (("RBC", "HEM", "ALL"), ["val"])


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        ([shape("ALL", [[1, 2]])], {}, "shape 1: points: expected two or more"),
        ([shape("ALL", [[1, 2, 3], [4, 5, 6], [7, 8, 9]][:1])], {}, "shape 1: expected a label and points"),
        ([shape("ALL", [["a", 2], [3, 4]])], {}, "shape 1: expected a label and points"),
        ([shape("ALL", [[1, 2], [3, 4]], "spline")], {}, "shape_type: unknown 'spline'"),
        ([shape("", [[1, 2], [3, 4]])], {}, "label: expected text, got ''"),
        ([{"points": [[1, 2], [3, 4]]}], {}, "expected a label and points"),
        (["ALL"], {}, "expected a label and points"),
        ({}, {}, "expected a list of shapes"),
        ([], {"imagePath": "gone.png"}, "its picture 'gone.png' is neither there nor beside it"),
        ([], {"imagePath": "gone.png", "imageData": "%%"}, "imageData: not base64"),
        ([], {"imageWidth": 64}, "annotated as (96, 64)"),
        ([shape("XYZ", [[1, 2], [30, 40]])], {}, "unknown class 'XYZ'"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_2(source, tmp_path, capsys, shapes, changes, message):
    write(source / "slide ä/one.json", shapes, **changes)
    assert run(source, tmp_path / "out", "--classes", "ALL") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_broken_json_no_file_and_no_folder_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "empty").mkdir()
    for source in ("a.json", "empty", "gone"):
        assert run(tmp_path / source, tmp_path / "out") == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "a.json: not readable as JSON" in first
    assert "no LabelMe file" in second
    assert "no such folder" in third
