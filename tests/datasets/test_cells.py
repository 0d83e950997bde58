import csv
import json
from pathlib import Path

import numpy as np
import pytest

from classification.crops import load_images, read_crops
from datasets import cells
from datasets.compose import Source
from datasets.convert import CropRecord, Record, write_crops, write_yolo
from datasets.rulers import Ruler
from datasets.white_cells import WhiteCells, usable
from smear import images
from smear.models import CropContract
from smear.types import Detections

CLASSES = ("ALL", "HEM", "RBC")
CONTRACT = CropContract(unit="rbc", width=3.0, background="kept")


def run(out: Path, *arguments: object) -> int:
    return cells.main([*map(str, arguments), "--out", str(out), "--quiet"])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def write(root: Path, name: str, records: list[Record], classes=CLASSES, **about: object) -> Path:
    return write_yolo(records, root / name, classes=classes, about={"name": name, "source": "painted", "licence": "CC0-1.0", **about})


def table(root: Path, name: str, crop: CropContract | None = CONTRACT) -> Path:
    """Two crops, without a `source_set`."""
    pixels = [np.full((30, 30, 3), value, np.uint8) for value in (40, 90)]
    records = [
        CropRecord(pixels[0], "a_00", "ALL", None, "s1", "a", "train", {"subtype": "pre", "stain": "3", "group": "a"}),
        CropRecord(pixels[1], "deep/b_00", "HEM", "p1", None, "b", "val", {"subtype": "benign", "stain": "", "group": "b"}),
    ]
    return write_crops(records, root / name, crop=crop, about={"name": name, "source": "somewhere", "licence": "CC BY 4.0"})


def truth_of(*boxes_and_labels: tuple[float, float, float, float, int]) -> Detections:
    values = np.array(boxes_and_labels, np.float32).reshape(-1, 5)
    return Detections(values[:, :4], np.ones(len(values), np.float32), values[:, 4].astype(np.int64))


def test_cells_are_centred_and_at_one_scale(prepared, tmp_path):
    """A white disc of two red cells across, painted at two magnifications, fills the same share of its crop."""
    small = prepared("small", {"train": [1], "val": [2]}, shape_hw=(150, 200), red_px=16.0)
    large = prepared("large", {"train": [3], "test": [4]}, shape_hw=(400, 500), red_px=50.0)
    assert run(tmp_path / "out", "--data", small, large, "--label", "WBC=HEM") == 0
    found = rows(tmp_path / "out")
    assert {(row["source_set"], row["stain"], row["rbc_px"], row["label"]) for row in found} == {
        ("small", "small", "16.00", "HEM"),
        ("large", "large", "50.00", "HEM"),
    }
    for row in found:
        view = images.resize(images.read_image(tmp_path / "out" / row["file"]), 96 / (3 * float(row["rbc_px"])))
        assert view.shape == (96, 96, 3)
        y, x = np.mgrid[:96, :96] - 47.5
        violet = view[..., 2].astype(int) - view[..., 1] > 50
        assert violet[np.hypot(x, y) < 29].mean() > 0.95  # the disc has a radius of 32
        assert violet[np.hypot(x, y) > 36].mean() < 0.05


def test_the_table_passes_the_leakage_check_of_the_classifier(prepared, tmp_path):
    data = prepared("field", {"train": [1, 2], "val": [3], "test": [4]}, shape_hw=(150, 200))
    written = table(tmp_path, "table")
    assert run(tmp_path / "out", "--data", data, "--label", "WBC=HEM", "--crops", written) == 0
    joint = read_crops([tmp_path / "out/crops.csv"], ("ALL", "HEM"))
    assert len(joint) == 6
    assert joint.contract == CONTRACT
    assert load_images(joint, size=16).shape == (6, 16, 16, 3)


