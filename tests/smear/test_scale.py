"""The ruler of a field, measured by a detector that finds round blobs of any size."""

import numpy as np
import pytest

from datasets.painted import draw_style, paint_field
from smear import boxes
from smear import scale as scale_module
from smear.ruler_looks import WINDOW_PX
from smear.scale import WHITE_PER_RED, Ruler, estimate_scale, given_scale
from smear.types import UNKNOWN_SCALE, Detections

RULER = Ruler(rbc_px=48, red=1, white=(0,))


class KnowingDetector:
    """Knows the cells of one field; a window says by its colours which part of the field it shows (red is x, green is y).

    As a trained detector does, it finds cells of about the size it was trained at, surest at that size, and nothing much smaller or larger.
    """

    classes = ("WBC", "RBC")

    def __init__(self, truth: Detections, shape_hw: tuple[int, int]) -> None:
        self.truth, self.shape_hw = truth, shape_hw
        self.picture = np.zeros((*shape_hw, 3), np.uint8)
        for axis, side in ((1, shape_hw[0]), (0, shape_hw[1])):
            ramp = np.linspace(0, 255, side)
            self.picture[:, :, axis] = ramp[:, None] if axis else ramp
        rows, columns = np.indices(shape_hw) // 40
        self.picture[:, :, 2] = (rows + columns) % 2 * 255  # a chessboard: every window shows something

    def __call__(self, tiles):
        return [self._find(tile) for tile in tiles]

    def _find(self, tile):
        height, width = tile.shape[:2]
        x0, x1 = (np.median(tile[:, i, 0]) / 255 * self.shape_hw[1] for i in (0, -1))
        y0 = np.median(tile[0, :, 1]) / 255 * self.shape_hw[0]
        factor = width / max(x1 - x0, 1)
        corners = (self.truth.boxes - np.array([x0, y0, x0, y0])) * factor
        inside = boxes.clip(corners.astype(np.float32), (height, width))
        off = np.abs(np.log(boxes.diameters(corners) / np.where(self.truth.labels == 0, 84, 48)))
        scores = np.clip(0.95 - off, 0, 1).astype(np.float32)
        seen = (scores >= 0.25) & (boxes.area(inside) > 0.3 * boxes.area(corners))
        return Detections(inside[seen], scores[seen], self.truth.labels[seen])


def painted_truth(rbc_px: float, *, labels: tuple[int, ...] = (0, 1), shape_hw: tuple[int, int] = (480, 640), seed: int = 5) -> Detections:
    """The true boxes of a painted field, 0 for white and 1 for red cells."""
    rng = np.random.default_rng(seed)
    truth = paint_field(rng, draw_style(rng), shape_hw=shape_hw, rbc_px=rbc_px, classes=("WBC", "RBC", "Platelets")).truth
    return truth.take(np.isin(truth.labels, labels))


def test_a_given_pixel_size_is_the_ruler():
    scale = given_scale(0.125)
    assert (scale.rbc_px, scale.source, scale.is_known) == (60, "given", True)


@pytest.mark.parametrize("rbc_px", [30, 60, 100])
def test_red_cells_of_any_size_are_measured(blobs, paint, rbc_px):
    side = max(480, 8 * rbc_px)
    scale = estimate_scale(paint((side, side), rbc_px=rbc_px), blobs, RULER)
    assert scale.rbc_px == pytest.approx(rbc_px, rel=0.06)  # the edge of a small disc grows with its field
    assert scale.source == "red cells"


@pytest.mark.parametrize("rbc_px", [15, 30, 60, 100])
def test_painted_fields_of_any_magnification_are_measured(rbc_px):
    detector = KnowingDetector(painted_truth(rbc_px), (480, 640))
    scale = estimate_scale(detector.picture, detector, RULER)
    assert scale.rbc_px == pytest.approx(rbc_px, rel=0.1)
    assert scale.source == "red cells"
    assert scale.n >= scale_module.MIN_CELLS


