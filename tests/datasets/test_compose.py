import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from datasets import compose
from datasets.compose import windows
from datasets.convert import Record, write_yolo
from smear import annotations, boxes, images
from smear.audit.twins import find_twins
from smear.types import Detections


def run(out: Path, *data: Path, more: tuple[str, ...] = ()) -> int:
    return compose.main(["--data", *map(str, data), "--out", str(out), "--quiet", *more])


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def write(tmp_path: Path, name: str, items: list[tuple[str, str, np.ndarray, Detections]], classes=("WBC", "RBC", "Platelets")) -> Path:
    records = [Record(None, image, stem, split, truth) for stem, split, image, truth in items]
    return write_yolo(records, tmp_path / name, classes=classes, about={"name": name, "source": "painted", "licence": "CC0-1.0"})


def test_every_red_cell_measures_the_same_after_composing(prepared, tmp_path):
    small = prepared("small", {"train": [1, 2], "val": [3]}, shape_hw=(96, 128), red_px=16.0)
    large = prepared("large", {"train": [4], "test": [5]}, shape_hw=(400, 500), red_px=80.0)
    assert run(tmp_path / "out", small, large) == 0
    content = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert content["rbc_px"] == 48
    composed = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert composed.classes == ("WBC", "RBC", "Platelets")
    assert {s: len(p) for s, p in composed.splits.items()} == {"train": 3, "val": 1, "test": 1}
    for path in (p for paths in composed.splits.values() for p in paths):
        shape = images.read_image(path).shape
        truth = annotations.read_labels(annotations.label_path(path), shape[:2], 3)
        assert np.median(boxes.diameters(truth.boxes[truth.labels == 1])) == pytest.approx(48, rel=0.02)
    measured = {e["source_file"]: e["rbc_px"] for e in manifest(tmp_path / "out")["files"]}
    assert measured["large/images/train/field_4.png"] == 80
    assert measured["small/images/train/field_1.png"] == 16


def test_resizing_moves_the_boxes_with_the_cells(prepared, paint, tmp_path):
    data = prepared("small", {"train": [1]}, shape_hw=(120, 160), red_px=16.0)
    assert run(tmp_path / "out", data) == 0
    truth = paint(1, (120, 160), red_px=16.0)[1]
    found = annotations.read_labels(tmp_path / "out/labels/train/small__field_1.txt", (360, 480), 3)
    np.testing.assert_allclose(found.boxes, truth.boxes * 3, atol=0.01)
    assert images.read_image(tmp_path / "out/images/train/small__field_1.png").shape == (360, 480, 3)


def test_all_and_hem_become_wbc(paint, tmp_path):
    image, truth = paint(1, red_px=20.0)
    labels = np.where(truth.labels == 1, 2, 1)
    data = write(tmp_path, "painted", [("a", "train", image, Detections(truth.boxes, truth.scores, labels))], ("ALL", "HEM", "RBC"))
    assert run(tmp_path / "out", data) == 0
    assert manifest(tmp_path / "out")["objects"]["train"] == {"images": 1, "WBC": 1, "RBC": 8, "Platelets": 0}