def test_labels_and_splits_are_those_of_the_cells_and_their_fields(paint, tmp_path):
    image, _ = paint(1, (150, 200))
    reds = [(20 * i + 2, 2, 20 * i + 22, 22, 2) for i in range(4)]
    truth = truth_of(*reds, (30, 60, 70, 100, 0), (110, 60, 150, 100, 1))
    data = write(tmp_path, "mixed", [Record(None, image, "deep/f", "val", truth, slide="s", patient="p")])
    assert run(tmp_path / "out", "--data", data) == 0
    found = [(r["file"], r["label"], r["patient"], r["slide"], r["field"], r["split"]) for r in rows(tmp_path / "out")]
    known = ("mixed/p", "mixed/s", "mixed/deep/f", "val")
    assert found == [("crops/mixed/deep/f_004.png", "ALL", *known), ("crops/mixed/deep/f_005.png", "HEM", *known)]
    first = images.read_image(tmp_path / "out" / found[0][0])
    np.testing.assert_array_equal(first, image[50:110, 20:80])


def test_cells_cut_by_the_border_are_left_out_and_squares_beyond_it_are_told(paint, tmp_path):
    image, _ = paint(1, (150, 200))
    reds = [(20 * i + 20, 100, 20 * i + 40, 120, 2) for i in range(4)]
    truth = truth_of(*reds, (0, 50, 40, 90, 0), (120, 3, 160, 43, 0), (100, 50, 140, 90, 1))
    data = write(tmp_path, "edge", [Record(None, image, "f", "train", truth)])
    assert run(tmp_path / "out", "--data", data) == 0
    assert [(r["file"][-7:-4], r["warnings"]) for r in rows(tmp_path / "out")] == [("005", "crop padded beyond the edge"), ("006", "")]
    (told,) = manifest(tmp_path / "out")["sets"]
    assert told["left_out"] == {"cut by the border of the field": 1}
    assert told["crops"] == {"train": {"ALL": 1, "HEM": 1}}
    assert manifest(tmp_path / "out")["notes"] == {"white cell left out, cut by the border of the field": ["edge/images/train/f.png"]}


def test_cells_cut_by_the_border_are_taken_in_when_asked_for(paint, tmp_path):
    image, _ = paint(1, (150, 200))
    reds = [(20 * i + 20, 100, 20 * i + 40, 120, 2) for i in range(4)]
    data = write(tmp_path, "edge", [Record(None, image, "f", "train", truth_of(*reds, (0, 50, 40, 90, 0), (100, 50, 140, 90, 1)))])
    assert run(tmp_path / "out", "--data", data, "--cut-cells") == 0
    assert [r["warnings"] for r in rows(tmp_path / "out")] == ["cut by the edge; crop padded beyond the edge", ""]
    assert manifest(tmp_path / "out")["sets"][0]["left_out"] == {}


def test_a_box_that_ends_just_inside_the_border_is_of_a_cut_cell():
    """Within 0.05 red-cell diameters: hand-drawn boxes seldom reach the last pixel."""
    truth = truth_of((4.5, 100, 150, 250, 0), (5.5, 300, 150, 450, 0), (300, 100, 450, 250, 0))
    source = Source("set", Path("images/train/f.png"), "train", truth, (500, 600), None, None, Ruler(100.0, "red cells"))
    kept, left_out = usable(WhiteCells(source, (0, 1, 2), ("HEM", "ALL", "HEM")))
    assert (kept.rows, kept.labels) == ((1, 2), ("ALL", "HEM"))
    assert [item.n for item in left_out] == [1]


def test_a_field_of_unknown_scale_gives_no_crop_unless_it_is_painted(paint, tmp_path):
    image, _ = paint(1, (150, 200))
    record = Record(None, image, "f", "train", truth_of((100, 50, 140, 90, 0)), rbc_px=25.0)
    unknown, painted = write(tmp_path, "unknown", [record]), write(tmp_path, "painted", [record], painted=True)
    assert run(tmp_path / "out", "--data", unknown, painted) == 0
    assert [(r["source_set"], r["rbc_px"]) for r in rows(tmp_path / "out")] == [("painted", "25.00")]
    assert images.read_image(tmp_path / "out/crops/painted/f_000.png").shape == (75, 75, 3)
    assert [s["left_out"] for s in manifest(tmp_path / "out")["sets"]] == [{"the scale of its field is unknown": 1}, {}]


