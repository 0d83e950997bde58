"""A new split keeps together what belongs together, meets its shares, repeats by seed, and is not made when it would leak."""

import csv
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from datasets import check, split
from datasets.convert import CropRecord, Record, write_crops, write_yolo
from smear import annotations
from smear.types import Detections

CLASSES = ("WBC", "RBC", "Platelets")


def field(seed: int) -> tuple[np.ndarray, Detections]:
    """A small textured field, different for each seed, with one to three boxes."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(60, 250, (12, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    n = 1 + seed % 3
    boxes = np.array([(4 + 12 * i, 6, 14 + 12 * i, 20) for i in range(n)], np.float32)
    return image, Detections(boxes, np.ones(n, np.float32), np.arange(n, dtype=np.int64))


@pytest.fixture
def slides(tmp_path):
    """40 fields of 20 slides of 10 patients, all in train; field 39 is field 0 mirrored."""
    records = []
    for i in range(40):
        image, truth = field(i if i < 39 else 0)
        image = image if i < 39 else np.ascontiguousarray(image[:, ::-1])
        records.append(Record(None, image, f"s{i // 2}/f{i}", "train", truth, slide=f"s{i // 2}", patient=f"p{i // 4}", rbc_px=12.5))
    about = {"name": "slides", "source": "painted", "licence": "CC0-1.0", "limits": ["small"]}
    return write_yolo(records, tmp_path / "slides", classes=CLASSES, about=about, rbc_px=12.5)


def run(*arguments: object) -> int:
    return split.main([*map(str, arguments), "--quiet"])


def splits_by(root, key) -> dict[str, set[str]]:
    found = defaultdict(set)
    for entry in json.loads((root / "manifest.json").read_text())["files"]:
        found[entry[key]].add(entry["split"])
    return found


def test_patients_and_twins_stay_whole_and_shares_are_met(slides, tmp_path):
    out = tmp_path / "out"
    assert run(slides, "--out", out, "--shares", "0.6,0.2,0.2", "--seed", 1) == 0
    assert all(len(parts) == 1 for parts in splits_by(out, "patient").values())
    counts = Counter(entry["split"] for entry in json.loads((out / "manifest.json").read_text())["files"])
    assert counts.total() == 40
    assert counts["train"] == pytest.approx(24, abs=4)
    assert check.main([str(out), "--quiet"]) == 0
    twin = {
        entry["source_file"] or entry["file"].split("/")[-1]: entry["split"]
        for entry in json.loads((out / "manifest.json").read_text())["files"]
    }
    assert twin["f0.png"] == twin["f39.png"]


def test_what_the_old_set_says_is_kept_and_the_split_is_told(slides, tmp_path):
    assert run(slides, "--out", tmp_path / "out", "--seed", 3) == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["name"], manifest["licence"], manifest["limits"]) == ("slides", "CC0-1.0", ["small"])
    assert manifest["split"]["seed"] == 3
    assert manifest["split"]["kept_whole"] == ["patient", "slide", "twins"]
    assert manifest["split"]["manifest_sha256_before"] == annotations.sha256(slides.parent / "manifest.json")
    assert "rbc_px: 12.5" in (tmp_path / "out/data.yaml").read_text()
    assert {entry["rbc_px"] for entry in manifest["files"]} == {12.5}
    old, new = annotations.read_data_yaml(slides), annotations.read_data_yaml(tmp_path / "out/data.yaml")
    labels = {p.stem: annotations.label_path(p).read_text() for p in old.images("train")}
    assert {p.stem: annotations.label_path(p).read_text() for paths in new.splits.values() for p in paths} == labels


def test_the_seed_decides_and_repeats_and_the_old_set_stays(slides, tmp_path):
    before = {p: p.read_bytes() for p in slides.parent.rglob("*") if p.is_file()}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(slides, "--out", tmp_path / name, "--seed", seed) == 0
    a, b, c = (splits_by(tmp_path / name, "sha256") for name in "abc")
    assert a == b
    assert a != c
    assert {p: p.read_bytes() for p in slides.parent.rglob("*") if p.is_file()} == before


def test_a_split_that_leaks_is_not_made(slides, tmp_path, capsys):
    assert run(slides, "--out", tmp_path / "out", "--group", "slide") == 2
    assert "patient 'p" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--group", "field"], "unknown"),
        (["--shares", "0.5,0.2,0.2"], "--shares"),
        (["--shares", "a,b,c"], "--shares"),
        (["--shares", "0,0.5,0.5"], "--shares"),
    ],
)
def test_mistakes_are_one_line(slides, tmp_path, capsys, arguments, words):
    assert run(slides, "--out", tmp_path / "out", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_too_few_groups_to_fill_every_split_are_told(tmp_path, capsys):
    records = [Record(None, field(i)[0], f"f{i}", "train", field(i)[1], slide="one") for i in range(4)]
    data = write_yolo(records, tmp_path / "one", classes=CLASSES, about={})
    assert run(data, "--out", tmp_path / "out") == 2
    assert "cannot fill" in capsys.readouterr().err
    assert run(data, "--out", data.parent) == 2
    assert "the set itself" in capsys.readouterr().err


def test_one_name_in_two_old_splits_stays_two_files(tmp_path):
    records = [
        Record(None, field(10 * j + i)[0], f"f{i}", s, field(10 * j + i)[1]) for j, s in enumerate(("train", "test")) for i in range(6)
    ]
    data = write_yolo(records, tmp_path / "old", classes=CLASSES, about={})
    assert run(data, "--out", tmp_path / "new", "--shares", "0.5,0.5,0") == 0
    assert sum(map(len, annotations.read_data_yaml(tmp_path / "new/data.yaml").splits.values())) == 12


def test_a_crops_table_is_split_by_its_groups(tmp_path):
    rows = [
        CropRecord(field(i)[0], f"c{i}", "ALL" if i % 2 else "HEM", None, f"s{i // 4}", f"f{i // 2}", "train", {"stain": "x"})
        for i in range(48)
    ]
    table = write_crops(rows, tmp_path / "old", crop=None, about={"name": "cells"})
    assert run(table, "--out", tmp_path / "new", "--shares", "0.5,0.25,0.25") == 0
    with (tmp_path / "new/crops.csv").open(newline="") as file:
        new = list(csv.DictReader(file))
    assert Counter(row["split"] for row in new) == {"train": 24, "val": 12, "test": 12}
    assert {row["stain"] for row in new} == {"x"}
    slides = defaultdict(set)
    for row in new:
        slides[row["slide"]].add(row["split"])
    assert all(len(parts) == 1 for parts in slides.values())
    for s in ("train", "val", "test"):
        assert Counter(row["label"] for row in new if row["split"] == s)["ALL"] * 2 == sum(row["split"] == s for row in new)
