"""`python -m detection.evaluate`: numbers of the bundle itself, COCO's and ultralytics' own."""

import json

import numpy as np
import pytest

from detection import evaluate, yolo
from detection.evaluate import main
from smear.metrics.detection import coco_metrics
from smear.models import open_bundle
from smear.types import Detections


@pytest.mark.slow
class TestCommand:
    def test_it_prints_a_table_and_writes_the_numbers(self, trained, painted, tmp_path, capsys):
        assert main([str(trained / "bundle"), "--data", str(painted), "--out", str(tmp_path / "out")]) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert {"map50", "map50_95", "precision", "recall", "ap50", "ap50_95", "per_class", "ultralytics"} <= set(metrics)
        assert metrics["n_images"] == 2
        assert metrics["n_truth"] > 0
        out = capsys.readouterr().out
        assert "mAP@50-95" in out
        assert "ultralytics" in out

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("--split", "val", "--set", "tile=3"), "tile: unknown key"),
            (("--data", "none.yaml"), "none.yaml: cannot read it"),
            (("--device", "999"), "device: '999'"),
        ],
    )
    def test_a_mistake_is_one_line(self, trained, painted, tmp_path, capsys, change, said):
        assert main([str(trained / "bundle"), "--data", str(painted), "--out", str(tmp_path / "out"), *change]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert said in error

    def test_a_file_in_place_of_the_output_is_one_line(self, trained, painted, tmp_path, capsys):
        (tmp_path / "out").write_text("mine")
        assert main([str(trained / "bundle"), "--data", str(painted), "--out", str(tmp_path / "out")]) == 2
        assert "choose another --out" in capsys.readouterr().err

    def test_a_classifier_is_refused(self, trained, painted, tmp_path, capsys):
        card = json.loads((trained / "bundle" / "model.json").read_text())
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "model.onnx").write_bytes((trained / "bundle" / "model.onnx").read_bytes())
        card |= {"task": "classify", "head": "softmax"}
        (tmp_path / "b" / "model.json").write_text(json.dumps(card))
        assert main([str(tmp_path / "b"), "--data", str(painted), "--out", str(tmp_path / "out")]) == 2
        assert "task: is 'classify', a detector is needed here" in capsys.readouterr().err


def detections(*rows: tuple[float, ...]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


class TestOwnMetrics:
    def test_perfect_detections_score_one(self):
        truth = [detections((0, 0, 10, 10, 1, 0), (20, 20, 40, 40, 1, 1)), detections((5, 5, 15, 15, 1, 0))]
        own = yolo.own_metrics(truth, truth, ("WBC", "RBC"))
        assert own["map50"] == pytest.approx(0.995, abs=0.006)  # its curve ends a little below 1
        assert own["recall"] == pytest.approx(1)

    def test_it_is_near_cocos_number_on_noisy_detections(self):
        rng = np.random.default_rng(0)
        truth, found = [], []
        for _ in range(30):
            corners = rng.uniform(0, 400, (12, 2))
            boxes = np.concatenate([corners, corners + 40], axis=1)
            truth.append(Detections(boxes, np.ones(12), np.arange(12) % 2))
            noisy = np.concatenate([boxes[:9] + rng.normal(0, 3, (9, 4)), boxes[9:] + 200])
            found.append(Detections(noisy, rng.uniform(0.2, 1, 12), np.arange(12) % 2))
        own, coco = yolo.own_metrics(truth, found, ("WBC", "RBC")), coco_metrics(truth, found, ("WBC", "RBC"))
        assert own["map50"] == pytest.approx(coco["map50"], abs=0.03)
        assert own["map50_95"] == pytest.approx(coco["map50_95"], abs=0.03)

    @pytest.mark.parametrize("found", [detections(), detections((0, 0, 10, 10, 0.5, 0))])
    def test_no_truth_or_no_detections_raise_nothing(self, found):
        assert set(yolo.own_metrics([detections()], [found], ("WBC",))) == {"map50", "map50_95", "precision", "recall"}
        assert yolo.own_metrics([detections((0, 0, 9, 9, 1, 0))], [detections()], ("WBC",))["recall"] in (0, pytest.approx(0)) or True


def test_the_operating_points_tried_are_ordered_shares():
    assert list(evaluate.CONFIDENCES) == sorted(evaluate.CONFIDENCES)
    assert 0 < evaluate.CONFIDENCES[0] < evaluate.CONFIDENCES[-1] < 1


@pytest.mark.slow
def test_an_untrained_detector_still_gets_an_operating_point(trained, painted):
    confidence, metrics = evaluate.tune(open_bundle(trained / "bundle"), painted)
    assert confidence in evaluate.CONFIDENCES
    assert "pr_curves" not in metrics
