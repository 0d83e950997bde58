"""Every detector gives one Detections a tile, in tile pixels, the same over every runtime."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from detection.detector import YoloDetector
from smear.bundles import save_bundle
from smear.models import open_bundle
from smear.runtimes import open_runtime

_spec = importlib.util.spec_from_file_location("colour", Path(__file__).parents[1] / "smear" / "conftest.py")
assert _spec
assert _spec.loader
colour = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(colour)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("colour")
    save_bundle(root, colour.DETECTOR_CARD, {"model.onnx": colour.colour_detector()})
    return open_bundle(root)


@pytest.fixture(params=["onnx", "openvino", "blobs"])
def detector(request, bundle):
    if request.param == "blobs":
        return colour.BlobDetector()
    return YoloDetector(open_runtime(bundle, runtime=request.param, device="cpu", threads=1), bundle.card)


def tiles() -> list[np.ndarray]:
    return [
        colour.paint_discs((384, 512), rbc_px=48, n_all=1, n_hem=1, n_red=5, seed=1),
        colour.paint_discs((640, 640), rbc_px=48, n_all=2, n_hem=1, n_red=9, seed=2),
        np.full((100, 90, 3), 236, np.uint8),
    ]


def test_one_set_a_tile_in_its_pixels_surest_first(detector):
    found = detector(tiles())
    assert [[int((d.labels == k).sum()) for k in (0, 1)] for d in found] == [[2, 5], [3, 9], [0, 0]]
    for tile, d in zip(tiles(), found, strict=True):
        assert (d.boxes >= 0).all()
        assert (d.boxes[:, 2:] <= np.array(tile.shape[1::-1])).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.labels.max(initial=0) < len(detector.classes)


def test_a_tile_gives_the_same_alone_and_among_others(detector):
    together = detector(tiles())
    for tile, d in zip(tiles(), together, strict=True):
        (alone,) = detector([tile])
        np.testing.assert_allclose(alone.boxes, d.boxes, atol=0.01)
        np.testing.assert_allclose(alone.scores, d.scores, atol=1e-4)


def test_no_tiles_give_nothing(detector):
    assert detector([]) == []


def test_tiles_are_not_changed(detector):
    given = tiles()
    detector(given)
    for a, b in zip(given, tiles(), strict=True):
        np.testing.assert_array_equal(a, b)
