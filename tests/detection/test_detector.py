"""YOLO output to detections, in numpy: letterbox, decode and suppress."""

import numpy as np
import pytest

from detection import detector as module
from detection.detector import YoloDetector, decode
from smear.errors import ModelError
from smear.models import ModelCard
from smear.tiles import FRAME_PX
from smear.types import Detections

CARD = ModelCard(
    name="tiny", task="detect", architecture="y", classes=("WBC", "RBC"), white_classes=("WBC",), input_px=64, normalise="unit", head="yolo"
)  # fmt: skip


def raw(*rows: tuple[float, ...], n_classes: int = 2) -> np.ndarray:
    """(4 + C, A) of anchors given as cx cy w h score…, cx and cy in the tile."""
    anchors = np.array(rows, np.float32).reshape(-1, 4 + n_classes).T
    anchors[:2] += FRAME_PX
    return anchors


class Runtime:
    """Gives the same anchors for every image, and remembers what it was shown."""

    def __init__(self, anchors: np.ndarray) -> None:
        self.anchors, self.batches = anchors, []

    def __call__(self, batch):
        self.batches.append(batch)
        return (np.repeat(self.anchors[None], len(batch), axis=0),)


class TestDecode:
    def test_nothing_above_the_confidence_is_an_empty_set(self):
        found = decode(raw((10, 10, 4, 4, 0.1, 0.2)), (64, 64), confidence=0.25, iou=0.5)
        assert found == Detections.empty()
        assert decode(raw(), (64, 64), confidence=0.25, iou=0.5) == Detections.empty()

    def test_a_box_is_its_centre_and_size_and_best_class(self):
        found = decode(raw((20, 30, 10, 8, 0.3, 0.9)), (64, 64), confidence=0.25, iou=0.5)
        assert found.boxes.tolist() == [[15, 26, 25, 34]]
        assert (found.labels.tolist(), found.scores.tolist()) == ([1], [pytest.approx(0.9)])

    def test_a_box_is_clipped_to_the_tile_and_one_outside_is_dropped(self):
        found = decode(raw((2, 2, 10, 10, 0.9, 0), (90, 90, 10, 10, 0.9, 0), (70, 30, 12, 4, 0.8, 0)), (64, 64), confidence=0.25, iou=0.5)
        assert found.boxes.tolist() == [[0, 0, 7, 7]]

    def test_of_two_on_one_cell_the_surer_stays_and_neighbours_both_stay(self):
        anchors = raw((20, 20, 10, 10, 0.6, 0), (21, 20, 10, 10, 0.8, 0), (40, 20, 10, 10, 0.5, 0))
        assert decode(anchors, (64, 64), confidence=0.25, iou=0.5).scores.tolist() == pytest.approx([0.8, 0.5])

    def test_two_classes_on_one_place_both_stay(self):
        anchors = raw((20, 20, 10, 10, 0.6, 0), (20, 20, 10, 10, 0, 0.7))
        assert decode(anchors, (64, 64), confidence=0.25, iou=0.5).labels.tolist() == [1, 0]

    def test_a_score_rounded_above_one_is_one(self):
        assert decode(raw((20, 20, 10, 10, 1.0001, 0)), (64, 64), confidence=0.25, iou=0.5).scores.tolist() == [1]

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_output_that_is_not_finite_is_named(self, bad):
        with pytest.raises(ModelError, match="not finite; the weights are damaged"):
            decode(raw((20, bad, 10, 10, 0.9, 0)), (64, 64), confidence=0.25, iou=0.5)

    def test_of_very_many_candidates_the_surest_are_kept(self, monkeypatch):
        monkeypatch.setattr(module, "MAX_CANDIDATES", 3)
        scores = np.linspace(0.3, 0.9, 10)
        anchors = raw(*((6 * i + 3, 10, 4, 4, s, 0) for i, s in enumerate(scores)))
        assert decode(anchors, (64, 64), confidence=0.25, iou=0.5).scores.tolist() == pytest.approx(scores[:-4:-1])

    def test_equal_scores_give_the_same_order_every_time(self):
        anchors = raw(*((6 * i + 3, 10, 4, 4, 0.5, 0) for i in range(10)))
        first = decode(anchors, (64, 64), confidence=0.25, iou=0.5)
        assert first.boxes[:, 0].tolist() == sorted(first.boxes[:, 0].tolist())


