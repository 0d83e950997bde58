"""The operating point: chosen on validation, applied elsewhere, counted on cells that chose nothing."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.crops import read_crops
from classification.evaluate import main
from classification.operating import apply_point, cell_groups, choose_point, count_for_card
from classification.train import Trained
from smear.errors import ConfigError
from smear.models import open_bundle

Run = tuple[Path, Trained]


@pytest.fixture
def bundle(run: Run, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copytree(run[0] / "bundle", tmp_path / "bundle"))


def test_training_chooses_on_validation_and_the_card_says_so(run: Run, table: Path) -> None:
    card = run[1].card
    chosen = card.metrics["operating_point"]
    assert (chosen["threshold"], chosen["rule"], chosen["chosen_on"]) == (card.thresholds["positive"], "youden", "validation")
    n_val = len(read_crops([table], ("ALL", "HEM")).split("val"))
    assert chosen["accuracy"]["n"] == chosen["sensitivity"]["n"] + chosen["specificity"]["n"] == n_val


def test_an_evaluation_applies_the_threshold_of_the_card(bundle: Path, table: Path, tmp_path: Path) -> None:
    card = json.loads((bundle / "model.json").read_text())
    card["thresholds"]["positive"] = 0.9999
    (bundle / "model.json").write_text(json.dumps(card))
    assert main([str(bundle), "--data", str(table), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    point = found["operating_point"]
    assert (point["threshold"], point["chosen_on"]) == (0.9999, "validation")
    assert "slides" in point["sensitivity"]["method"]
    assert point["sensitivity"]["k"] == sum(row["label"] == "ALL" and float(row["p_ALL"]) >= 0.9999 for row in rows)
    assert point["specificity"]["k"] == sum(row["label"] == "HEM" and float(row["p_ALL"]) < 0.9999 for row in rows)


def test_a_point_is_chosen_again_on_validation_and_never_on_test(
    bundle: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(bundle), "--data", str(table), "--out", str(tmp_path / "out")]
    before = (bundle / "model.json").read_bytes()
    for split in ("test", "train", "all"):
        assert main([*command, "--split", split, "--choose", "f1"]) == 2
    assert "chosen on validation" in capsys.readouterr().err
    assert (bundle / "model.json").read_bytes() == before
    assert main([*command, "--split", "val", "--choose", "sensitivity", "--sensitivity", "0.5"]) == 0
    card = open_bundle(bundle).card
    assert card.metrics["operating_point"]["rule"] == "sensitivity"
    assert card.thresholds["positive"] == card.metrics["operating_point"]["threshold"]
    assert "needs_review" in card.thresholds


def test_the_counts_for_blast_estimates_come_from_test_cells(
    bundle: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(bundle), "--data", str(table), "--out", str(tmp_path / "out"), "--operating"]
    assert main([*command, "--record", "discs_test"]) == 0
    card, found = open_bundle(bundle).card, json.loads((tmp_path / "out" / "metrics.json").read_text())
    counts = card.metrics["operating"]
    assert counts == found["operating"]
    assert counts["sensitivity"]["k"] == found["confusion_matrix"][0][0]
    assert counts["specificity"]["n"] == sum(found["confusion_matrix"][1])
    assert (counts["split"], counts["set"], counts["unit"]) == ("test", "discs", "slide")
    assert card.metrics["discs_test"]["n"] == 16
    for split in ("val", "train", "all"):
        assert main([*command, "--split", split]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: --operating") for line in errors) == 3


def test_one_kind_of_cell_is_not_enough(run: Run, table: Path) -> None:
    crops = read_crops([table], ("ALL", "HEM")).split("test")
    one = crops.take(crops.labels == 0)
    p = np.tile(np.float32([0.7, 0.3]), (len(one), 1))
    with pytest.raises(ConfigError, match="validation cells of ALL and of another"):
        choose_point(one.labels, p, one.classes, rule="youden", target=0.9)
    with pytest.raises(ConfigError, match="needs cells of ALL"):
        count_for_card(run[1].card, one, p, split="test")
    bare = run[1].card.model_copy(update={"thresholds": {}})
    assert apply_point(bare, one.labels, p, ["a"] * len(one)) is None


def test_a_cell_belongs_to_its_patient_else_its_slide_else_its_field(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    made = [{**row, "patient": "p" if i < 2 else "", "slide": "s" if i < 3 else "", "split": "test"} for i, row in enumerate(rows(4))]
    groups, unit = cell_groups(read_crops([write_table(tmp_path / "set", made)], ("ALL", "HEM")))
    assert groups == ("patient set/p", "patient set/p", "slide set/s", "field set/f3")
    assert unit == "group"


def test_intervals_and_a_table_come_with_the_numbers(run: Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run[0] / "bundle"), "--data", str(table), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    interval = found["intervals"]["roc_auc"]
    assert interval["value"] == pytest.approx(found["roc_auc"])
    assert interval["low"] <= interval["value"] <= interval["high"]
    assert (interval["n_groups"], "slides" in interval["method"]) == (4, True)
    with (tmp_path / "metrics.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert float(rows["brier"]["value"]) == found["brier"]
    assert float(rows["brier"]["high"]) == found["intervals"]["brier"]["high"]
    assert float(rows["per_field.accuracy"]["value"]) == found["per_field"]["accuracy"]
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("npv", "ece", "aurc", "bins of equal width", "operating point: ALL from"))
