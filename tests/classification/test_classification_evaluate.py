import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.classifier import open_classifier
from classification.crops import read_crops
from classification.evaluate import evaluate, field_metrics, main
from classification.leave_out import leave_stains_out
from classification.leave_out import main as leave_out
from classification.train import Trained
from smear.errors import ConfigError, ModelError
from smear.metrics.classification import METRICS

Run = tuple[Path, Trained]


def test_the_numbers_come_from_the_bundle(run: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run[0] / "bundle"), "--data", str(table), "--split", "test", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert set(METRICS) <= found.keys()
    assert found["n"] == 16
    assert found["roc_auc"] > 0.9
    assert set(found["per_stain"]) == {"a", "b"}
    assert found["per_field"]["n"] == 16
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["predicted"] == row["label"] for row in rows])
    assert found["accuracy"] == pytest.approx(right)
    assert all(float(row["p_ALL"]) + float(row["p_HEM"]) == pytest.approx(1, abs=1e-5) for row in rows)
    printed = capsys.readouterr().out
    assert "roc_auc" in printed
    assert "balanced_accuracy" in printed


def test_validation_numbers_of_training_and_bundle_agree(run: Run, table: Path) -> None:
    crops = read_crops([table], ("ALL", "HEM")).split("val")
    found, _ = evaluate(open_classifier(run[0] / "bundle"), crops)
    stored = run[1].card.metrics["validation"]
    assert {key: found[key] for key in METRICS} == pytest.approx({key: stored[key] for key in METRICS}, abs=1e-6)


def test_a_field_is_its_cells_mean(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    made = [{**row, "field": f"F{i // 2}", "label": ("ALL", "HEM")[i // 2 % 2], "split": "test"} for i, row in enumerate(rows(8))]
    crops = read_crops([write_table(tmp_path, made)], ("ALL", "HEM"))
    p_all = np.array([0.9, 0.4, 0.2, 0.7, 0.6, 0.6, 0.9, 0.6], np.float32)  # fields: ALL .65, HEM .45, ALL .6, HEM .75
    found = field_metrics(crops, np.stack([p_all, 1 - p_all], axis=1))
    assert found["n"] == 4
    assert found["confusion_matrix"] == [[2, 0], [1, 1]]


def test_no_crop_has_no_field(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text("file,label,field,split\n")
    assert field_metrics(read_crops([tmp_path / "crops.csv"], ("ALL", "HEM")), np.zeros((0, 2), np.float32))["n"] == 0


def test_crops_cut_by_another_contract_are_refused(run: Run, tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    other = write_table(tmp_path, rows(16), manifest={"crop": {"unit": "box", "width": 1.2}})
    with pytest.raises(ModelError, match="wants crops cut as"):
        evaluate(open_classifier(run[0] / "bundle"), read_crops([other], ("ALL", "HEM")))


def test_a_mistake_is_one_line(run: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere"), "--data", str(table)]) == 2
    assert main([str(run[0] / "bundle"), "--data", str(tmp_path / "none.csv")]) == 2
    (tmp_path / "file").write_text("in the way")
    assert main([str(run[0] / "bundle"), "--data", str(table), "--out", str(tmp_path / "file" / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)


@pytest.mark.usefixtures("no_export")
def test_leaving_stains_out_scores_every_cell_once(table: Path, tmp_path: Path, smoke: Callable) -> None:
    found = leave_stains_out(smoke(epochs=2), [table], tmp_path / "out")
    assert found["pooled"]["n"] == 64
    assert set(found["left_out"]) == {"a", "b"}
    again = leave_stains_out(smoke(epochs=2), [table], tmp_path / "out", resume=True)
    assert again["pooled"] == found["pooled"]
    assert json.loads((tmp_path / "out" / "stains.json").read_text())["pooled"]["n"] == 64


def test_one_stain_cannot_be_left_out(tmp_path: Path, rows: Callable, write_table: Callable, smoke: Callable) -> None:
    table = write_table(tmp_path / "set", [{**row, "stain": "a"} for row in rows(32)])
    with pytest.raises(ConfigError, match="at least two stains"):
        leave_stains_out(smoke(), [table], tmp_path / "out")
    assert leave_out(["--data", str(table), "--out", str(tmp_path / "out")]) == 2
