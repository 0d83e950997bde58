"""C-NMC, painted in its own layout: folds, preliminary phase with its CSV, final phase without labels."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import c_nmc
from smear.errors import AnnotationError
from smear.images import read_image

CANVAS_PX, CELL_PX = 90, 45


def write_cell(path: Path, *, seed: int = 0) -> None:
    canvas = np.zeros((CANVAS_PX, CANVAS_PX, 3), np.uint8)
    cv2.circle(canvas, (CANVAS_PX // 2, CANVAS_PX // 2), CELL_PX // 2, (150, 60 + seed, 130), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), canvas)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "C-NMC"
    train = root / "C-NMC_training_data"
    names = ("fold_0/all/UID_1_1_1_all", "fold_0/all/UID_1_1_2_all", "fold_1/hem/UID_H2_7_1_hem", "fold_2/all/UID_3_1_1_all")
    for seed, name in enumerate((*names, "fold_2/hem/UID_h4_2_1_hem")):
        write_cell(train / f"{name}.bmp", seed=seed)
    phase = root / "C-NMC_test_prelim_phase_data"
    for n in (1, 2):
        write_cell(phase / "C-NMC_test_prelim_phase_data" / f"{n}.bmp", seed=40 + n)
        write_cell(root / "C-NMC_test_final_phase_data" / f"{n}.bmp", seed=50 + n)
    (phase / "labels.csv").write_text("Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,1.bmp,1\nUID_H30_1_9_hem.bmp,2.bmp,0\n")
    return root


def prepare(source: Path, out: Path, *more: str) -> tuple[int, list[dict[str, str]]]:
    code = c_nmc.main(["--source", str(source), "--out", str(out), "--quiet", *more])
    if code:
        return code, []
    with (out / "crops.csv").open(newline="") as file:
        return code, list(csv.DictReader(file))


def test_folds_and_preliminary_phase_become_the_three_splits(source: Path, tmp_path: Path) -> None:
    code, rows = prepare(source, tmp_path / "out")
    assert code == 0
    found = {(r["patient"], r["label"], r["fold"], r["split"]) for r in rows}
    assert found == {
        ("1", "ALL", "fold_0", "train"),
        ("H2", "HEM", "fold_1", "train"),
        ("3", "ALL", "fold_2", "val"),
        ("H4", "HEM", "fold_2", "val"),
        ("57", "ALL", "preliminary", "test"),
        ("H30", "HEM", "preliminary", "test"),
    }
    assert [r["field"] for r in rows if r["patient"] == "1"] == ["UID_1_1", "UID_1_1"]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["n_ignored_unlabelled"] == 2


def test_the_canvas_is_kept_pixel_by_pixel(source: Path, tmp_path: Path) -> None:
    _, rows = prepare(source, tmp_path / "out")
    row = next(r for r in rows if r["patient"] == "3")
    original = read_image(source / "C-NMC_training_data/fold_2/all/UID_3_1_1_all.bmp")
    assert np.array_equal(read_image(tmp_path / "out" / row["file"]), original)


def test_without_a_ruler_the_contract_is_the_measured_canvas_over_cell(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out")
    contract = json.loads((tmp_path / "out/manifest.json").read_text())["crop"]
    assert (contract["unit"], contract["background"]) == ("box", "black")
    assert contract["width"] == pytest.approx(CANVAS_PX / CELL_PX, abs=0.02)


def test_with_a_ruler_the_contract_is_physical(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out", "--rbc-px", "15")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["crop"] == {"unit": "rbc", "width": 6.0, "background": "black"}


def test_a_subject_in_two_folds_goes_to_one_split_and_is_noted(source: Path, tmp_path: Path) -> None:
    write_cell(source / "C-NMC_training_data/fold_2/all/UID_1_9_9_all.bmp", seed=9)
    _, rows = prepare(source, tmp_path / "out")
    assert {r["split"] for r in rows if r["patient"] == "1"} == {"train"}
    assert list(json.loads((tmp_path / "out/manifest.json").read_text())["notes"].values()) == [["1"]]


def test_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/crops").rglob("*.png")}
    manifest = (tmp_path / "out/manifest.json").read_bytes()
    prepare(source, tmp_path / "out")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out/crops").rglob("*.png")}
    assert manifest == (tmp_path / "out/manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fold_0/all/cell7.bmp", "expected UID_"),
        ("fold_0/hem/UID_1_1_3_all.bmp", "the folder 'hem'"),
        ("fold_0/all/UID_H5_1_3_all.bmp", "healthy donor"),
        ("fold_7/all/UID_5_1_3_all.bmp", "unknown fold"),
    ],
)
def test_a_name_that_contradicts_itself_is_named(source: Path, name: str, why: str) -> None:
    write_cell(source / "C-NMC_training_data" / name)
    with pytest.raises(AnnotationError, match=why) as caught:
        c_nmc.find_cells(source)
    assert Path(name).name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Patient_ID,labels\nUID_57_1_1_all.bmp,1\n", "expected the columns"),
        ("Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,9.bmp,1\n", r"labels\.csv:2: '9\.bmp'"),
        ("Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,1.bmp,0\n", r"labels\.csv:2: labels is '0'"),
        (None, "without their CSV"),
    ],
)
def test_a_wrong_table_is_one_line(source: Path, text: str | None, why: str) -> None:
    table = source / "C-NMC_test_prelim_phase_data/labels.csv"
    table.unlink()
    if text:
        table.write_text(text)
    with pytest.raises(AnnotationError, match=why):
        c_nmc.find_cells(source)


def test_an_empty_folder_a_black_canvas_and_a_bad_ruler_exit_2(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert prepare(tmp_path / "empty", tmp_path / "out")[0] == 2
    assert prepare(source, tmp_path / "out", "--rbc-px", "0")[0] == 2
    cv2.imwrite(str(source / "C-NMC_training_data/fold_0/all/UID_1_1_1_all.bmp"), np.zeros((90, 90, 3), np.uint8))
    assert prepare(source, tmp_path / "out")[0] == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "UID_1_1_1_all.bmp: all black" in lines[2]