class TestTiles:
    def test_no_tiles_no_detections(self):
        runtime = Runtime(raw())
        assert YoloDetector(runtime, CARD)([]) == []
        assert runtime.batches == []

    def test_tiles_of_any_size_come_back_in_their_order(self):
        tiles = [np.full((h, w, 3), 10 * i, np.uint8) for i, (h, w) in enumerate([(64, 64), (30, 200), (64, 60), (1, 1), (30, 200)])]
        runtime = Runtime(raw((20, 10, 10, 8, 0.9, 0)))
        found = YoloDetector(runtime, CARD)(tiles)
        assert [d.boxes.tolist() for d in found] == [[[15, 6, 25, 14]]] * 3 + [[]] + [[[15, 6, 25, 14]]]
        assert sorted(b.shape for b in runtime.batches) == [(1, 3, 64, 64), (2, 3, 64, 256), (2, 3, 96, 96)]

    def test_a_tile_is_rgb_in_0_to_1_in_a_frame_of_grey(self):
        runtime = Runtime(raw())
        tile = np.zeros((30, 40, 3), np.uint8)
        tile[:, :] = (255, 51, 0)
        YoloDetector(runtime, CARD)([tile])
        (batch,) = runtime.batches
        expected = np.full((3, 64, 96), module.PAD / 255)
        expected[:, FRAME_PX : FRAME_PX + 30, FRAME_PX : FRAME_PX + 40] = np.array([1, 0.2, 0])[:, None, None]
        assert batch.dtype == np.float32
        np.testing.assert_allclose(batch[0], expected, atol=1e-6)

    @pytest.mark.parametrize(("architecture", "side"), [("yolov8n", 96), ("yolov5x6", 128), ("yolov5x6u", 128)])
    def test_sides_are_multiples_of_what_the_network_takes(self, architecture, side):
        runtime = Runtime(raw())
        YoloDetector(runtime, CARD.model_copy(update={"architecture": architecture}))([np.zeros((64, 64, 3), np.uint8)])
        assert runtime.batches[0].shape == (1, 3, side, side)

    def test_a_call_of_the_network_never_holds_more_than_it_may(self, monkeypatch):
        monkeypatch.setattr(module, "BATCH_PIXELS", 3 * 96 * 96)
        runtime = Runtime(raw())
        assert len(YoloDetector(runtime, CARD)([np.zeros((64, 64, 3), np.uint8)] * 8)) == 8
        assert [len(b) for b in runtime.batches] == [3, 3, 2]

    def test_a_tile_larger_than_that_goes_alone(self, monkeypatch):
        monkeypatch.setattr(module, "BATCH_PIXELS", 64 * 64)
        runtime = Runtime(raw())
        YoloDetector(runtime, CARD)([np.zeros((128, 128, 3), np.uint8)] * 2)
        assert [len(b) for b in runtime.batches] == [1, 1]

    def test_the_card_gives_the_thresholds_unless_told(self):
        card = CARD.model_copy(update={"thresholds": {"confidence": 0.7, "iou": 0.4}})
        assert (YoloDetector(Runtime(raw()), card).confidence, YoloDetector(Runtime(raw()), card).iou) == (0.7, 0.4)
        told = YoloDetector(Runtime(raw()), card, confidence=0.0, iou=0.9)
        assert (told.confidence, told.iou) == (0.0, 0.9)

    @pytest.mark.parametrize("n_classes", [1, 3])
    def test_a_network_with_other_classes_than_the_card_is_named(self, n_classes):
        with pytest.raises(ModelError, match=r"tiny: expected output \(B, 6, A\), got \(1, "):
            YoloDetector(Runtime(raw(n_classes=n_classes)), CARD)([np.zeros((64, 64, 3), np.uint8)])
