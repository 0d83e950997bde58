"""ALL-IDB1, painted in its own layout: fields named ImXXX_Y and .xyc centroids."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from datasets import all_idb1
from smear.errors import AnnotationError
from smear.images import write_image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "ALL_IDB1"
    rng = np.random.default_rng(0)
    for name, text in {"Im001_1": "12\t30\n99 7 \n", "Im002_0": "", "Im003_1": "\n5.5 6.5\n"}.items():
        write_image(root / "im" / f"{name}.jpg", rng.integers(0, 255, (80, 100, 3), dtype=np.uint8))
        (root / "xyc").mkdir(exist_ok=True)
        (root / "xyc" / f"{name}.xyc").write_text(text)
    return root


def run(source: Path, out: Path) -> int:
    return all_idb1.main(["--source", str(source), "--out", str(out), "--quiet"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_points_keep_their_pixels_whatever_the_separator(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out") == 0
    found = [(r["field"], float(r["x"]), float(r["y"]), r["label"]) for r in rows_of(tmp_path / "out/points.csv")]
    assert found == [
        ("images/Im001_1.jpg", 12, 30, "ALL"),
        ("images/Im001_1.jpg", 99, 7, "ALL"),
        ("images/Im003_1.jpg", 5.5, 6.5, "ALL"),
    ]


def test_a_field_without_blasts_is_there_with_no_point(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    fields = {r["file"]: (r["label"], r["n_points"], r["height"], r["width"], r["split"]) for r in rows_of(tmp_path / "out/fields.csv")}
    assert fields["images/Im002_0.jpg"] == ("HEM", "0", "80", "100", "test")
    assert fields["images/Im001_1.jpg"] == ("ALL", "2", "80", "100", "test")


def test_images_are_copied_byte_by_byte_and_hashed(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    assert (tmp_path / "out/images/Im001_1.jpg").read_bytes() == (source / "im/Im001_1.jpg").read_bytes()
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["kind"] == "points"
    assert manifest["labels"] == {"test": {"ALL": 2, "HEM": 1, "blasts": 3}}
    assert len(manifest["files"]) == 3


def test_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").rglob("*.[jc]*[gv]")}
    run(source, tmp_path / "out")
    assert before == {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").rglob("*.[jc]*[gv]")}
    assert len(before) == 5


def test_a_blast_field_without_a_point_is_noted(source: Path, tmp_path: Path) -> None:
    (source / "xyc/Im003_1.xyc").write_text("")
    run(source, tmp_path / "out")
    assert list(json.loads((tmp_path / "out/manifest.json").read_text())["notes"].values()) == [["images/Im003_1.jpg"]]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("Im001_1", "12 30 4\n", r"Im001_1\.xyc:1: expected two numbers"),
        ("Im001_1", "1 2\nx y\n", r"Im001_1\.xyc:2: expected two numbers"),
        ("Im001_1", "100 7\n", r"Im001_1\.xyc: 100 7 lies outside the field of 100×80 px"),
        ("Im002_0", "4 4\n", r"Im002_0\.xyc: 1 blasts in a field whose name says it has none"),
        ("Im003_1", None, r"no Im003_1\.xyc found"),
    ],
)
def test_wrong_centroids_are_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, why: str
) -> None:
    path = source / "xyc" / f"{name}.xyc"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert run(source, tmp_path / "out") == 2
    captured = capsys.readouterr().err
    assert re.search(why, captured)
    assert captured.count("\n") == 1


def test_a_broken_image_is_named(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "im/Im002_0.jpg").write_bytes(b"")
    assert run(source, tmp_path / "out") == 2
    assert "Im002_0.jpg" in capsys.readouterr().err


def test_two_images_of_one_name_and_an_empty_folder_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no image named"):
        all_idb1.find_files(source / "xyc")
    write_image(source / "again/Im001_1.jpg", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(AnnotationError, match="second image named Im001_1"):
        all_idb1.find_files(source)
