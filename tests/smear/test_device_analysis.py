"""A whole analysis whose pixels stay on the device of the networks finds what the analysis on the host finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classification.classifier import PIXELS, BundleClassifier
from classification.classifier import build_network as classifier_network
from datasets.painted import draw_style, paint_field
from detection.detector import YoloDetector
from detection.detector import build_network as detector_network
from smear.analyze import Analyzer
from smear.device_pixels import DeviceOptics
from smear.fields import find_fields
from smear.images import write_image
from smear.line import Pace
from smear.models import open_bundle
from smear.optics import HostOptics, Optics
from smear.plan import Plan, white_labels
from smear.runtimes import open_runtime
from smear.scale import RED_CELL_UM
from smear.settings import AnalyzeSettings
from smear.types import FieldResult, Pixels

MODELS = Path(__file__).resolve().parents[2] / "models"


def analyzer(device: str, runtime: str, optics: Optics, *, lanes: int = 1, small: bool = False) -> Analyzer:
    found, labelled = open_bundle(MODELS / "wbc-yolov8n"), open_bundle(MODELS / "all-hem-densenet121")
    settings = AnalyzeSettings(confidence=0.3)
    plan = replace(Plan.for_cards(settings, found.card, labelled.card), fields_per_batch=2)
    if small:  # several windows a field
        plan = replace(plan, tile_px=448, overlap_px=264)
    options = {"runtime": runtime, "device": device, "threads": 1, "lanes": lanes}
    detector = open_runtime(found, build_module=detector_network, pixels=Pixels(), **options)
    classifier = open_runtime(labelled, build_module=classifier_network, pixels=PIXELS["imagenet"], **options)
    return Analyzer(
        YoloDetector(detector, found.card, confidence=plan.lowest_score, iou=plan.iou),
        BundleClassifier(classifier, labelled.card),
        plan,
        white=white_labels(found.card),
        pace=Pace(readers=1, lanes=lanes) if lanes > 1 else Pace(),
        optics=optics,
    )


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Larger and smaller than the detector's scale, so that one is shrunk and one enlarged."""
    root = tmp_path_factory.mktemp("fields")
    rbc_px = {"large.png": 90.0, "small.png": 40.0}
    for seed, (name, px) in zip((7, 17), rbc_px.items(), strict=True):
        rng = np.random.default_rng(seed)
        shape_hw = (round(7.5 * px), round(9 * px))
        write_image(root / name, paint_field(rng, draw_style(rng), shape_hw=shape_hw, rbc_px=px, classes=("WBC", "RBC", "Platelets")).image)
    return tuple(replace(field, um_per_px=RED_CELL_UM / rbc_px[field.id]) for field in find_fields(root))


def check_same(found: list, expected: list, *, px: float, probability: float) -> None:
    assert sum(len(list(r.cells())) for r in expected) >= 3, "too few cells for a comparison"
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, FieldResult)
        assert [c.label for c in ours.cells()] == [c.label for c in theirs.cells()]
        np.testing.assert_array_equal(ours.detections.labels, theirs.detections.labels)
        np.testing.assert_allclose(ours.detections.boxes, theirs.detections.boxes, atol=px)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=probability)
        assert (ours.warnings, ours.cell_warnings) == (theirs.warnings, theirs.cell_warnings)
        assert ours.quality == pytest.approx(theirs.quality, abs=1e-2)


@pytest.mark.parametrize("small", [False, True])
def test_an_analysis_on_the_device_finds_the_same_cells(fields: tuple, small: bool) -> None:
    expected = list(analyzer("cpu", "onnx", HostOptics(), small=small)(fields))
    found = list(analyzer("cpu", "torch", DeviceOptics("cpu"), small=small)(fields))
    check_same(found, expected, px=0.1, probability=0.01)


def test_two_lanes_find_what_one_finds(fields: tuple) -> None:
    one = list(analyzer("cpu", "torch", DeviceOptics("cpu"))(fields * 2))
    check_same(list(analyzer("cpu", "torch", DeviceOptics("cpu"), lanes=2)(fields * 2)), one, px=1e-3, probability=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_analysis_on_cuda_finds_the_same_cells(fields: tuple, lanes: int) -> None:
    expected = list(analyzer("cpu", "onnx", HostOptics())(fields))
    found = list(analyzer("cuda:0", "torch", DeviceOptics("cuda:0"), lanes=lanes)(fields * 4))
    check_same(found, expected * 4, px=0.2, probability=0.02)
