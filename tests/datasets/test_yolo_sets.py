import json

import numpy as np
import pytest

from datasets import txl_pbc, yolo
from smear import annotations, images


@pytest.fixture
def source(paint, tmp_path):
    """A YOLO folder as its owners might leave it."""
    root = tmp_path / "yolo"
    for split, seed in (("train", 1), ("val", 2)):
        images.write_image(root / "images" / split / "a.jpg", paint(seed)[0])
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (root / "data.yaml").write_text("train: ./images/train/\nval: ./images/val/\nnc: 3\nnames: ['WBC', 'RBC','Platelets']")
    return root


def run(source, out) -> int:
    return yolo.main(["--source", str(source), "--out", str(out), "--name", "mine", "--licence", "CC0-1.0", "--quiet"])


def test_a_set_is_read_repaired_and_what_was_repaired_is_told(source, tmp_path):
    lines = ["0 0.5 0.5 0.25 0.5", "0 0.5 0.5 0.25 0.5", "1 0.95 0.5 0.2 0.2", "1 0.5 0.5 0 0", "2 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2"]
    (source / "labels/train/a.txt").write_text("\n".join(lines) + "\n\n")
    (source / "labels/val/a.txt").unlink()
    assert run(source, tmp_path / "out") == 0
    truth = annotations.read_labels(tmp_path / "out/labels/train/a.txt", (96, 128), 3)
    expected = [[48, 24, 80, 72], [108.8, 38.4, 128, 57.6], [12.8, 9.6, 38.4, 19.2]]
    np.testing.assert_allclose(truth.boxes, expected, atol=1e-3)
    np.testing.assert_array_equal(truth.labels, [0, 1, 2])
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert {note: len(files) for note, files in manifest["notes"].items()} == {
        "repeated box dropped": 1,
        "box clipped to the image": 1,
        "empty box dropped": 1,
        "label file missing: taken as no cells": 1,
    }
    assert (manifest["name"], manifest["licence"]) == ("mine", "CC0-1.0")


def test_a_prepared_set_prepares_to_itself(prepared, tmp_path):
    data = prepared("same", {"train": [1, 2], "test": [3]})
    assert run(data, tmp_path / "again") == 0
    for path in [*data.parent.glob("labels/*/*.txt"), *data.parent.glob("images/*/*.png")]:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(data.parent)).read_bytes()


def test_images_in_folders_keep_their_folders(source, paint, tmp_path):
    for slide, seed in (("s1", 5), ("s2", 6)):
        images.write_image(source / "images/train" / slide / "f.png", paint(seed)[0])
        (source / "labels/train" / slide).mkdir()
        (source / "labels/train" / slide / "f.txt").write_text("")
    assert run(source, tmp_path / "out") == 0
    assert (tmp_path / "out/images/train/s1/f.png").is_file()
    assert (tmp_path / "out/labels/train/s2/f.txt").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0.5 0.5 0.1 0.1", "unknown class 3"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown class 0.5"),
        ("0 0.5 0.5 0.1", "expected five finite numbers"),
        ("0 0.5 nan 0.1 0.1", "expected five finite numbers"),
        ("cell 0.5 0.5 0.1 0.1", "expected numbers"),
    ],
)
def test_what_cannot_be_repaired_is_one_line_with_file_and_line_number(source, tmp_path, capsys, line, message):
    (source / "labels/train/a.txt").write_text("0 0.5 0.5 0.25 0.5\n" + line)
    assert run(source, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert "a.txt:2" in said
    assert said.count("\n") == 1


def test_a_missing_source_is_one_line_and_exit_2(tmp_path, capsys):
    assert run(tmp_path / "gone", tmp_path / "out") == 2
    assert txl_pbc.main(["--source", str(tmp_path / "gone"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert [line.startswith("error: ") for line in capsys.readouterr().err.splitlines()] == [True, True]


def test_txl_pbc_tells_the_origin_of_each_image_by_its_size(source, paint, tmp_path):
    images.write_image(source / "images/train/b.jpg", paint(3, (416, 416))[0])
    (source / "labels/train/b.txt").write_text("")
    assert txl_pbc.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    entries = annotations.read_manifest(tmp_path / "out")["files"]
    assert {e["file"]: e["slide"] for e in entries} == {
        "images/train/a.jpg": "pbc-barcelona",
        "images/train/b.jpg": "bcd",
        "images/val/a.jpg": "pbc-barcelona",
    }


def test_txl_pbc_refuses_other_classes(source, tmp_path, capsys):
    (source / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [WBC, RBC]")
    assert txl_pbc.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "names: expected" in capsys.readouterr().err
