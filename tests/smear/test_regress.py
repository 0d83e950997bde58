"""`python -m smear regress`: a worse bundle is named and exits 1, the same or a better one does not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smear import annotations
from smear.__main__ import main
from smear.bundles import save_bundle
from smear.errors import ConfigError, ModelError
from smear.images import encode
from smear.models import open_bundle
from smear.regress import freeze, open_sides
from smear.rule import Rule
from smear.settings import AnalyzeSettings
from smear.types import Detections

PAINTED_RBC_PX = 40


@pytest.fixture(scope="module")
def frozen_set(tmp_path_factory, paint) -> Path:
    """Three slides of one painted field, with 1 or 2 ALL cells, one HEM and eight red ones; boxes where the colour models find them."""
    root = tmp_path_factory.mktemp("frozen")
    entries = []
    for i in range(3):
        image = paint((360, 480), rbc_px=PAINTED_RBC_PX, n_all=1 + i % 2, n_hem=1, n_red=8, seed=i)
        file = f"images/test/{i}.png"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(encode(image, ".png"))
        annotations.write_labels(root / "labels/test" / f"{i}.txt", truth_of(image), image.shape[:2])
        entries.append(annotations.ManifestEntry(file, annotations.sha256(root / file), "test", f"{i}.png", slide=f"s{i}"))
    annotations.write_manifest(root, entries, name="frozen")
    return annotations.write_data_yaml(root, ("ALL", "HEM", "RBC"), ("test",))


def truth_of(image) -> Detections:
    """Boxes of the painted discs: what is stained, told apart by how red it is and how large."""
    import cv2

    stained = (image[:, :, 2].astype(int) - image[:, :, 1] > 20).astype(np.uint8)
    boxes, labels = [], []
    for k in range(1, (found := cv2.connectedComponentsWithStats(stained))[0]):
        x, y, w, h, _ = found[2][k]
        if min(w, h) < PAINTED_RBC_PX / 2:
            continue
        middle = image[y + h // 2, x + w // 2].astype(int)
        boxes.append([x, y, x + w, y + h])
        labels.append(2 if w < 1.3 * PAINTED_RBC_PX else 0 if middle[0] > middle[2] else 1)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(labels)), labels)


@pytest.fixture(scope="module")
def worse(models, tmp_path_factory) -> Path:
    """Bundles that are worse: `blind` sees almost nothing, `swapped` calls every cell by the other name."""
    root = tmp_path_factory.mktemp("worse")
    detector, classifier = (open_bundle(models / name) for name in ("detector", "classifier"))
    blind = detector.card.model_copy(update={"name": "blind", "thresholds": {"confidence": 0.9999999, "iou": 0.3}})
    swapped = classifier.card.model_copy(update={"name": "swapped", "classes": ("HEM", "ALL")})
    save_bundle(root / "blind", blind, {"model.onnx": detector.root / "model.onnx"})
    save_bundle(root / "swapped", swapped, {"model.onnx": classifier.root / "model.onnx"})
    return root


@pytest.fixture
def regress(models, frozen_set, tmp_path):
    def run(old: Path, new: Path, *more: str) -> tuple[int, dict]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        bundles = ["--detector", str(models / "detector"), "--classifier", str(models / "classifier"), "--set", "threads=1"]
        command = ["regress", str(old), str(new), "--data", str(frozen_set), "--out", str(out), "--resamples", "50", *bundles, *more]
        code = main([*command, "--um-per-px", str(7.5 / PAINTED_RBC_PX)])
        return code, json.loads((out / "regress.json").read_text()) if (out / "regress.json").is_file() else {}

    return run


class TestVerdict:
    def test_a_bundle_is_not_worse_than_itself(self, regress, models, frozen_set, capsys):
        about = freeze(annotations.read_data_yaml(frozen_set), "test").about
        code, result = regress(models / "classifier", models / "classifier", "--expect", about["sha256"])
        assert (code, result["regressions"], result["set"]) == (0, [], about)
        assert {row["change"] for row in result["metrics"].values()} == {0}
        assert result["cells"]["counts"]["labels"]["both"] == 7
        assert "no regression" in capsys.readouterr().out

    def test_a_classifier_that_swaps_names_is_a_regression_cell_by_cell(self, regress, models, worse, capsys):
        code, result = regress(models / "classifier", worse / "swapped")
        assert code == 1
        assert {"accuracy", "sensitivity", "true boxes: accuracy"} <= set(result["regressions"])
        assert (result["metrics"]["accuracy"]["old"], result["metrics"]["accuracy"]["new"]) == (1, 0)
        assert result["metrics"]["accuracy"]["certain"]
        assert len(result["cells"]["broken"]) == 7
        assert result["cells"]["counts"]["labels"]["p"] == pytest.approx(2 * 0.5**7)
        assert {row["new"]["owner"] for row in result["cells"]["broken"]} <= {"wrong", "review"}
        assert result["old"]["beside"] == result["new"]["beside"]
        assert "regression: " in capsys.readouterr().out

    def test_a_detector_that_misses_cells_is_a_regression(self, regress, models, worse):
        code, result = regress(models / "detector", worse / "blind")
        assert code == 1
        assert {"white_recall", "accuracy"} <= set(result["regressions"])
        assert {row["new"]["owner"] for row in result["cells"]["broken"]} == {"missed"}
        assert set(result["metrics"]) >= {"map50", "map50_95", "ap50.WBC", "ap50.RBC"}
        assert result["metrics"]["map50"]["change"] == 0  # the curve does not know of the operating point

    def test_within_the_tolerance_it_is_none(self, regress, models, worse):
        code, result = regress(models / "classifier", worse / "swapped", "--tolerance", "1")
        assert (code, result["regressions"]) == (0, [])

    def test_without_a_classifier_boxes_alone_are_compared(self, regress, models, worse):
        code, result = regress(models / "detector", worse / "blind", "--classifier", "none")
        assert code == 1
        assert "accuracy" not in result["metrics"]
        assert result["cells"]["counts"]["found"]["broken"] == 7


class TestFrozenSet:
    def test_it_is_known_by_its_hash_and_its_manifest(self, frozen_set):
        about = freeze(annotations.read_data_yaml(frozen_set), "test").about
        assert (about["n_fields"], about["n_labels"]) == (3, 31)
        assert about["manifest_sha256"] == annotations.sha256(frozen_set.parent / "manifest.json")

    def test_a_changed_label_is_another_set(self, frozen_set, tmp_path):
        data = annotations.read_data_yaml(frozen_set)
        before = freeze(data, "test").about["sha256"]
        shutil.copytree(frozen_set.parent, tmp_path / "other")
        label = tmp_path / "other" / "labels/test/0.txt"
        label.write_text("\n".join(label.read_text().splitlines()[1:]))
        moved = annotations.read_data_yaml(tmp_path / "other" / "data.yaml")
        assert freeze(moved, "test").about["sha256"] != before
        with pytest.raises(ConfigError, match="another set was expected"):
            freeze(moved, "test", expect=before)

    def test_the_same_set_elsewhere_is_the_same(self, frozen_set, tmp_path):
        shutil.copytree(frozen_set.parent, tmp_path / "copy")
        there = freeze(annotations.read_data_yaml(tmp_path / "copy" / "data.yaml"), "test").about
        assert there["sha256"] == freeze(annotations.read_data_yaml(frozen_set), "test").about["sha256"]


class TestMistakes:
    def test_two_tasks_cannot_be_compared(self, models):
        with pytest.raises(ModelError, match="two bundles of one task"):
            open_sides(AnalyzeSettings(), models / "detector", models / "classifier")

    def test_nor_two_sets_of_classes(self, models, tmp_path):
        bundle = open_bundle(models / "classifier")
        other = bundle.card.model_copy(update={"classes": ("blast", "HEM")})
        save_bundle(tmp_path / "other", other, {"model.onnx": bundle.root / "model.onnx"})
        with pytest.raises(ModelError, match="classes"):
            open_sides(AnalyzeSettings(), models / "classifier", tmp_path / "other")

    def test_a_missing_bundle_is_one_line_and_exit_2(self, regress, models, tmp_path, capsys):
        assert regress(models / "classifier", tmp_path / "none") == (2, {})
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")

    def test_the_rule_is_written_out(self):
        assert "drops by more than 0.02" in Rule().text
        assert "wholly below zero" in Rule(certain=True).text
