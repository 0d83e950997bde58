"""`python -m detection.evaluate`: numbers of the bundle itself, COCO's and ultralytics' own."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from detection import evaluate, point_truth, yolo
from detection.beside import beside
from detection.evaluate import main
from smear import annotations
from smear.errors import AnnotationError
from smear.metrics.detection import coco_metrics
from smear.models import ModelCard, open_bundle
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult


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

    def test_intervals_sizes_and_the_reason_of_a_difference_are_said(self, trained, painted, tmp_path, capsys):
        assert main([str(trained / "bundle"), "--data", str(painted), "--out", str(tmp_path / "out")]) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert metrics["intervals"]["map50"]["value"] == pytest.approx(metrics["map50"])
        assert sum(part["n_truth"] for part in metrics["by_size"].values()) == metrics["n_truth"]
        assert sum(metrics["size_rulers"].values()) == 2
        assert {"ar1", "ar10", "ar100", "ar", "per_class"} == set(metrics["ar"])
        assert {"total", "matching", "interpolation"} == set(metrics["ultralytics"]["difference"]["map50"])
        with (tmp_path / "out" / "metrics.csv").open() as file:
            rows = {row["metric"]: row for row in csv.DictReader(file)}
        assert float(rows["map50"]["value"]) == metrics["map50"]
        assert rows["ap50.WBC"]["n_groups"] == "1"
        printed = capsys.readouterr().out
        assert all(word in printed for word in ("over 1 slides", "diameter in red cells", "average recall", "per_class.WBC.recall"))

    def test_points_are_scored_by_hits(self, trained, painted, tmp_path, capsys):
        data = annotations.read_data_yaml(painted)
        names = [path.name for path in data.images("test")]
        (tmp_path / "images").mkdir()
        for path in data.images("test"):
            shutil.copy(path, tmp_path / "images" / path.name)
        (tmp_path / "fields.csv").write_text("file,split\n" + "".join(f"images/{name},test\n" for name in names))
        (tmp_path / "points.csv").write_text(f"field,x,y,label\nimages/{names[0]},20,20,ALL\n")
        command = [str(shutil.copytree(trained / "bundle", tmp_path / "b")), "--data", str(tmp_path / "points.csv")]
        assert main([*command, "--out", str(tmp_path / "out"), "--record", "points"]) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert (metrics["kind"], metrics["n_points"], metrics["n_fields"], metrics["n_failed_fields"]) == ("points", 1, len(names), 0)
        assert metrics["n_hits"] + metrics["n_missed"] == 1
        assert open_bundle(tmp_path / "b").card.metrics["points"]["n_points"] == 1
        assert "a hit is a detected white cell" in capsys.readouterr().out

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

    def test_a_detector_that_finds_nothing_scores_nothing(self):
        assert set(yolo.own_metrics([detections((0, 0, 9, 9, 1, 0))], [detections()], ("WBC",)).values()) == {0.0}


class TestBeside:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_parts_of_the_difference_add_up_and_the_numbers_are_both_sides_own(self, seed):
        rng = np.random.default_rng(seed)
        truth, found = [], []
        for _ in range(10):
            corners = rng.uniform(0, 200, (8, 2))
            boxes = np.concatenate([corners, corners + 40], axis=1)
            truth.append(Detections(boxes, np.ones(8), np.arange(8) % 2))
            found.append(Detections(boxes + rng.normal(0, 6, (8, 4)), rng.uniform(0.1, 1, 8), np.arange(8) % 2))
        result, coco = beside(truth, found, ("WBC", "RBC")), coco_metrics(truth, found, ("WBC", "RBC"))
        assert {key: result[key] for key in ("map50", "map50_95", "precision", "recall")} == yolo.own_metrics(truth, found, ("WBC", "RBC"))
        for key in ("map50", "map50_95"):
            parts = result["difference"][key]
            assert parts["total"] == pytest.approx(result[key] - coco[key], abs=1e-6)
            assert parts["matching"] + parts["interpolation"] == pytest.approx(parts["total"])
        assert abs(result["difference"]["map50"]["matching"]) < 1e-9  # this version matches as COCO does
        assert result["ap50"].keys() == coco["ap50"].keys()
        assert 0 <= result["confidence"] <= 1

    def test_a_difference_is_said_with_its_cause_and_none_is_said_too(self):
        truth = [detections((0, 0, 10, 10, 1, 0), (20, 20, 40, 40, 1, 0))]
        assert "differs by -0.00" in beside(truth, truth, ("WBC",))["reason"] or "agrees" in beside(truth, truth, ("WBC",))["reason"]
        half = [detections((0, 0, 10, 10, 0.9, 0), (60, 60, 70, 70, 0.8, 0))]
        assert "from interpolation" in beside(truth, half, ("WBC",))["reason"]
        assert "nothing is true" in beside([detections()], [detections()], ("WBC",))["reason"]


class TestPointTruth:
    @pytest.fixture
    def truth(self, tmp_path):
        (tmp_path / "fields.csv").write_text("file,split\na.png,test\nb.png,test\n")
        (tmp_path / "points.csv").write_text("field,x,y,label\na.png,5,5,ALL\nb.png,5,5,ALL\n")
        return tmp_path / "points.csv"

    def test_red_cells_are_no_hits_and_a_failed_field_hits_nothing(self, truth, card):
        points = point_truth.read(truth, "test", card)
        seen = detections((0, 0, 10, 10, 0.9, 1), (1, 1, 9, 9, 0.8, 0), (30, 30, 40, 40, 0.9, 0))
        field, p = Field("a.png", Path("a.png")), np.full((3, 0), np.nan, np.float32)
        result = FieldResult(field, (50, 50), seen, ("WBC", "RBC"), np.array([False, True, True]), p, (), 0.8, UNKNOWN_SCALE)
        metrics = point_truth.score(points, [result, FieldFailure(field, "decode", "broken")], card, confidence=0.5)
        assert (metrics["recall"], metrics["n_found"], metrics["n_without_point"], metrics["n_failed_fields"]) == (0.5, 2, 1, 1)
        assert metrics["intervals"]["recall"]["n_groups"] == 2
        assert np.isnan(metrics["precision"])

    def test_points_on_red_cells_are_refused(self, truth, card):
        truth.write_text("field,x,y,label\na.png,5,5,RBC\n")
        with pytest.raises(AnnotationError, match="'RBC' is no white cell"):
            point_truth.read(truth, "test", card)

    @pytest.fixture
    def card(self):
        return ModelCard(
            name="d",
            task="detect",
            architecture="yolov8n",
            classes=("WBC", "RBC"),
            white_classes=("WBC",),
            input_px=64,
            normalise="unit",
            head="yolo",
        )


def test_the_operating_points_tried_are_ordered_shares():
    assert list(evaluate.CONFIDENCES) == sorted(evaluate.CONFIDENCES)
    assert 0 < evaluate.CONFIDENCES[0] < evaluate.CONFIDENCES[-1] < 1


@pytest.mark.slow
def test_an_untrained_detector_still_gets_an_operating_point(trained, painted):
    confidence, metrics = evaluate.tune(open_bundle(trained / "bundle"), painted)
    assert confidence in evaluate.CONFIDENCES
    assert "pr_curves" not in metrics