def test_twins_share_group_and_split_and_leave_training_when_held_out(paint, tmp_path):
    fields = [paint(seed, (150, 200)) for seed in (1, 2, 5)]
    mirrored = []
    for image, truth in fields[:2]:
        boxes = truth.boxes.copy()
        boxes[:, [0, 2]] = 200 - boxes[:, [2, 0]]
        mirrored.append((np.ascontiguousarray(image[:, ::-1]), Detections(boxes, truth.scores, truth.labels)))
    wbc = ("WBC", "RBC", "Platelets")
    first = write(tmp_path, "first", [Record(None, *_named(i, "train", *f)) for i, f in enumerate(fields)], wbc)
    copies = [Record(None, *_named(8, "test", *mirrored[0])), Record(None, *_named(9, "train", *mirrored[1]))]
    second = write(tmp_path, "second", copies, wbc)
    assert run(tmp_path / "out", "--data", first, second, "--label", "WBC=HEM") == 0
    found = {r["field"]: (r["group"], r["split"]) for r in rows(tmp_path / "out")}
    assert found == {
        "first/f1": ("first/f1", "train"),
        "first/f2": ("first/f2", "train"),
        "second/f8": ("second/f8", "test"),
        "second/f9": ("first/f1", "train"),
    }
    (dropped,) = manifest(tmp_path / "out")["dropped"]
    assert (dropped["file"], dropped["twin_of"]) == ("first/images/train/f0.png", "second/images/test/f8.png")


def test_a_slide_in_several_splits_is_told_as_a_laboratory(paint, tmp_path):
    records = [
        Record(None, *_named(i, s, *paint(i, (150, 200))), slide=k) for i, s, k in ((1, "train", "x"), (2, "val", "x"), (3, "val", "y"))
    ]
    data = write(tmp_path, "set", records, ("WBC", "RBC", "Platelets"))
    assert run(tmp_path / "out", "--data", data, "--label", "WBC=HEM") == 0
    assert [(r["slide"], r["laboratory"]) for r in rows(tmp_path / "out")] == [("", "x"), ("", "x"), ("set/y", "")]


def test_a_table_is_taken_over_as_it_is(tmp_path):
    written = table(tmp_path, "told")
    assert run(tmp_path / "out", "--crops", written) == 0
    first, second = rows(tmp_path / "out")
    assert first == {
        "file": "crops/told/a_00.png", "label": "ALL", "patient": "", "slide": "told/s1", "field": "told/a", "split": "train",
        "subtype": "pre", "stain": "told/3", "group": "told/a", "source_set": "told",
    }  # fmt: skip
    assert (second["file"], second["patient"], second["stain"]) == ("crops/told/deep/b_00.png", "told/p1", "")
    assert (tmp_path / "out" / first["file"]).read_bytes() == (tmp_path / "told/crops/a_00.png").read_bytes()
    (about,) = manifest(tmp_path / "out")["sets"]
    assert (about["name"], about["source"], about["licence"]) == ("told", "somewhere", "CC BY 4.0")
    assert manifest(tmp_path / "out")["crop"] == CONTRACT.model_dump()


def test_taking_over_twice_leads_no_value_twice(tmp_path):
    assert run(tmp_path / "once", "--crops", table(tmp_path, "told")) == 0
    assert run(tmp_path / "twice", "--crops", tmp_path / "once/crops.csv") == 0
    keys = ("slide", "field", "stain", "group", "source_set")
    assert [[r[k] for k in keys] for r in rows(tmp_path / "twice")] == [[r[k] for k in keys] for r in rows(tmp_path / "once")]


