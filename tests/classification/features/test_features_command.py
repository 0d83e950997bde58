import json
import os

import numpy as np
import polars as pl
import pytest

from classification.features.__main__ import main
from classification.features.families import NO_CELL, compute, feature_names
from classification.features.files import measure_files
from smear.images import read_image, write_image


@pytest.fixture
def table(tmp_path, white_cell):
    """Six crops, the fourth blank; returns the path of the table."""
    lines = ["file,label,patient,slide,field,split,stain"]
    for i in range(6):
        crop = np.full((64, 64, 3), 235, np.uint8) if i == 3 else white_cell(64, seed=i, core=0.1 + 0.01 * i)[0]
        write_image(tmp_path / f"crops/{i}.png", crop)
        lines.append(f"crops/{i}.png,{('ALL', 'HEM')[i % 2]},,s{i // 2},f{i},{('train', 'val', 'test')[i // 2]},a")
    path = tmp_path / "crops.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(table, *more: str) -> int:
    return main(["--data", str(table), "--out", str(table.parent / "out/features.parquet"), "--imgsz", "64", "--workers", "0", *more])


def read(table) -> pl.DataFrame:
    return pl.read_parquet(table.parent / "out/features.parquet")


def test_the_table_has_a_row_a_crop_and_a_column_a_feature(table, capsys):
    assert run(table) == 0
    found = read(table)
    assert found.columns == [
        "file",
        "source",
        "split",
        "patient",
        "slide",
        "field",
        "stain",
        "label",
        "warnings",
        "error",
        *feature_names(),
    ]
    assert found["file"].to_list() == [f"crops/{i}.png" for i in range(6)]
    assert found["label"].to_list() == ["ALL", "HEM"] * 3
    assert found["patient"].to_list() == [None] * 6
    crops = np.stack([read_image(table.parent / f"crops/{i}.png") for i in range(6)])
    np.testing.assert_allclose(found.select(feature_names()).to_numpy(), compute(crops).values, rtol=1e-5)
    said = capsys.readouterr()
    assert "6 crops" in said.out
    assert f"warning: {NO_CELL}: 1 crops" in said.err


def test_a_blank_crop_is_nan_with_its_warning(table):
    run(table, "--families", "shape,dft")
    row = read(table).row(3, named=True)
    assert row["warnings"] == [NO_CELL]
    assert row["error"] is None
    assert np.isnan(row["cell_area"])
    assert np.isfinite(row["dft_+0_0"])


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_one_corrupt_crop_is_a_recorded_failure(table, capsys, content):
    path = table.parent / "crops/2.png"
    path.unlink() if content is None else path.write_bytes(content)
    assert run(table, "--families", "shape") == 1
    found = read(table)
    assert [error is None for error in found["error"]] == [True, True, False, True, True, True]
    assert "2.png" in found["error"][2]
    assert np.isnan(found["cell_area"][2])
    assert np.isfinite(found["cell_area"][4])
    assert "failed: " in capsys.readouterr().err


def test_units_and_sources_travel_with_the_table(table):
    run(table, "--families", "shape,glcm")
    about = pl.read_parquet_metadata(table.parent / "out/features.parquet")
    assert json.loads(about["units"])["cell_perimeter"] == "crop widths"
    made = json.loads(about["made"])
    assert set(made["families"]) == {"shape", "glcm"}
    assert made["imgsz"] == 64
    assert made["data"][0]["table_sha256"]


def test_a_table_of_no_crops_keeps_its_columns(table):
    table.write_text(table.read_text().splitlines()[0] + "\n")
    assert run(table, "--families", "shape") == 0
    assert read(table).height == 0
    assert "cell_area" in read(table).columns


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--families", "shpe"], "did you mean 'shape'"),
        (["--label-column", "kind"], "column 'kind' is missing"),
        (["--imgsz", "4"], "--imgsz must be at least 16"),
        (["--workers", "-1"], "--workers at least 0"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(table, capsys, more, message):
    assert run(table, *more) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert message in said[0]


def test_a_missing_table_is_one_line(tmp_path, capsys):
    assert run(tmp_path / "crops.csv") == 2
    assert "cannot read it" in capsys.readouterr().err


def test_a_crop_without_a_label_is_refused(table, capsys):
    table.write_text(table.read_text().replace(",HEM,", ",,", 1))
    assert run(table) == 2
    assert "every crop needs a label" in capsys.readouterr().err


def test_processes_give_what_one_gives(table, monkeypatch):
    monkeypatch.setattr("classification.features.files.CHUNK", 3)
    paths = [table.parent / f"crops/{i}.png" for i in range(6)]
    alone = list(measure_files(paths, "shape,dft", size=64))
    shared = list(measure_files(paths, "shape,dft", size=64, workers=2))
    assert len(alone) == len(shared) == 2
    for a, b in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert (a.names, a.warnings, a.errors) == (b.names, b.warnings, b.errors)


def test_the_environment_of_this_process_stays_as_it_was(table, monkeypatch):
    monkeypatch.setattr("classification.features.files.CHUNK", 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    assert run(table, "--families", "histogram", "--workers", "2") == 0
    assert dict(os.environ) == before
