from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.crops import load_images, read_crops
from smear.errors import AnnotationError, ImageError
from smear.images import write_image

CLASSES = ("ALL", "HEM")


def test_a_table_is_read_with_its_contract_and_origin(table: Path) -> None:
    crops = read_crops([table], CLASSES)
    assert len(crops) == 64
    assert crops.contract is not None
    assert (crops.contract.unit, crops.contract.width) == ("rbc", 2.5)
    assert crops.about[0]["name"] == "discs"
    assert len(crops.about[0]["manifest_sha256"]) == 64
    assert crops.labels.tolist() == [0, 1] * 32
    assert set(crops.column("split")) == {"train", "val", "test"}
    assert (crops.column("no such column") == "").all()


def test_pictures_are_loaded_at_the_size_asked_for(table: Path) -> None:
    images = load_images(read_crops([table], CLASSES), size=32)
    assert images.shape == (64, 32, 32, 3)
    assert images[0, 16, 16].mean() < 70 < images[1, 16, 16].mean()  # ALL is dark, HEM pale


def test_a_table_without_rows_keeps_its_shapes(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text("file,label,field,split\n")
    crops = read_crops([tmp_path / "crops.csv"], CLASSES)
    assert len(crops) == 0
    assert load_images(crops, size=16).shape == (0, 16, 16, 3)


@pytest.mark.parametrize("key", ["patient", "slide", "field", "group"])
def test_a_split_that_leaks_is_refused_and_the_leak_named(tmp_path: Path, rows: Callable, write_table: Callable, key: str) -> None:
    leaking = [{**row, "group": "", key: f"P{i // 8}"} for i, row in enumerate(rows(16))]  # 0-7 are all train, 8-15 val and test
    with pytest.raises(AnnotationError, match=f"{key} 'P1' of leaky is in the splits 'val' and 'test'"):
        read_crops([write_table(tmp_path / "leaky", leaking)], CLASSES)


def test_unknown_patients_are_not_one_patient(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    assert len(read_crops([write_table(tmp_path, [{**row, "patient": "", "slide": ""} for row in rows(16)])], CLASSES)) == 16


def test_the_same_name_in_two_sources_is_not_the_same_field(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    first = write_table(tmp_path / "one", rows(16))
    other = write_table(tmp_path / "two", [{**row, "split": "train"} for row in rows(16)])
    joined = read_crops([first, other], CLASSES)
    assert len(joined) == 32
    assert set(joined.column("source")) == {"one", "two"}


def test_the_same_picture_in_two_splits_is_refused(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    made = rows(16)
    path = write_table(tmp_path, made)
    (tmp_path / made[8]["file"]).write_bytes((tmp_path / made[0]["file"]).read_bytes())
    with pytest.raises(AnnotationError, match=r"c008\.png: is the same picture as .*c000\.png, in splits 'val' and 'train'"):
        load_images(read_crops([path], CLASSES), size=32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "MAYBE"}, "crops.csv:3: label: must be one of ALL, HEM, got 'MAYBE'"),
        ({"split": "exam"}, "crops.csv:3: split: must be one of train, val, test, got 'exam'"),
        ({"file": "../secret.png"}, "must lie below the table's folder"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, rows: Callable, write_table: Callable, change: dict, said: str) -> None:
    made = rows(16)
    with pytest.raises(AnnotationError, match=said):
        read_crops([write_table(tmp_path / "set", [made[0], {**made[1], **change}, *made[2:]])], CLASSES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file,label,field\na,ALL,f\n", "column 'split' is missing"),
        ("", "column 'file' is missing; it has none"),
        ("file,label,field,split\na,ALL\n", "crops.csv:2: has not as many values"),
    ],
)
def test_a_malformed_table_is_one_clear_error(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "crops.csv").write_text(content)
    with pytest.raises(AnnotationError, match=said):
        read_crops([tmp_path / "crops.csv"], CLASSES)


def test_a_missing_table_and_one_that_is_no_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"--data wants the crops\.csv"):
        read_crops([tmp_path / "crops.csv"], CLASSES)
    (tmp_path / "crops.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(AnnotationError, match="not a CSV file"):
        read_crops([tmp_path / "crops.csv"], CLASSES)


def test_tables_cut_by_two_contracts_are_not_joined(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    made = [write_table(tmp_path / name, rows(16), manifest={"crop": {"width": w}}) for name, w in (("one", 2.5), ("two", 3.0))]
    with pytest.raises(AnnotationError, match="another crop contract"):
        read_crops(made, CLASSES)


def test_a_broken_or_oblong_crop_is_named(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    path = write_table(tmp_path, rows(16))
    crops = read_crops([path], CLASSES)
    write_image(crops.paths[3], np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(AnnotationError, match=r"c003\.png: a crop must be square, got 30×20"):
        load_images(crops, size=32)
    crops.paths[3].write_bytes(b"")
    with pytest.raises(ImageError, match=r"c003\.png"):
        load_images(crops, size=32)