def test_no_training_image_is_a_twin_of_a_held_out_one(paint, tmp_path):
    """Flipped and recoloured twins across sets, a twin of a twin, and a val twin of a test image all leave; the rest stays."""
    fields = [paint(seed, (150, 200), red_px=30.0) for seed in range(5)]
    flipped = [(np.ascontiguousarray(255 - (255 - image[:, ::-1]) // 2), _flip(truth, 200)) for image, truth in fields]
    first = write(tmp_path, "first", [(f"f{i}", split, *fields[i]) for i, split in enumerate(["train", "train", "val", "test", "train"])])
    turned = (np.ascontiguousarray(fields[1][0][::-1]), _flip(fields[1][1], 150, axis=1))
    second = [("a", "test", *flipped[0]), ("b", "train", *flipped[1]), ("c", "train", *flipped[2]), ("d", "val", *flipped[3])]
    second.append(("e", "val", *turned))
    assert run(tmp_path / "out", first, write(tmp_path, "second", second)) == 0
    dropped = {(d["file"], d["twin_split"]) for d in manifest(tmp_path / "out")["dropped"]}
    assert dropped == {
        ("first/images/train/f0.png", "test"),
        ("first/images/train/f1.png", "val"),
        ("second/images/train/b.png", "val"),
        ("second/images/train/c.png", "val"),
        ("second/images/val/d.png", "test"),
    }
    composed = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert [p.name for p in composed.images("train")] == ["first__f4.png"]
    assert find_twins(composed.images("train"), [*composed.images("val"), *composed.images("test")]) == []


def test_holdout_keeps_its_val_and_test_out_but_not_its_train(paint, tmp_path):
    fields = [paint(seed, red_px=20.0) for seed in range(3)]
    data = write(tmp_path, "data", [(f"f{i}", "train", *field) for i, field in enumerate(fields)])
    holdout = write(tmp_path, "holdout", [("x", "train", *fields[0]), ("y", "test", *fields[1])])
    assert run(tmp_path / "out", data, more=("--holdout", str(holdout))) == 0
    (row,) = manifest(tmp_path / "out")["dropped"]
    assert (row["file"], row["twin_of"], row["kind"]) == ("data/images/train/f1.png", "images/test/y.png", "exact")
    assert [e["source_file"] for e in manifest(tmp_path / "out")["files"]] == ["data/images/train/f0.png", "data/images/train/f2.png"]


def test_an_image_without_a_ruler_is_listed_not_lost_in_silence(paint, tmp_path):
    items = [("known", "train", *paint(1)), ("empty", "train", paint(2)[0], Detections.empty())]
    spread = [(f"s{i}", "train", *paint(3 + i, (200, 200), red_px=px)) for i, px in enumerate((14.0, 44.0))]
    assert run(tmp_path / "out", write(tmp_path, "data", items + spread)) == 0
    assert manifest(tmp_path / "out")["without_ruler"] == ["data/images/train/empty.png"]
    assert len(manifest(tmp_path / "out")["files"]) == 3


def test_a_second_run_changes_no_file(prepared, tmp_path):
    data = prepared("small", {"train": [1, 2], "val": [3]})
    seen = []
    for _ in range(2):
        assert run(tmp_path / "out", data) == 0
        files = [p for p in sorted((tmp_path / "out").rglob("*")) if p.is_file()]
        seen.append({str(p): (p.read_bytes(), p.stat().st_mtime_ns if p.suffix in (".png", ".txt") else 0) for p in files})
    assert seen[0] == seen[1]


def test_the_manifest_names_each_set_by_the_hash_of_its_manifest(prepared, tmp_path):
    data = prepared("small", {"train": [1]})
    assert run(tmp_path / "out", data) == 0
    (entry,) = manifest(tmp_path / "out")["sets"]
    assert (entry["name"], entry["licence"], entry["rulers"]) == ("small", "CC0-1.0", {"red cells": 1})
    assert entry["manifest_sha256"] == annotations.sha256(data.parent / "manifest.json")


def test_a_large_field_is_cut_into_windows_that_lose_no_cell(paint, tmp_path):
    image, truth = paint(1, (700, 1400), red_px=48.0, n_red=60)
    assert run(tmp_path / "out", write(tmp_path, "large", [("f", "train", image, truth)])) == 0
    composed = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert {images.read_image(p).shape for p in composed.images("train")} == {(640, 640, 3)}
    seen = np.zeros(len(truth), bool)
    for part, x0, y0, shown in windows(image, truth):
        np.testing.assert_array_equal(part, image[y0 : y0 + 640, x0 : x0 + 640])
        overlap = boxes.iou(shown.shift(x0, y0).boxes, truth.boxes)
        assert (overlap.max(axis=1) >= compose.MIN_VISIBLE - 1e-4).all()
        seen |= (overlap > 0.999).any(axis=0)
    assert seen.all()


def test_a_window_drops_what_it_shows_too_little_of():
    image = np.zeros((640, 1300, 3), np.uint8)
    first_edge = next(iter(windows(image, Detections.empty())))[0].shape[1]
    kept, lost = [first_edge - 70, 10, first_edge + 30, 60], [first_edge - 50, 100, first_edge + 50, 150]
    truth = Detections(np.array([kept, lost], np.float32), np.ones(2, np.float32), np.zeros(2, np.int64))
    _, _, _, shown = next(iter(windows(image, truth)))
    np.testing.assert_array_equal(shown.boxes, [[first_edge - 70, 10, first_edge, 60]])


def test_mistakes_are_one_line_and_exit_2(prepared, paint, tmp_path, capsys):
    data = prepared("small", {"train": [1]})
    bare = prepared("bare", {"train": [2]})
    (bare.parent / "manifest.json").unlink()
    odd = write(tmp_path, "odd", [("a", "train", *paint(1))], ("Blast", "RBC", "Platelets"))
    for wrong in ([data, data], [bare], [odd], [tmp_path / "gone.yaml"]):
        assert run(tmp_path / "out", *wrong) == 2
    said = capsys.readouterr().err.splitlines()
    expected = ["two sets are named 'small'", "prepare the set first", "unknown class 'Blast'", "cannot read it"]
    assert len(said) == 4
    assert all(text in line for text, line in zip(expected, said, strict=True))


def _flip(truth: Detections, length: int, *, axis: int = 0) -> Detections:
    moved = truth.boxes.copy()
    moved[:, [axis, axis + 2]] = length - truth.boxes[:, [axis + 2, axis]]
    return Detections(moved, truth.scores, truth.labels)
