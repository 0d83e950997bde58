"""The ruler of a field, measured by a detector that finds round blobs of any size."""

import numpy as np
import pytest

from datasets.painted import draw_style, paint_field
from smear import boxes
from smear import scale as scale_module
from smear.ruler_looks import WINDOW_PX
from smear.scale import WHITE_PER_RED, Ruler, estimate_scale, estimate_scales, given_scale, measured_again
from smear.types import UNKNOWN_SCALE, Detections, Scale

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


class Counting:
    """Another detector, and how many pixels each of its tiles had; its scores may be lowered."""

    def __init__(self, detector, *, doubt: float = 1.0) -> None:
        self.detector, self.doubt, self.classes = detector, doubt, detector.classes
        self.pixels: list[int] = []

    def __call__(self, tiles):
        self.pixels += [tile.shape[0] * tile.shape[1] for tile in tiles]
        return [Detections(d.boxes, d.scores * self.doubt, d.labels) for d in self.detector(tiles)]


def by_all_candidates(image, detector, ruler):
    """What the comparison of all scales says."""
    measuring = scale_module._search(image, ruler)
    answer = None
    while True:
        try:
            answer = detector(measuring.send(answer))
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize("rbc_px", [25, 60, 80, 100])
def test_an_ordinary_painted_field_costs_half_a_megapixel_at_most(rbc_px):
    detector = KnowingDetector(painted_truth(rbc_px), (480, 640))
    counting = Counting(detector)
    scale = estimate_scale(detector.picture, counting, RULER)
    assert 0 < sum(counting.pixels) < 0.5e6
    assert scale.rbc_px == pytest.approx(by_all_candidates(detector.picture, detector, RULER).rbc_px, rel=0.1)


def test_a_large_field_costs_no_more_than_a_small_one(blobs, paint):
    counting = Counting(blobs)
    estimate_scale(paint((2000, 2000), rbc_px=60, n_red=60), counting, RULER)
    assert max(counting.pixels) <= 1.1 * WINDOW_PX**2
    assert sum(counting.pixels) < 0.5e6


@pytest.mark.parametrize("rbc_px", [25, 60])
def test_a_field_of_doubtful_cells_is_measured_by_comparing_all_scales(rbc_px):
    detector = KnowingDetector(painted_truth(rbc_px), (480, 640))
    doubtful = Counting(detector, doubt=0.5)
    scale = estimate_scale(detector.picture, doubtful, RULER)
    assert scale.is_known
    assert sum(doubtful.pixels) > 1e6
    assert scale == by_all_candidates(detector.picture, doubtful, RULER)


def test_a_blank_field_is_not_shown_to_the_detector(blobs):
    counting = Counting(blobs)
    assert estimate_scale(np.full((480, 640, 3), 230, np.uint8), counting, RULER) == UNKNOWN_SCALE
    assert not counting.pixels


def test_many_cells_of_the_wrong_size_are_a_direction_and_no_measurement():
    """A detector that sees a quarter of the size of training wherever it looks is never believed by its first looks."""

    class Chasing:
        classes = ("WBC", "RBC")

        def __call__(self, tiles):
            corners = np.array([[x, y, x + 12, y + 12] for x in range(10, 150, 25) for y in range(10, 100, 25)], np.float32)
            return [Detections(corners, np.full(len(corners), 0.9), np.ones(len(corners), int)) for _ in tiles]

    picture = KnowingDetector(Detections.empty(), (480, 640)).picture
    counting = Counting(Chasing())
    estimate_scale(picture, counting, RULER)
    assert sum(counting.pixels) > 1e6


def test_fields_measured_together_are_measured_as_if_alone(blobs, paint):
    images = [paint((480, 480), rbc_px=px) for px in (20, 33, 60)] + [np.full((50, 60, 3), 230, np.uint8)]
    images.insert(1, paint((480, 480), rbc_px=20, n_red=0, n_all=2, n_hem=2))
    together = estimate_scales(images, blobs, RULER)
    assert together == [estimate_scale(image, blobs, RULER) for image in images]
    assert [s.source for s in together] == ["red cells", "white cells", "red cells", "red cells", "unknown"]
    assert estimate_scales([], blobs, RULER) == []


class TestMeasuredAgain:
    RED = Detections(np.array([[10 + 60 * i, 100, 60 + 60 * i, 150] for i in range(6)], np.float32), np.full(6, 0.3), np.ones(6, np.int64))
    ESTIMATE = Scale(45.0, 0.2, 5, "red cells")

    def test_all_whole_cells_of_the_field_measure(self):
        cut = Detections(np.array([[0, 10, 20, 60], [300, 455, 350, 480]], np.float32), np.full(2, 0.9), np.ones(2, np.int64))
        doubtful = Detections(np.array([[300, 300, 310, 310]] * 9, np.float32), np.full(9, 0.2), np.ones(9, np.int64))
        white = Detections(np.array([[200, 200, 300, 300]], np.float32), np.full(1, 0.9), np.zeros(1, np.int64))
        found = Detections.concat([cut, doubtful, white, self.RED])
        assert measured_again(found, (480, 640), self.ESTIMATE, RULER) == Scale(50.0, 0.0, 6, "red cells")

    @pytest.mark.parametrize("found", [Detections.empty(), RED.take(np.arange(3))])
    def test_too_few_cells_leave_the_estimate(self, found):
        assert measured_again(found, (480, 640), self.ESTIMATE, RULER) == self.ESTIMATE

    @pytest.mark.parametrize("scale", [given_scale(0.1), UNKNOWN_SCALE])
    def test_what_was_not_measured_by_cells_stays(self, scale):
        assert measured_again(self.RED, (480, 640), scale, RULER) == scale

    def test_a_field_measured_by_white_cells_stays_so(self):
        white = Detections(self.RED.boxes[:2], np.full(2, 0.9), np.zeros(2, np.int64))
        scale = measured_again(Detections.concat([self.RED, white]), (480, 640), Scale(40.0, 0.1, 3, "white cells"), RULER)
        assert scale == Scale(float(np.float32(50) / np.float32(WHITE_PER_RED)), 0.0, 2, "white cells")


def test_a_detector_that_sees_cells_in_noise_does_not_set_the_scale_of_an_empty_field():
    class Dreamer:
        classes = ("WBC", "RBC", "Platelets")

        def __call__(self, tiles):
            corners = np.array([[x, y, x + 48, y + 48] for x in range(10, 300, 50) for y in range(10, 300, 50)], np.float32)
            return [Detections(corners, np.full(len(corners), 0.9), np.ones(len(corners), int)) for _ in tiles]

    noise = np.random.default_rng(0).normal(220, 4, (480, 640, 3)).clip(0, 255).astype(np.uint8)
    assert not estimate_scale(noise, Dreamer(), Ruler(48, 1, (0,))).is_known
