"""The statistics command: from a prepared set to limits in the card, and from there to warnings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from detection.statistics import describe_set, main
from smear import annotations
from smear.bundles import save_bundle
from smear.drift import Reference, judge
from smear.images import read_image, resize, write_image
from smear.models import ModelCard, open_bundle
from smear.quality import measure_quality


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="m", task="detect", architecture="yolov8n", classes=("WBC", "RBC", "Platelets"), white_classes=("WBC",), red_class="RBC",
        input_px=64, normalise="unit", head="yolo", rbc_px=48.0,
    )  # fmt: skip


@pytest.fixture
def bundle(trained, tmp_path) -> Path:
    shutil.copytree(trained / "bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_trained_bundle_says_what_its_fields_look_like(trained):
    statistics = open_bundle(trained / "bundle").card.statistics
    assert statistics["n_fields"] == 6
    assert statistics["split"] == "train"
    assert Reference.from_card(statistics) is not None


def test_the_command_writes_the_card_and_leaves_the_weights(painted, bundle, capsys):
    before = open_bundle(bundle).card
    assert main([str(painted), "--bundle", str(bundle), "--split", "val"]) == 0
    after = open_bundle(bundle).card
    assert after.files == before.files
    assert after.statistics["split"] == "val"
    assert after.model_copy(update={"statistics": before.statistics}) == before
    assert "focus" in capsys.readouterr().out


def test_the_red_cells_of_the_labels_are_the_ruler(painted, card):
    described = describe_set(painted, card)
    assert described["measures"]["rbc_px"]["median"] == pytest.approx(24, rel=0.15)


def test_a_set_at_the_detectors_scale_says_how_large_its_cells_were(painted, card, tmp_path):
    """A composed set is resized already: its manifest knows the size in the pixels of the camera."""
    shutil.copytree(painted.parent, tmp_path / "set")
    data = tmp_path / "set" / "data.yaml"
    data.write_text(data.read_text().replace("rbc_px: 24.0", "") + "rbc_px: 48.0\n")
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    for entry in manifest["files"]:
        entry["rbc_px"] = 100.0
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    described = describe_set(data, card)
    assert described["measures"]["rbc_px"]["median"] == 100
    path = annotations.read_data_yaml(data).images("train")[0]
    assert described["measures"]["background"]["high"] >= measure_quality(read_image(path), rbc_px=48.0)["background"] - 0.01


def test_the_fields_trained_on_are_not_warned_of(painted, card):
    reference = Reference.from_card(describe_set(painted, card))
    for path in annotations.read_data_yaml(painted).images("train"):
        known, warnings = judge(measure_quality(resize(read_image(path), 2.0), rbc_px=48.0), reference)
        assert warnings == ()
        assert "stain_distance" not in known  # six fields are too few to call another foreign


@pytest.mark.parametrize("labels", ["", "0 0.5 0.5 0.4 0.6\n"], ids=["no cells", "a white cell"])
def test_fields_without_red_cells_are_described_too(card, tmp_path, labels):
    for split in ("train",):
        write_image(tmp_path / "images" / split / "a.png", np.full((64, 96, 3), 220, np.uint8))
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text(labels)
    data = annotations.write_data_yaml(tmp_path, card.classes, ["train"])
    measures = describe_set(data, card)["measures"]
    assert ("rbc_px" in measures) == bool(labels)
    assert measures["background"]["median"] == pytest.approx(220 / 255, abs=0.01)


@pytest.mark.parametrize("wrong", ["data", "bundle", "task"])
def test_a_mistake_is_one_line(painted, bundle, tmp_path, capsys, wrong):
    data, folder = (tmp_path / "none.yaml" if wrong == "data" else painted), (tmp_path / "none" if wrong == "bundle" else bundle)
    if wrong == "task":
        other = open_bundle(bundle).card
        changes = {"task": "classify", "head": "softmax", "white_classes": ()}
        save_bundle(bundle, other.model_copy(update=changes), {"model.onnx": bundle / "model.onnx"})
    assert main([str(data), "--bundle", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
