"""From a checkpoint to a bundle that gives what torch gave."""

import json
import shutil

import numpy as np
import pytest

from detection import export, yolo
from detection.detector import YoloDetector
from detection.settings import DetectSettings
from smear.annotations import DataSet
from smear.errors import ModelError
from smear.models import open_bundle
from smear.runtimes import open_runtime

pytestmark = pytest.mark.slow


class TestABundle:
    @pytest.mark.parametrize("runtime", ["onnx", "openvino"])
    def test_it_finds_what_torch_finds(self, trained, runtime):
        bundle = open_bundle(trained / "bundle")
        model = yolo.load_model(trained / "weights" / "best.pt").fuse(verbose=False).eval()

        def by_torch(batch):
            import torch

            with torch.no_grad():
                return (model(torch.from_numpy(batch))[0].numpy(),)

        tiles = [
            np.random.default_rng(i).integers(0, 256, (h, w, 3), np.uint8) for i, (h, w) in enumerate([(64, 64), (100, 70), (128, 128)])
        ]
        ours = YoloDetector(open_runtime(bundle, runtime=runtime, device="cpu", threads=1), bundle.card, confidence=0.001)(tiles)
        theirs = YoloDetector(by_torch, bundle.card, confidence=0.001)(tiles)
        for a, b in zip(ours, theirs, strict=True):
            assert abs(len(a) - len(b)) <= 0.05 * max(len(b), 20)
            k = min(len(a), len(b), 5)
            np.testing.assert_allclose(a.scores[:k], b.scores[:k], rtol=0.02, atol=1e-4)

    def test_half_the_weights_are_half_the_file(self, trained):
        assert (trained / "bundle" / "model.onnx").stat().st_size < 8e6

    def test_its_confidence_was_chosen_on_the_validation_split(self, trained):
        card = open_bundle(trained / "bundle").card
        assert 0.1 <= card.thresholds["confidence"] <= 0.9
        assert card.metrics["val"]["n_images"] == 2
        assert "ultralytics" in card.metrics["val"]


def test_export_is_a_command_that_gives_the_same_bundle(trained, tmp_path, capsys):
    assert export.main([str(trained), "--out", str(tmp_path / "bundle")]) == 0
    assert open_bundle(tmp_path / "bundle").card == open_bundle(trained / "bundle").card
    assert "ONNX differs from torch by at most" in capsys.readouterr().out


def test_a_network_that_onnx_gets_wrong_is_refused(trained, tmp_path, monkeypatch, capsys):
    real = yolo.onnx_bytes

    def wrong(model, **how):
        content, run = real(model, **how)
        return content, lambda batch: run(batch) + np.float32(1)

    monkeypatch.setattr(yolo, "onnx_bytes", wrong)
    assert export.main([str(trained), "--out", str(tmp_path / "bundle")]) == 2
    assert "ONNX differs from torch by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lost", "said"), [("about.json", "is not a run folder"), ("config.yaml", "cannot read it"), ("weights/best.pt", "no such file")]
)
def test_an_incomplete_run_is_one_line(trained, tmp_path, capsys, lost, said):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / lost).unlink()
    assert export.main([str(run)]) == 2
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("classes", "white", "red"),
    [
        (("WBC", "RBC"), ("WBC",), "RBC"),
        (("HEM", "ALL"), ("HEM", "ALL"), None),
        (("leucocyte",), ("leucocyte",), None),
        (("a", "b"), (), None),
    ],
)
def test_the_card_knows_white_and_red_classes_by_name(tmp_path, monkeypatch, trained, classes, white, red):
    content = (trained / "bundle" / "model.onnx").read_bytes()
    monkeypatch.setattr(yolo, "load_model", lambda path: None)
    monkeypatch.setattr(yolo, "onnx_bytes", lambda model, **how: (content, None))
    monkeypatch.setattr(export, "_compare", lambda *a: 0.0)
    card = export.export_bundle(
        tmp_path / "x.pt", DataSet(tmp_path, classes, {}), tmp_path / "b", name="b", settings=DetectSettings(), rbc_px=None, about={}
    )
    assert (card.white_classes, card.red_class) == (white, red)


def test_a_card_without_any_metric_that_is_known_can_be_written(trained):
    """An untrained detector finds nothing: undefined metrics are null in the card, and the card can be read."""
    stored = json.loads((trained / "bundle" / "model.json").read_text())
    assert set(stored["metrics"]["val"]) >= {"map50", "map50_95", "precision", "recall", "ap50"}


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"x\.pt: not a checkpoint"):
        yolo.load_model(tmp_path / "x.pt")
