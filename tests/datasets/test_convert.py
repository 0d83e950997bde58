import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import convert
from datasets.convert import CropRecord, Record, tidy, write_crops, write_yolo
from smear import annotations, images
from smear.errors import AnnotationError, ImageError
from smear.models import CropContract
from smear.types import Detections

ABOUT = {"name": "painted", "source": "a test", "licence": "CC0-1.0"}
CLASSES = ("WBC", "RBC", "Platelets")


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".png", ".txt", ".csv")]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_what_is_written_is_read_back(paint, tmp_path):
    image, truth = paint(0)
    data = write_yolo([Record(None, image, "a", "val", truth)], tmp_path, classes=CLASSES, about=ABOUT)
    prepared = annotations.read_data_yaml(data)
    (path,) = prepared.images("val")
    np.testing.assert_array_equal(images.read_image(path), image)
    found = annotations.read_labels(annotations.label_path(path), image.shape[:2], 3)
    np.testing.assert_allclose(found.boxes, truth.boxes, atol=1e-3)
    np.testing.assert_array_equal(found.labels, truth.labels)
    assert prepared.classes == CLASSES
    assert list(prepared.splits) == ["val"]


def test_an_image_without_cells_gets_an_empty_label_file(paint, tmp_path):
    write_yolo([Record(None, paint(0)[0], "a", "train", Detections.empty())], tmp_path, classes=CLASSES, about=ABOUT)
    assert (tmp_path / "labels/train/a.txt").read_bytes() == b""


def test_a_source_file_is_copied_byte_for_byte(paint, tmp_path):
    image, truth = paint(0)
    source = tmp_path / "in.jpg"
    source.write_bytes(images.encode(image, ".jpg"))
    write_yolo([Record(source, None, "a", "train", truth)], tmp_path / "out", classes=CLASSES, about=ABOUT)
    assert (tmp_path / "out/images/train/a.jpg").read_bytes() == source.read_bytes()


def test_a_tiff_becomes_a_png_of_the_same_pixels(paint, tmp_path):
    image, truth = paint(0)
    source = tmp_path / "in.tif"
    source.write_bytes(images.encode(image, ".tif"))
    write_yolo([Record(source, None, "a", "train", truth)], tmp_path / "out", classes=CLASSES, about=ABOUT)
    np.testing.assert_array_equal(images.read_image(tmp_path / "out/images/train/a.png"), image)


def test_a_second_run_changes_no_file(paint, tmp_path):
    def run() -> None:
        write_yolo([Record(None, paint(s)[0], f"f{s}", "train", paint(s)[1]) for s in range(3)], tmp_path, classes=CLASSES, about=ABOUT)

    run()
    before, manifest = stamps(tmp_path), (tmp_path / "manifest.json").read_bytes()
    run()
    assert stamps(tmp_path) == before
    assert (tmp_path / "manifest.json").read_bytes() == manifest


def test_a_run_without_an_image_removes_what_the_earlier_run_wrote(paint, tmp_path):
    records = [Record(None, paint(s)[0], f"f{s}", "train", paint(s)[1]) for s in range(2)]
    write_yolo(records, tmp_path, classes=CLASSES, about=ABOUT)
    write_yolo(records[:1], tmp_path, classes=CLASSES, about=ABOUT)
    assert [p.name for p in sorted((tmp_path / "images").rglob("*.png"))] == ["f0.png"]
    assert [p.name for p in sorted((tmp_path / "labels").rglob("*.txt"))] == ["f0.txt"]


def test_files_that_are_not_ours_are_refused_and_kept(paint, tmp_path):
    foreign = tmp_path / "images/train/holiday.jpg"
    images.write_image(foreign, paint(5)[0])
    with pytest.raises(AnnotationError, match=r"holiday\.jpg"):
        write_yolo([Record(None, *_named(paint, "a"))], tmp_path, classes=CLASSES, about=ABOUT)
    assert foreign.is_file()


def test_the_manifest_says_where_everything_came_from(paint, tmp_path):
    image, truth = paint(0)
    source = tmp_path / "in.png"
    source.write_bytes(images.encode(image, ".png"))
    record = Record(source, None, "a", "test", truth, slide="s1", patient="p1", notes=("empty box dropped", "empty box dropped"))
    write_yolo([record], tmp_path / "out", classes=CLASSES, about=ABOUT, rbc_px=48.0)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    (entry,) = manifest["files"]
    assert entry["sha256"] == annotations.sha256(tmp_path / "out/images/test/a.png")
    assert (entry["slide"], entry["patient"], entry["source_file"], entry["split"]) == ("s1", "p1", "in.png", "test")
    assert manifest["notes"] == {"empty box dropped": ["images/test/a.png"] * 2}
    assert manifest["objects"] == {"test": {"images": 1, "WBC": 1, "RBC": 8, "Platelets": 0}}
    assert (manifest["name"], manifest["licence"]) == ("painted", "CC0-1.0")
    assert "rbc_px: 48.0" in (tmp_path / "out/data.yaml").read_text()


