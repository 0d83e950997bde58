"""ALL-IDB2 and the ALL-IDB1 fields that it was cut from, both painted."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import all_idb2
from smear.images import write_image

N_FIELDS, CROP_PX = 6, 48


def paint_field(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((200, 260, 3), 235, np.uint8)
    for _ in range(50):
        x, y, r = int(rng.integers(0, 260)), int(rng.integers(0, 200)), int(rng.integers(6, 18))
        cv2.circle(image, (x, y), r, [int(v) for v in rng.integers(80, 220, 3)], -1)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def places() -> list[tuple[int, int, int]]:
    """(field, x, y) of crop 1, 2, …: three a field, in mixed order."""
    rng = np.random.default_rng(7)
    found = [(f, int(rng.integers(0, 260 - CROP_PX)), int(rng.integers(0, 200 - CROP_PX))) for f in range(N_FIELDS) for _ in range(3)]
    return [found[i] for i in rng.permutation(len(found))]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    fields, crops = tmp_path / "ALL_IDB1/im", tmp_path / "ALL_IDB2/img"
    painted = [paint_field(i) for i in range(N_FIELDS)]
    for i, image in enumerate(painted):
        write_image(fields / f"Im{i + 1:03d}_{i % 2}.png", image)
    for n, (field, x, y) in enumerate(places(), 1):
        write_image(crops / f"Im{n:03d}_{field % 2}.tif", painted[field][y : y + CROP_PX, x : x + CROP_PX])
    return crops, fields


def run(out: Path, crops: Path, *more: object) -> list[dict[str, str]]:
    assert all_idb2.main(["--source", str(crops), "--out", str(out), "--quiet", *map(str, more)]) == 0
    with (out / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest_of(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def test_every_crop_finds_its_field_and_place(sets: tuple[Path, Path], tmp_path: Path) -> None:
    crops, fields = sets
    rows = run(tmp_path / "out", crops, "--all-idb1", fields)
    found = [(r["field"], int(r["field_x"]), int(r["field_y"])) for r in rows]
    assert found == [(f"Im{f + 1:03d}_{f % 2}.png", x, y) for f, x, y in places()]
    assert [r["label"] for r in rows] == ["ALL" if f % 2 else "HEM" for f, _, _ in places()]


def test_crops_of_one_field_share_a_split(sets: tuple[Path, Path], tmp_path: Path) -> None:
    rows = run(tmp_path / "out", sets[0], "--all-idb1", sets[1])
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["field"], set()).add(row["split"])
    assert len(splits) == N_FIELDS
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) > 1


def test_without_the_fields_all_is_test_and_the_manifest_warns(sets: tuple[Path, Path], tmp_path: Path) -> None:
    rows = run(tmp_path / "out", sets[0])
    assert {(r["field"], r["split"], r["patient"]) for r in rows} == {("", "test", "")}
    assert "split by field is impossible" in manifest_of(tmp_path / "out")["leakage"]
    assert "must not be mixed with ALL-IDB1" in manifest_of(tmp_path / "out")["leakage"]


def test_a_crop_that_matches_nothing_is_test_and_noted(sets: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(sets[0] / "Im099_1.tif", paint_field(77)[:CROP_PX, :CROP_PX])
    rows = run(tmp_path / "out", sets[0], "--all-idb1", sets[1])
    assert [(r["field"], r["split"]) for r in rows if r["file"] == "crops/Im099_1.png"] == [("", "test")]
    assert manifest_of(tmp_path / "out")["notes"] == {"no field matches; put into test": ["Im099_1.tif"]}


def test_a_blast_from_a_field_without_blasts_is_noted(sets: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(sets[0] / "Im098_1.tif", paint_field(0)[20 : 20 + CROP_PX, 30 : 30 + CROP_PX])
    run(tmp_path / "out", sets[0], "--all-idb1", sets[1])
    assert list(manifest_of(tmp_path / "out")["notes"].values()) == [["Im098_1.tif"]]


def test_the_contract_is_unknown_unless_the_ruler_is_given(sets: tuple[Path, Path], tmp_path: Path) -> None:
    run(tmp_path / "a", sets[0])
    run(tmp_path / "b", sets[0], "--rbc-px", 12)
    assert manifest_of(tmp_path / "a")["crop"] is None
    assert manifest_of(tmp_path / "b")["crop"] == {"unit": "rbc", "width": 4.0, "background": "kept"}


def test_a_wrong_name_or_ruler_is_one_line(sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all_idb2.main(["--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert all_idb2.main(["--source", str(sets[0]), "--out", str(tmp_path / "out"), "--rbc-px", "-3", "--quiet"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
