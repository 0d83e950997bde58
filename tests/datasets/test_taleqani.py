"""The Taleqani form, painted: four numbered folders, two interleaved slides each, copies, a scale bar; the detector is a stand-in."""

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import taleqani
from datasets.taleqani import cut_cells, slide_rulers
from datasets.taleqani_fields import find_fields
from smear.errors import AnnotationError
from smear.images import encode, read_image
from smear.types import UNKNOWN_SCALE, Detections, Image, Scale

SIDE, RBC_PX, CELL_PX = 224, 14, 22
N_FIELDS = 20  # a folder
NUCLEI = {"Benign": ((150, 60, 190), (60, 60, 190)), "Early": ((110, 40, 150), (170, 110, 220)), "Pre": ((90, 90, 180), (140, 30, 120))}
NUCLEI["Pro"] = ((200, 90, 200), (90, 30, 110))


def paint(folder: str, number: int) -> Image:
    """Slides take turns: odd numbers one, even the other. Three cells anywhere, not touching, and one under the scale bar."""
    rng = np.random.default_rng([number, *folder.encode()])
    image = np.full((SIDE, SIDE, 3), (244, 242, 236 if number % 2 else 246), np.uint8)
    for x, y in rng.integers(0, SIDE, (60, 2)):
        cv2.circle(image, (int(x), int(y)), RBC_PX // 2, (205, 200, 210), -1, cv2.LINE_AA)
    centres = [np.array([200, 200])]
    while len(centres) < 4:
        centre = rng.integers(20, SIDE - 20, 2)
        if min(np.abs(centre - other).max() for other in centres) > 2 * CELL_PX and (centre < 165).any():
            centres.append(centre)
    for x, y in centres:
        cv2.circle(image, (int(x), int(y)), CELL_PX // 2, NUCLEI[folder][number % 2], -1, cv2.LINE_AA)
    image[206:214, 195:216] = 255
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def find_painted(image: Image) -> tuple[Detections, Scale]:
    """Dark, coloured blobs of the size of a cell."""
    mask = (image[..., 1] < 150).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    found = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 150]
    return Detections(np.array(found, np.float32), np.full(len(found), 0.9), np.zeros(len(found))), Scale(RBC_PX, 0.1, 30, "red cells")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("taleqani")
    for folder in NUCLEI:
        (root / folder).mkdir()
        for number in range(1, N_FIELDS + 1):
            (root / folder / f"WBC-{folder}-{number:03d}.jpg").write_bytes(encode(paint(folder, number), ".jpg"))
    twin = root / "Pro" / "WBC-Pro-003.jpg"
    (root / "Pro" / "WBC-Pro-005.jpg").write_bytes(twin.read_bytes())
    return root


def run(source: Path, out: Path, **changed: object) -> list[dict[str, str]]:
    options = {
        "source": source,
        "out": out,
        "rbc_px": None,
        "seed": 0,
        "stains": 8,
        "quiet": True,
        "detector": None,
        "device": "cpu",
        **changed,
    }
    find_cells = options.pop("find_cells", find_painted)
    path = taleqani.prepare(argparse.Namespace(**options), find_cells=find_cells)  # type: ignore[arg-type]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    out = tmp_path_factory.mktemp("out")
    return out, run(source, out)


def test_every_cell_away_from_the_scale_bar_has_one_row_labelled_by_its_field(prepared: tuple[Path, list[dict[str, str]]]) -> None:
    _, rows = prepared
    assert len(rows) == 4 * N_FIELDS * 3
    assert {(r["subtype"], r["label"]) for r in rows} == {("benign", "HEM"), ("early", "ALL"), ("pre", "ALL"), ("pro", "ALL")}
    assert all(r["patient"] == "" and r["field"].startswith(r["subtype"].capitalize()) for r in rows)


def test_crops_are_three_red_cells_wide_at_native_resolution_and_centred(prepared: tuple[Path, list[dict[str, str]]]) -> None:
    out, rows = prepared
    assert json.loads((out / "manifest.json").read_text())["crop"] == {"unit": "rbc", "width": 3.0, "background": "kept"}
    for row in rows[::17]:
        crop = read_image(out / row["file"])
        assert crop.shape == (3 * RBC_PX, 3 * RBC_PX, 3)
        y, x = np.nonzero(crop[..., 1] < 150)
        assert np.median(x) == pytest.approx(3 * RBC_PX / 2, abs=3)
        assert np.median(y) == pytest.approx(3 * RBC_PX / 2, abs=3)


def test_interleaved_slides_are_parted_and_stay_in_one_split(prepared: tuple[Path, list[dict[str, str]]]) -> None:
    _, rows = prepared
    slides: dict[str, set[tuple[str, int]]] = {}
    splits: dict[str, set[str]] = {}
    for row in rows:
        slides.setdefault(row["slide"], set()).add((row["subtype"], int(row["field"][-3:]) % 2))
        splits.setdefault(row["slide"], set()).add(row["split"])
    assert len(slides) == 8
    assert all(len(truth) == 1 for truth in slides.values())
    assert all(len(found) == 1 for found in splits.values())


def test_copies_share_a_group_and_others_have_their_own(prepared: tuple[Path, list[dict[str, str]]]) -> None:
    _, rows = prepared
    group = {r["field"]: r["group"] for r in rows}
    assert group["Pro/WBC-Pro-005"] == group["Pro/WBC-Pro-003"] == "Pro/WBC-Pro-003"
    assert len(set(group.values())) == 4 * N_FIELDS - 1


def test_stains_follow_the_painted_stains_and_the_manifest_says_how_far(prepared: tuple[Path, list[dict[str, str]]]) -> None:
    out, rows = prepared
    assert len({(r["slide"], r["stain"]) for r in rows}) == 8
    manifest = json.loads((out / "manifest.json").read_text())
    assert sum(n for row in manifest["stain_table"].values() for n in row.values()) == 4 * N_FIELDS
    assert 0.3 < manifest["stain_subtype_alignment"] < 1
    assert manifest["n_slides"] == 8
    ((note, fields),) = manifest["notes"].items()
    assert note == "cell left out, its crop would show the scale bar"
    assert sorted(fields) == sorted({r["field"] for r in rows})


def test_a_second_run_neither_detects_nor_writes(source: Path, prepared: tuple[Path, list[dict[str, str]]]) -> None:
    out, rows = prepared

    def fail(image: Image) -> tuple[Detections, Scale]:
        raise AssertionError("detected again")

    before = (out / "manifest.json").stat().st_mtime_ns
    assert run(source, out, find_cells=fail) == rows
    assert (out / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(AssertionError, match="detected again"):
        run(source, out, find_cells=fail, seed=1)


def test_the_command_builds_the_finder_from_the_bundle(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def build(bundle: Path, *, device: str, rbc_px: float | None) -> object:
        asked.extend([bundle, device, rbc_px])
        return find_painted

    card = argparse.Namespace(name="painted", files={"weights.onnx": "0" * 64})
    monkeypatch.setattr(taleqani, "open_bundle", lambda folder: argparse.Namespace(card=card))
    monkeypatch.setattr("smear.build.build_cell_finder", build)
    arguments = [
        "--source",
        source,
        "--out",
        tmp_path / "out",
        "--detector",
        tmp_path / "bundle",
        "--device",
        "cpu",
        "--rbc-px",
        "14",
        "--quiet",
    ]
    assert taleqani.main([str(a) for a in arguments]) == 0
    assert asked == [tmp_path / "bundle", "cpu", 14.0]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["detector"] == {"name": "painted", "files": card.files}


def test_a_cell_whose_crop_reaches_the_scale_bar_is_left_out() -> None:
    centres = np.array([(165, 165), (180, 180), (180, 100), (100, 180)], np.float32)
    cells = Detections(np.concatenate([centres - 11, centres + 11], axis=1), np.ones(4), np.zeros(4))
    kept, n_left_out = cut_cells(np.zeros((SIDE, SIDE, 3), np.uint8), cells, rbc_px=RBC_PX)
    assert ([i for i, _, _ in kept], n_left_out) == ([0, 2, 3], 1)


def test_a_cell_at_the_edge_is_kept_with_its_warning() -> None:
    cells = Detections(np.array([[0, 40, 15, 62]]), np.ones(1), np.zeros(1))
    ((_, view, warnings),), _ = cut_cells(np.zeros((SIDE, SIDE, 3), np.uint8), cells, rbc_px=RBC_PX)
    assert view.shape == (42, 42, 3)
    assert warnings == "cut by the edge; crop padded beyond the edge"


def test_no_cells_give_no_rows() -> None:
    assert cut_cells(np.zeros((SIDE, SIDE, 3), np.uint8), Detections.empty(), rbc_px=RBC_PX) == ([], 0)


def test_a_slide_is_measured_by_its_own_fields_and_else_by_all() -> None:
    scales = [Scale(px, 0.1, 9, "red cells") for px in (12, 13, 20)] + [UNKNOWN_SCALE]
    assert slide_rulers(scales, ["a", "a", "b", "c"]) == {"a": 12.5, "b": 20, "c": 13}
    with pytest.raises(AnnotationError, match="--rbc-px"):
        slide_rulers([UNKNOWN_SCALE], ["a"])


def test_fields_are_ordered_by_number_not_by_name(tmp_path: Path) -> None:
    for folder in NUCLEI:
        (tmp_path / folder).mkdir()
        for name in ("a (10).jpg", "a (9).jpg", "cover.jpg"):
            (tmp_path / folder / name).touch()
    assert [f.id for f in find_fields(tmp_path)][:3] == ["Benign/cover", "Benign/a (9)", "Benign/a (10)"]


def test_a_missing_folder_and_a_broken_field_are_named(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Benign").mkdir()
    arguments = ["--source", str(tmp_path), "--out", str(tmp_path / "out"), "--detector", str(tmp_path), "--quiet"]
    assert taleqani.main(arguments) == 2
    assert "Early is missing" in capsys.readouterr().err
    for folder in NUCLEI:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "x-001.jpg").write_bytes(b"not an image")
    with pytest.raises(Exception, match=r"x-001\.jpg"):
        run(tmp_path, tmp_path / "out")