def test_a_changed_label_changes_the_hash_of_the_labels(paint, tmp_path):
    image, truth = paint(0)
    hashes = []
    for part in (truth, truth.take(np.arange(3))):
        write_yolo([Record(None, image, "a", "train", part)], tmp_path, classes=CLASSES, about=ABOUT)
        hashes.append(json.loads((tmp_path / "manifest.json").read_text())["labels_sha256"])
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "holdout"}, "unknown split 'holdout'"),
        ({"name": "../a"}, "not a name below"),
        ({"image": None}, "either a source file or an image"),
        ({"shape_hw": (5, 7)}, r"annotated as \(5, 7\)"),
    ],
)
def test_a_wrong_record_is_one_clear_error(paint, tmp_path, change, message):
    image, truth = paint(0)
    with pytest.raises(AnnotationError, match=message):
        write_yolo([replace(Record(None, image, "a", "train", truth), **change)], tmp_path, classes=CLASSES, about=ABOUT)


def test_no_images_at_all_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="no image"):
        write_yolo([], tmp_path, classes=CLASSES, about=ABOUT)


def test_two_images_of_one_name_are_an_error(paint, tmp_path):
    with pytest.raises(AnnotationError, match=r"images/train/a"):
        write_yolo([Record(None, *_named(paint, "a"))] * 2, tmp_path, classes=CLASSES, about=ABOUT)


def test_a_broken_source_image_is_named(tmp_path):
    source = tmp_path / "broken.jpg"
    source.write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        write_yolo([Record(source, None, "a", "train", Detections.empty())], tmp_path / "out", classes=CLASSES, about=ABOUT)


def test_tidy_clips_drops_and_says_so():
    corners = np.array([[10, 10, 30, 30], [-5, 0, 20, 20], [50, 50, 50, 50], [200, 0, 210, 10], [30, 40, 20, 10]], np.float32)
    truth, notes = tidy(corners, [0, 1, 1, 2, 1], (60, 100))
    np.testing.assert_array_equal(truth.boxes, [[10, 10, 30, 30], [0, 0, 20, 20], [20, 10, 30, 40]])
    np.testing.assert_array_equal(truth.labels, [0, 1, 1])
    assert notes.count("empty box dropped") == 2
    assert notes.count("box clipped to the image") == 1
    assert notes.count("box with its corners swapped") == 1


@given(st.lists(st.tuples(*[st.floats(-50, 250, width=32)] * 4), max_size=8))
def test_tidy_boxes_always_lie_in_the_image_and_each_box_is_accounted_for(corners):
    truth, notes = tidy(np.array(corners, np.float32).reshape(-1, 4), [0] * len(corners), (100, 200))
    assert len(truth) + notes.count("empty box dropped") == len(corners)
    assert (truth.boxes >= 0).all()
    assert (truth.boxes[:, [0, 2]] <= 200).all()
    assert (truth.boxes[:, [1, 3]] <= 100).all()
    assert (truth.boxes[:, 2:] - truth.boxes[:, :2] >= convert.MIN_BOX_PX).all()


def test_a_crops_table_carries_every_column_and_its_contract(paint, tmp_path):
    image = paint(0, (32, 32), red_px=6, n_red=2)[0]
    records = [
        CropRecord(image, "b", "HEM", None, "s2", "f.jpg", "val", {"subtype": "Benign"}),
        CropRecord(image, "a", "ALL", "p1", None, "f.jpg", "train", {"stain": "3"}),
    ]
    table = write_crops(records, tmp_path, crop=CropContract(width=3.0), about=ABOUT)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert list(rows[0]) == ["file", "label", "patient", "slide", "field", "split", "subtype", "stain"]
    assert list(rows[0].values()) == ["crops/a.png", "ALL", "p1", "", "f.jpg", "train", "", "3"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["crop"] == {"unit": "rbc", "width": 3.0, "background": "kept"}
    assert manifest["labels"] == {"train": {"ALL": 1}, "val": {"HEM": 1}}
    assert {e["file"]: e["sha256"] for e in manifest["files"]}["crops/a.png"] == annotations.sha256(tmp_path / "crops/a.png")


def test_a_second_crops_run_changes_no_file(paint, tmp_path):
    records = [CropRecord(paint(s, (32, 32), red_px=6)[0], f"c{s}", "ALL", None, None, None, "train") for s in range(3)]
    write_crops(records, tmp_path, crop=None, about=ABOUT)
    before = stamps(tmp_path)
    write_crops(records, tmp_path, crop=None, about=ABOUT)
    assert stamps(tmp_path) == before
    write_crops(records[1:], tmp_path, crop=None, about=ABOUT)
    assert [p.name for p in sorted((tmp_path / "crops").iterdir())] == ["c1.png", "c2.png"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    convert.write_changed(path, b"old")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        convert.write_changed(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def _named(paint, name: str) -> tuple:
    image, truth = paint(0)
    return image, name, "train", truth