def test_splits_and_the_most_of_a_set_limit_the_table(prepared, tmp_path):
    data = prepared("field", {"train": [1, 2, 3], "val": [4]}, shape_hw=(150, 200))
    asked = ("--data", data, "--label", "WBC=HEM", "--splits", "train", "--most-per-set", 2)
    assert run(tmp_path / "a", *asked) == run(tmp_path / "b", *asked) == 0
    assert {r["split"] for r in rows(tmp_path / "a")} == {"train"}
    assert len(rows(tmp_path / "a")) == 2
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    drawn = set()
    for seed in range(4):
        assert run(tmp_path / f"seed{seed}", *asked, "--seed", seed) == 0
        drawn.add(tuple(r["file"] for r in rows(tmp_path / f"seed{seed}")))
    assert len(drawn) > 1


def test_a_second_equal_run_changes_nothing_and_a_changed_label_is_seen(prepared, tmp_path):
    data = prepared("field", {"train": [1], "val": [2]}, shape_hw=(150, 200))
    asked = ("--data", data, "--label", "WBC=HEM")
    assert run(tmp_path / "out", *asked) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert run(tmp_path / "out", *asked) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    labels = tmp_path / "field/labels/train/field_1.txt"
    labels.write_text("".join(line for line in labels.read_text().splitlines(keepends=True) if not line.startswith("0")))
    assert run(tmp_path / "out", *asked) == 0
    assert [r["field"] for r in rows(tmp_path / "out")] == ["field/field_2"]
    assert len(list((tmp_path / "out/crops").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give at least one set or table"),
        (("--data", "{data}"), "class WBC does not say ALL or HEM; give --label WBC=HEM"),
        (("--data", "{data}", "--label", "RBC=HEM"), "--label: must be WBC=HEM or WBC=ALL, got 'RBC=HEM'"),
        (("--data", "{data}", "{data}", "--label", "WBC=HEM"), "two sets are named 'field'"),
        (("--crops", "{narrow}"), "was cut by another crop contract (unit rbc, width 2.0, background kept)"),
        (("--crops", "{own}"), "was cut by another crop contract (none: crops of its own kind)"),
        (("--crops", "{gone}"), "no manifest.json"),
        (("--crops", "{data}", "--splits", "train,tset"), "--splits: must be some of train, val, test, got 'tset'"),
        (("--crops", "{data}", "--width", "0"), "--width: must be above 0, got 0"),
        (("--data", "{patients}", "--label", "WBC=HEM"), "the set has patients ('p1'); label it cell by cell"),
        (("--data", "{torn}"), "patient 'p1' is in several splits"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, said, prepared, paint, tmp_path, capsys):
    wbc = ("WBC", "RBC", "Platelets")
    patients = [Record(None, *_named(i, split, *paint(i)), patient="p1") for i, split in ((1, "train"), (2, "val"))]
    places = {
        "data": prepared("field", {"train": [1]}),
        "patients": write(tmp_path, "patients", patients[:1], wbc),
        "torn": write(tmp_path, "torn", patients, wbc),
        "narrow": table(tmp_path, "narrow", CropContract(unit="rbc", width=2.0, background="kept")),
        "own": table(tmp_path, "own", None),
        "gone": tmp_path / "gone/crops.csv",
    }
    assert run(tmp_path / "out", *(a.format(**places) for a in arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",val,", ",hold,", "split: must be one of train, val, test, got 'hold'"),
        ("crops/a_00", "../a_00", "file: must lie below the table's folder"),
        ("label", "kind", "column 'label' is missing"),
        (",pre,", ",", "has not as many values as the header"),
    ],
)
def test_a_malformed_table_is_told_by_line(old, new, said, tmp_path, capsys):
    written = table(tmp_path, "told")
    written.write_text(written.read_text().replace(old, new))
    assert run(tmp_path / "out", "--crops", written) == 2
    assert said in capsys.readouterr().err


def _named(number: int, split: str, image: np.ndarray, truth: Detections) -> tuple[np.ndarray, str, str, Detections]:
    return image, f"f{number}", split, truth