@pytest.mark.parametrize("rbc_px", [20, 60])
def test_painted_fields_without_red_cells_are_measured_by_their_white_ones(rbc_px):
    truth = Detections.concat(painted_truth(rbc_px, labels=(0,), seed=seed) for seed in range(4))
    assert len(truth) >= 3
    detector = KnowingDetector(truth, (480, 640))
    scale = estimate_scale(detector.picture, detector, RULER)
    assert scale.source == "white cells"
    assert scale.rbc_px == pytest.approx(rbc_px, rel=0.3)  # white cells are 1.3 to 1.9 red cells wide


@pytest.mark.parametrize("rbc_px", [20, 60])
def test_without_red_cells_white_cells_are_the_ruler(blobs, paint, rbc_px):
    scale = estimate_scale(paint((480, 480), rbc_px=rbc_px, n_red=0, n_all=2, n_hem=2), blobs, RULER)
    assert scale.source == "white cells"
    assert scale.rbc_px == pytest.approx(rbc_px * 1.75 / WHITE_PER_RED, rel=0.05)


def test_a_detector_without_red_cells_measures_by_white_ones(blobs, paint):
    scale = estimate_scale(paint((480, 480), rbc_px=40, n_red=8, n_hem=4), blobs, Ruler(48, None, (0,)))
    assert scale.source == "white cells"


@pytest.mark.parametrize("shape_hw", [(480, 640), (1, 1), (1, 3000), (3000, 1), (7, 5)])
@pytest.mark.parametrize("grey", [0, 255])
def test_a_blank_field_of_any_shape_is_unknown(blobs, shape_hw, grey):
    assert estimate_scale(np.full((*shape_hw, 3), grey, np.uint8), blobs, RULER) == UNKNOWN_SCALE


def test_three_red_cells_measure_nothing(blobs, paint):
    assert estimate_scale(paint((480, 480), rbc_px=40, n_red=3, n_all=0, n_hem=0), blobs, RULER) == UNKNOWN_SCALE


def test_a_cell_in_several_windows_counts_once(blobs, paint):
    assert estimate_scale(paint((400, 400), rbc_px=40, n_red=5), blobs, RULER).n == 5


def test_the_same_field_gives_the_same_ruler(blobs, paint):
    image = paint((480, 480), rbc_px=33, n_red=9)
    assert estimate_scale(image, blobs, RULER) == estimate_scale(image.copy(), blobs, RULER)


def test_detections_below_the_operating_point_do_not_count(blobs, paint):
    """An evaluation asks the detector for everything, down to a score of nearly 0."""

    class Noisy:
        classes = blobs.classes

        def __call__(self, tiles):
            junk = Detections(np.array([[10, 10, 19, 19], [30, 30, 41, 41]] * 20, np.float32), np.full(40, 0.01), np.ones(40, np.int64))
            return [Detections.concat([found, junk]) for found in blobs(tiles)]

    image, ruler = paint((480, 480), rbc_px=40, n_red=9), Ruler(48, 1, (0,), confidence=0.25)
    assert estimate_scale(image, Noisy(), ruler) == estimate_scale(image, blobs, ruler)


def test_the_detector_is_asked_with_few_pixels(blobs, paint):
    """The ruler must stay cheaper than the search itself, however large the field."""
    seen = []
    call = blobs.__call__

    class Counting:
        classes = blobs.classes

        def __call__(self, tiles):
            seen.extend(tile.shape[0] * tile.shape[1] for tile in tiles)
            return call(tiles)

    estimate_scale(paint((2000, 2000), rbc_px=60, n_red=60), Counting(), RULER)
    assert max(seen) <= 1.1 * WINDOW_PX**2
    assert sum(seen) <= 30 * WINDOW_PX**2


def test_a_detector_that_sees_cells_in_noise_does_not_set_the_scale_of_an_empty_field():
    class Dreamer:
        classes = ("WBC", "RBC", "Platelets")

        def __call__(self, tiles):
            corners = np.array([[x, y, x + 48, y + 48] for x in range(10, 300, 50) for y in range(10, 300, 50)], np.float32)
            return [Detections(corners, np.full(len(corners), 0.9), np.ones(len(corners), int)) for _ in tiles]

    noise = np.random.default_rng(0).normal(220, 4, (480, 640, 3)).clip(0, 255).astype(np.uint8)
    assert not estimate_scale(noise, Dreamer(), Ruler(48, 1, (0,))).is_known
