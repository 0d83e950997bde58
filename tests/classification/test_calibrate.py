"""classification.calibrate: validation's promises in the card, and cells that may have been trained on are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.calibrate import main
from classification.calibration import require_disjoint
from classification.crops import read_crops
from classification.train import Trained
from smear.errors import AnnotationError
from smear.models import open_bundle

Run = tuple[Path, Trained]


@pytest.fixture
def bundle(run: Run, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copytree(run[0] / "bundle", tmp_path / "bundle"))


def test_training_stores_the_review_curve_and_the_label_sets(run: Run, table: Path) -> None:
    card = run[1].card
    curve = card.metrics["review_curve"]
    assert curve["n"] == curve["accepted"][-1] == len(read_crops([table], card.classes).split("val"))
    assert (curve["chosen_on"], curve["set"], curve["unit"]) == ("validation", "discs", "slide")
    assert curve["error"][-1] == pytest.approx(1 - card.metrics["validation"]["accuracy"])
    assert {key for key in card.thresholds if key.startswith("conformal")} == {
        f"conformal_{alpha}_{name}" for alpha in (0.05, 0.1) for name in ("ALL", "HEM")
    }


def test_a_bundle_without_promises_gets_those_that_training_would_have_made(
    run: Run, bundle: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run[1].card
    old = json.loads((bundle / "model.json").read_text())
    del old["metrics"]["review_curve"]
    (bundle / "model.json").write_text(json.dumps({**old, "thresholds": {"needs_review": 0.99}, "temperature": 9.0}))
    assert main([str(bundle), "--data", str(table)]) == 0
    card = open_bundle(bundle).card
    assert card.temperature == pytest.approx(made.temperature, rel=1e-3)
    assert card.thresholds == pytest.approx(made.thresholds, abs=1e-3)
    assert card.metrics["review_curve"]["wrong"] == made.metrics["review_curve"]["wrong"]
    assert card.metrics["operating_point"]["rule"] == made.metrics["operating_point"]["rule"]
    assert card.metrics["validation"] == old["metrics"]["validation"]  # the rest of the card stays
    printed = capsys.readouterr().out
    assert "16 validation cells of 4 groups (slide)" in printed
    assert "--max-error 0.02: no threshold can promise it" in printed  # 16 cells cannot


def test_cells_that_may_have_been_trained_on_are_refused(
    bundle: Path, tmp_path: Path, rows: Callable, write_table: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle / "model.json").read_bytes()
    other = write_table(tmp_path / "lab", rows(32), manifest={"crop": {"width": 2.5}})
    assert main([str(bundle), "--data", str(other)]) == 2
    assert "lab: not a table that all-hem was trained with" in capsys.readouterr().err
    assert (bundle / "model.json").read_bytes() == before
    assert main([str(bundle), "--data", str(other), "--unseen"]) == 0
    assert open_bundle(bundle).card.metrics["review_curve"]["set"] == "lab"


def test_groups_that_are_in_both_parts_or_unknown_are_refused(tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    made = [{**row, "slide": "s", "field": f"f{i}", "split": "train"} for i, row in enumerate(rows(8))]
    table = read_crops([write_table(tmp_path / "one", made)], ("ALL", "HEM"))
    with pytest.raises(AnnotationError, match="slide 's' of one has crops to train and to calibrate on"):
        require_disjoint(table, np.arange(4), np.arange(4, 8))
    nameless = [{**row, "slide": "", "field": "", "split": ("train", "val")[i // 4]} for i, row in enumerate(rows(8))]
    table = read_crops([write_table(tmp_path / "two", nameless)], ("ALL", "HEM"))
    with pytest.raises(AnnotationError, match=r"c004\.png: names no patient, slide, field or group; crops to calibrate on must"):
        require_disjoint(table, np.arange(4, 8), np.arange(4))
    apart = [{**row, "slide": f"s{i // 4}", "field": ""} for i, row in enumerate(made)]
    require_disjoint(read_crops([write_table(tmp_path / "three", apart)], ("ALL", "HEM")), np.arange(4), np.arange(4, 8))


def test_crops_cut_by_another_contract_are_refused(bundle: Path, tmp_path: Path, rows: Callable, write_table: Callable) -> None:
    other = write_table(tmp_path / "lab", rows(32), manifest={"crop": {"unit": "box", "width": 1.2}})
    assert main([str(bundle), "--data", str(other), "--unseen"]) == 2
