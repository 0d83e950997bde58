"""One label format in and out: what was written is read back, what is wrong is named with file and line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from smear.annotations import (
    DataSet,
    ManifestEntry,
    label_path,
    read_data_yaml,
    read_labels,
    read_manifest,
    sha256,
    write_data_yaml,
    write_labels,
    write_manifest,
)
from smear.errors import AnnotationError
from smear.types import Detections

SHAPE = (100, 200)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def touch(root: Path, *names: str) -> None:
    for name in names:
        write(root / name, b"")


# --- labels --------------------------------------------------------------------------------------------------------


def test_labels_come_back(tmp_path):
    truth = Detections([[0, 0, 200, 100], [10, 20, 30, 60]], [1, 1], [2, 0])
    write_labels(tmp_path / "labels/train/a.txt", truth, SHAPE)
    assert (tmp_path / "labels/train/a.txt").read_text() == "2 0.500000 0.500000 1.000000 1.000000\n0 0.100000 0.400000 0.100000 0.400000\n"
    back = read_labels(tmp_path / "labels/train/a.txt", SHAPE, 3)
    assert back.labels.tolist() == [2, 0]
    np.testing.assert_allclose(back.boxes, truth.boxes, atol=1e-3)


def test_a_field_without_cells_has_an_empty_file(tmp_path):
    write_labels(tmp_path / "a.txt", Detections.empty(), SHAPE)
    assert (tmp_path / "a.txt").read_bytes() == b""
    assert read_labels(tmp_path / "a.txt", SHAPE, 3) == Detections.empty()


def test_blank_lines_windows_ends_and_byte_order_marks_are_read(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbf0 0.5 0.5 0.1 0.1\r\n\r\n  \r\n1\t0.5 0.5  0.2 0.2")
    assert read_labels(path, SHAPE, 2).labels.tolist() == [0, 1]


def test_rounding_beyond_the_border_is_clipped(tmp_path):
    path = write(tmp_path / "a.txt", "0 0.5 0.5 1.001 1.001\n")
    assert read_labels(path, SHAPE, 1).boxes.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "expected five numbers (class cx cy w h), got 4"),
        ("0 0.5 0.5 0.1 0.1 0.9", "got 6"),
        ("WBC 0.5 0.5 0.1 0.1", "expected five numbers (class cx cy w h), got 'WBC 0.5 0.5 0.1 0.1'"),
        ("3 0.5 0.5 0.1 0.1", "unknown class 3; data.yaml names 3 classes, 0 to 2"),
        ("-1 0.5 0.5 0.1 0.1", "unknown class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown class 0.5"),
        ("nan 0.5 0.5 0.1 0.1", "unknown class nan"),
        ("inf 0.5 0.5 0.1 0.1", "unknown class inf"),
        ("0 50 50 10 10", "box out of range [0, 1] or empty: 50 50 10 10"),
        ("0 0.95 0.5 0.2 0.1", "out of range"),
        ("0 0.05 0.5 0.2 0.1", "out of range"),
        ("0 0.5 0.5 0 0.1", "out of range [0, 1] or empty"),
        ("0 0.5 0.5 0.1 -0.1", "out of range [0, 1] or empty"),
        ("0 nan 0.5 0.1 0.1", "out of range"),
        ("0 0.5 0.5 inf 0.1", "out of range"),
        ("0 0.5 0.5 nan 0.1", "out of range"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, message):
    path = write(tmp_path / "a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(AnnotationError) as error:
        read_labels(path, SHAPE, 3)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)


def test_a_missing_label_file_says_what_to_do(tmp_path):
    with pytest.raises(AnnotationError, match=r"a\.txt: cannot read it .* needs an empty label file"):
        read_labels(tmp_path / "a.txt", SHAPE, 3)


def test_a_label_file_that_is_not_text_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"a\.txt: not a text file"):
        read_labels(write(tmp_path / "a.txt", b"\x89PNG\xff\xfe"), SHAPE, 3)


@pytest.mark.parametrize("box", [[10, 10, 10, 20], [-30, 10, -10, 20], [10, 10, 10.00005, 20]])
def test_a_box_that_could_not_be_read_back_is_not_written(tmp_path, box):
    with pytest.raises(AnnotationError, match=r"a\.txt: box 2 of 2 is empty inside the image of 200×100 pixels"):
        write_labels(tmp_path / "a.txt", Detections([[0, 0, 9, 9], box], [1, 1], [0, 0]), SHAPE)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("d/images/train/a.jpg", "d/labels/train/a.txt"),
        ("images/x/images/a.b.png", "images/x/labels/a.b.txt"),
        ("d/pictures/a.tif", "d/pictures/a.txt"),
        ("d/images", "d/images.txt"),
    ],
)
def test_the_last_images_folder_becomes_labels(image, label):
    assert label_path(Path(image)) == Path(label)


# --- data.yaml -----------------------------------------------------------------------------------------------------


def test_a_written_set_is_read_back(tmp_path):
    touch(tmp_path, "images/train/b.jpg", "images/train/a.PNG", "images/test/c.tif", "images/train/notes.txt", "images/train/._a.jpg")
    path = write_data_yaml(tmp_path, ["WBC", "RBC"], ["train", "test"], rbc_px=48.0)
    data = read_data_yaml(path)
    assert (data.root, data.classes, sorted(data.splits)) == (tmp_path.resolve(), ("WBC", "RBC"), ["test", "train"])
    assert [p.name for p in data.images("train")] == ["a.PNG", "b.jpg"]
    assert yaml.safe_load(path.read_text())["rbc_px"] == 48.0


@pytest.mark.parametrize("split", ["val", "holdout"])
def test_a_split_without_images_says_which_there_are(tmp_path, split):
    data = DataSet(tmp_path, ("WBC",), {"train": (tmp_path / "a.jpg",), "val": ()})
    with pytest.raises(AnnotationError, match=rf"no images in split '{split}'; it has \['train'\]"):
        data.images(split)


@pytest.mark.parametrize("names", ["[WBC, RBC]", "{0: WBC, 1: RBC}", "{1: RBC, 0: WBC}", "{'0': WBC, '1': RBC}"])
def test_names_may_be_a_list_or_a_mapping(tmp_path, names):
    touch(tmp_path, "images/train/a.jpg")
    assert read_data_yaml(write(tmp_path / "data.yaml", f"train: images/train\nnames: {names}\n")).classes == ("WBC", "RBC")


@pytest.mark.parametrize(
    ("more", "white", "ignored"),
    [("", ("ALL", "HEM"), ()), ("white_classes: [HEM, Mono]", ("HEM", "Mono"), ()), ("ignored_classes: [Mono]", ("ALL", "HEM"), ("Mono",))],
)
def test_a_set_says_which_classes_are_white_cells_and_which_regions_are_not_labelled(tmp_path, more, white, ignored):
    touch(tmp_path, "images/train/a.jpg")
    data = read_data_yaml(write(tmp_path / "data.yaml", f"train: images/train\nnames: [ALL, RBC, HEM, Mono]\n{more}\n"))
    assert (data.white_classes, data.ignored_classes) == (white, ignored)


def test_a_split_may_be_several_folders_or_a_list_of_files(tmp_path):
    touch(tmp_path, "one/a.jpg", "two/b.jpg", "three/c.jpg")
    write(tmp_path / "some.txt", "three/c.jpg\n\n./one/a.jpg\n")
    data = read_data_yaml(write(tmp_path / "data.yaml", "train: [one, two]\nval: some.txt\nnames: [WBC]\n"))
    assert [p.name for p in data.images("train")] == ["a.jpg", "b.jpg"]
    assert [p.name for p in data.images("val")] == ["a.jpg", "c.jpg"]


def test_folders_one_level_too_high_are_found_as_ultralytics_does(tmp_path):
    """Roboflow exports say ../train/images for the folder beside the file."""
    touch(tmp_path, "d/train/images/a.jpg")
    assert len(read_data_yaml(write(tmp_path / "d/data.yaml", "train: ../train/images\nnames: [WBC]\n")).images("train")) == 1


def test_a_set_elsewhere_is_found_by_its_path(tmp_path):
    touch(tmp_path, "far/images/train/a.jpg")
    path = write(tmp_path / "here/data.yaml", f"path: {tmp_path / 'far'}\ntrain: images/train\nnames: [WBC]\n")
    assert read_data_yaml(path).images("train") == ((tmp_path / "far/images/train/a.jpg").resolve(),)


def test_unicode_names_are_read_in_any_locale(tmp_path):
    touch(tmp_path, "images/train/a.jpg")
    assert read_data_yaml(write(tmp_path / "data.yaml", "train: images/train\nnames: [Blutplättchen]\n")).classes == ("Blutplättchen",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names: missing"),
        ("[1, 2]", "names: missing"),
        ("train: images/train\n", "names: missing"),
        ("names: [WBC]\n", "no train, val or test split"),
        ("names: [WBC]\ntrain: nowhere\n", "nowhere: no such folder or list below"),
        ("names: [WBC\n", "not YAML"),
        ("names: WBC\ntrain: images/train\n", "names: must be a list or a mapping of class names, got 'WBC'"),
        ("names: []\ntrain: images/train\n", "names: must be a list or a mapping of class names, got []"),
        ("names: {0: WBC, 2: RBC}\ntrain: images/train\n", "names: must be numbered from 0 without gaps, got [0, 2]"),
        ("names: {a: WBC}\ntrain: images/train\n", "names: must be numbered from 0 without gaps, got ['a']"),
        ("names: [WBC, WBC]\ntrain: images/train\n", "names: 'WBC' is given twice"),
        ("names: [WBC]\nnc: 3\ntrain: images/train\n", "nc: is 3, but names has 1"),
        ("names: [WBC]\ntrain: {a: b}\n", "train: must be a folder, a list of folders or a .txt file, got {'a': 'b'}"),
        ("names: [WBC]\ntrain: 3\n", "train: must be a folder, a list of folders or a .txt file, got 3"),
        ("path: 3\nnames: [WBC]\ntrain: images/train\n", "path: must be a folder, got 3"),
        ("names: [WBC]\ntrain: images/train\nwhite_classes: [ALL]\n", "white_classes: must be a list of names among ['WBC'], got ['ALL']"),
        ("names: [WBC]\ntrain: images/train\nignored_classes: WBC\n", "ignored_classes: must be a list of names"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_wrong_data_yaml_is_one_line_that_names_the_key(tmp_path, text, message):
    touch(tmp_path, "images/train/a.jpg")
    path = write(tmp_path / "data.yaml", text)
    with pytest.raises(AnnotationError) as error:
        read_data_yaml(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_data_yaml_says_what_is_wanted(tmp_path):
    with pytest.raises(AnnotationError, match=r"data\.yaml: cannot read it .* wants the data\.yaml of a prepared set"):
        read_data_yaml(tmp_path / "data.yaml")
    with pytest.raises(AnnotationError, match="cannot read it"):
        read_data_yaml(tmp_path)


# --- manifest ------------------------------------------------------------------------------------------------------


def entry(file: str) -> ManifestEntry:
    return ManifestEntry(file, "0" * 64, "train", "source.jpg", slide="é")


def test_a_manifest_is_sorted_hashed_and_read_back(tmp_path):
    digest = write_manifest(tmp_path, [entry("b"), entry("a")], name="bccd", licence="MIT")
    assert digest == sha256(tmp_path / "manifest.json")
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert (manifest["name"], [f["file"] for f in manifest["files"]], manifest["files"][0]["slide"]) == ("bccd", ["a", "b"], "é")


def test_the_same_manifest_has_the_same_hash(tmp_path):
    assert write_manifest(tmp_path, [entry("b"), entry("a")]) == write_manifest(tmp_path, [entry("a"), entry("b")])


def test_no_manifest_is_none(tmp_path):
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"name": "x"}), json.dumps({"files": 3})])
def test_a_damaged_manifest_is_named(tmp_path, text):
    write(tmp_path / "manifest.json", text)
    with pytest.raises(AnnotationError, match=r"manifest\.json: not a manifest .*; prepare the set again"):
        read_manifest(tmp_path)


def test_a_failed_write_keeps_the_old_manifest(tmp_path, monkeypatch):
    write_manifest(tmp_path, [entry("a")])
    before = (tmp_path / "manifest.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(tmp_path, [entry("b")])
    assert (tmp_path / "manifest.json").read_bytes() == before
