"""A region analysed block by block gives what the same pixels give as one field, and is kept like any field."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.tiled import write_tiled
from smear import boxes, large, store
from smear.analyze import Analyzer
from smear.images import read_image
from smear.large import LEFT_OUT, typical_scale
from smear.line import Pace
from smear.models import CropContract
from smear.plan import Plan
from smear.scale import Ruler
from smear.store import Store
from smear.types import UNKNOWN_SCALE, Field, FieldFailure, FieldResult, Scale

PLAN = Plan(
    ruler=Ruler(48, 1, (0,)), letterbox_px=640, contract=CropContract(width=3.0), crop_px=16, confidence=0.25, floor=0.25, iou=0.5,
    review_below=0.8, tile_px=320, overlap_px=192, warnings=("said of every field",),
)  # fmt: skip
SHAPE = (1500, 1700)


class Redness:
    classes = ("ALL", "HEM")

    def __call__(self, crops):
        p = np.clip(crops[:, 6:10, 6:10, 0].mean(axis=(1, 2)) / 200, 0, 1).astype(np.float32)
        return np.stack([p, 1 - p], axis=1)


@pytest.fixture(scope="module")
def picture(paint) -> np.ndarray:
    return paint(SHAPE, rbc_px=40, n_all=9, n_hem=14, n_red=120)


@pytest.fixture
def field(tmp_path, picture) -> Field:
    return as_tiff(tmp_path / "in" / "region.tif", picture)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(large, "BLOCK_PX", 512)
    monkeypatch.setattr(large, "SAMPLE_PX", 600)
    monkeypatch.setattr(large, "MOST_SAMPLES", 9)


def as_tiff(path: Path, picture: np.ndarray) -> Field:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tiled(path, picture.shape[:2], (picture[y : y + 256] for y in range(0, len(picture), 256)), tile_px=256, how="deflate")
    return Field(path.name, path)


def analyzer(blobs, *, by_region: bool = True, plan: Plan = PLAN, **more) -> Analyzer:
    return Analyzer(blobs, Redness(), plan, white=(0,), whole_pixels=10_000 if by_region else 10**9, **more)


def pairs(a: FieldResult, b: FieldResult) -> np.ndarray:
    """For each detection of a the row of b at the same place, of the same class; every row of b is met once."""
    overlap = boxes.iou(a.detections.boxes, b.detections.boxes) * (a.detections.labels[:, None] == b.detections.labels[None])
    rows = overlap.argmax(axis=1)
    assert len(a.detections) == len(b.detections)
    assert sorted(rows.tolist()) == list(range(len(rows)))
    assert overlap.max(axis=1).min() > 0.8
    return rows


class TestSameAsWhole:
    @pytest.mark.parametrize("um_per_px", [None, 7.5 / 40])
    def test_every_cell_is_found_once_with_its_label(self, blobs, field, um_per_px):
        one = replace(field, um_per_px=um_per_px)
        (whole,), (parts,) = analyzer(blobs, by_region=False)([one]), analyzer(blobs)([one])
        assert (whole.count("WBC"), whole.count("RBC")) == (parts.count("WBC"), parts.count("RBC")) == (23, 120)
        rows = pairs(whole, parts)
        assert np.allclose(whole.probabilities[whole.is_white], parts.probabilities[rows][whole.is_white], atol=0.03)
        assert whole.is_white.tolist() == parts.is_white[rows].tolist()
        assert parts.shape_hw == whole.shape_hw == SHAPE
        assert parts.scale.rbc_px == pytest.approx(whole.scale.rbc_px, rel=0.03)
        assert parts.scale.source == whole.scale.source
        assert parts.quality.keys() == whole.quality.keys()
        assert set(whole.seconds) == set(parts.seconds)
        assert parts.warnings == ("said of every field",)

    def test_no_seam_gives_a_cell_a_warning_that_the_field_does_not(self, blobs, tmp_path, paint):
        one = as_tiff(tmp_path / "a.tif", paint((900, 1500), rbc_px=40, n_all=60, n_hem=60, n_red=0)[16:, 18:])
        one = replace(one, um_per_px=7.5 / 40)
        (whole,), (parts,) = analyzer(blobs, by_region=False)([one]), analyzer(blobs)([one])
        rows = pairs(whole, parts)
        assert [parts.cell_warnings[i] for i in rows] == list(whole.cell_warnings)
        assert any(whole.cell_warnings)
        assert not all(whole.cell_warnings)

    def test_threads_change_nothing(self, blobs, field):
        (alone,), (together,) = analyzer(blobs)([field]), analyzer(blobs, pace=Pace(readers=3, lanes=2, writers=1))([field])
        assert replace(alone, seconds={}) == replace(together, seconds={})

    def test_a_region_without_cells_is_an_ordinary_result(self, blobs, tmp_path, paint):
        empty = as_tiff(tmp_path / "a.tif", np.full((900, 900, 3), 230, np.uint8))
        (result,) = analyzer(blobs)([empty])
        assert isinstance(result, FieldResult)
        assert (len(result.detections), result.probabilities.shape, result.scale.is_known) == (0, (0, 2), False)
        assert any("scale unknown" in text for text in result.warnings)

    def test_ordinary_fields_and_regions_keep_their_order(self, blobs, tmp_path, picture, field, paint):
        small = as_tiff(tmp_path / "in" / "small.tif", paint((90, 100), rbc_px=30, n_all=0, n_hem=1, n_red=0))
        outcomes = analyzer(blobs, pace=Pace(readers=1, lanes=1, writers=1))([small, field, small, small, field])
        assert [o.field.id for o in outcomes] == ["small.tif", "region.tif", "small.tif", "small.tif", "region.tif"]


class TestDoubts:
    def test_tiles_that_were_left_out_are_said(self, blobs, tmp_path, picture):
        with_hole = picture.copy()
        with_hole[256:512, 512:1024] = 255
        (result,) = analyzer(blobs)([as_tiff(tmp_path / "a.tif", with_hole)])
        assert f"{LEFT_OUT}: 2 tiles, analysed as white" in result.warnings

    def test_a_blurred_part_is_counted(self, blobs, tmp_path, picture, monkeypatch):
        blurred = picture.copy()
        blurred[:, :500] = cv2.GaussianBlur(picture[:, :500], (0, 0), 4)

        def judge(quality, reference):
            return quality, ("out of focus: as a test has it",) if quality.get("focus", 1) < 0.3 else ()

        monkeypatch.setattr("smear.finder.judge", judge)
        monkeypatch.setattr("smear.large.judge", judge)
        (sharp,), (part,) = analyzer(blobs)([as_tiff(tmp_path / "a.tif", picture)]), analyzer(blobs)([as_tiff(tmp_path / "b.tif", blurred)])
        assert not any("focus" in text for text in sharp.warnings)
        assert any("out of focus: " in text and text.endswith("parts of the field") for text in part.warnings)


class TestScaleOfAWhole:
    def test_nothing_measured_is_unknown(self):
        assert typical_scale([]) == typical_scale([UNKNOWN_SCALE] * 3) == UNKNOWN_SCALE

    def test_red_cells_speak_before_white_ones(self):
        parts = [Scale(90.0, 0.1, 3, "white cells"), Scale(40.0, 0.1, 20, "red cells"), Scale(42.0, 0.3, 20, "red cells")]
        assert typical_scale(parts) == Scale(41.0, 0.2, 40, "red cells")
        assert typical_scale(parts[:1]) == parts[0]

    def test_one_part_that_is_wrong_by_far_does_not_count(self):
        parts = [Scale(px, 0.1, 30, "red cells") for px in (40.0, 41.0, 39.0, 160.0)]
        assert typical_scale(parts).rbc_px == pytest.approx(40, abs=1.01)


class TestKept:
    @pytest.fixture
    def kept(self, blobs, field, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "OVERVIEW_PX", 500)
        folder = Store(tmp_path / "out", [field], key="k", with_crops=True)
        (result,) = analyzer(blobs, recall=folder.recall, keep=folder.keep)([field])
        return folder, result

    def test_the_picture_is_reduced_and_coordinates_are_not(self, kept, tmp_path):
        folder, result = kept
        report = folder.finish([result], cards=[], config={})
        shown = read_image(tmp_path / "out" / "annotated" / "region.png")
        assert shown.shape[1] == 425  # a quarter of 1700
        assert 375 < shown.shape[0] < 500  # and the strip below
        assert report["fields"][0]["shape_hw"] == list(SHAPE)
        rows = (tmp_path / "out" / "cells.csv").read_text().splitlines()[1:]
        assert len(rows) == 23
        assert max(float(row.split(",")[6]) for row in rows) > 1000

    def test_gallery_and_crops_are_those_of_the_field_as_a_whole(self, kept, blobs, field, picture, tmp_path):
        _, result = kept
        ordinary = Store(tmp_path / "whole", [field], key="k", with_crops=True)
        ordinary.keep(result, picture)
        records = [json.loads((tmp_path / name / "fields" / "region.json").read_text()) for name in ("out", "whole")]
        assert records[0]["gallery"] == records[1]["gallery"]
        crops = sorted((tmp_path / "whole" / "crops").rglob("*.png"))
        assert len(crops) == 23
        assert all(np.array_equal(read_image(c), read_image(tmp_path / "out" / c.relative_to(tmp_path / "whole"))) for c in crops)

    def test_it_is_recalled_by_its_bytes(self, kept, blobs, field, tmp_path):
        _, result = kept
        again = Store(tmp_path / "out", [field], key="k", with_crops=True)
        seen = []
        (known,) = analyzer(never_asked(blobs), recall=again.recall, keep=lambda *a: seen.append(a))([field])
        assert (known, seen) == (result, [])
        assert again.recall(field, field.path.read_bytes()) == result
        other = Store(tmp_path / "out", [field], key="other")
        assert other.recall(field, field.path.read_bytes()) is None


def never_asked(blobs):
    class Refuses:
        classes = blobs.classes

        def __call__(self, tiles):
            raise AssertionError("asked although the result is known")

    return Refuses()


def test_a_damaged_tile_fails_the_field_by_name_and_the_run_goes_on(blobs, field, tmp_path, paint):
    data = bytearray(field.path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\x55" * 40
    field.path.write_bytes(bytes(data))
    good = as_tiff(tmp_path / "in" / "small.tif", paint((90, 100), rbc_px=30, n_all=0, n_hem=1, n_red=0))
    folder = Store(tmp_path / "out", [field, good], key="k")
    failed, fine = analyzer(blobs, keep=folder.keep, pace=Pace(readers=2, lanes=2))([field, good])
    assert isinstance(failed, FieldFailure)
    assert failed.stage == "decode"
    assert failed.error.startswith("region.tif: tile ")
    assert "damaged" in failed.error
    assert isinstance(fine, FieldResult)
    assert not (tmp_path / "out" / "annotated" / "region.png").exists()
