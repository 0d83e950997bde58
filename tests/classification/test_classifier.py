import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from classification import export
from classification.classifier import BundleClassifier, _few_sizes, normalise, open_classifier
from classification.networks import build
from classification.train import Trained
from smear.bundles import save_bundle
from smear.errors import ModelError
from smear.models import ModelCard

Run = tuple[Path, Trained]


def card(**changes: object) -> ModelCard:
    start = {
        "name": "t",
        "task": "classify",
        "architecture": "tiny",
        "classes": ("ALL", "HEM"),
        "input_px": 64,
        "normalise": "unit",
        "head": "sigmoid",
    }
    return ModelCard.model_validate({**start, **changes})


def crops(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def test_normalisations_are_those_of_the_card() -> None:
    some = crops(3)
    np.testing.assert_allclose(normalise(some, "unit")[1, :, 5, 7], some[1, 5, 7] / 255, atol=1e-6)
    expected = (some[1, 5, 7] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalise(some, "imagenet")[1, :, 5, 7], expected, atol=1e-5)
    scaled = normalise(np.stack([some[0] // 2 + 20, np.full((64, 64, 3), 9, np.uint8)]), "minmax")
    assert (scaled[0].min(), scaled[0].max()) == (0, 1)
    assert (scaled[1] == 0).all()


@pytest.mark.parametrize(("head", "n_logits"), [("sigmoid", 1), ("softmax", 2)])
def test_no_crop_is_no_row(head: str, n_logits: int) -> None:
    classifier = BundleClassifier(lambda batch: (np.zeros((len(batch), n_logits), np.float32),), card(head=head))
    assert classifier(crops(0)).shape == (0, 2)


def test_chunks_and_temperature_are_applied() -> None:
    sizes = []

    def runtime(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        sizes.append(len(batch))
        return (batch.mean(axis=(1, 2, 3), keepdims=False)[:, None].astype(np.float32) * 8,)

    classifier = BundleClassifier(runtime, card(temperature=4.0), batch=4)
    found = classifier(crops(9))
    assert sizes == [4, 4, 1]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(-(crops(9).mean(axis=(1, 2, 3)) / 255 * 8) / 4)), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_crops_of_another_size_are_our_mistake_and_logits_of_another_width_the_models() -> None:
    classifier = BundleClassifier(lambda batch: (np.zeros((len(batch), 3), np.float32),), card())
    with pytest.raises(ValueError, match="must be uint8"):
        classifier(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ModelError, match="must give 1 finite logits"):
        classifier(crops(2))


def test_a_network_that_gives_nan_is_an_error() -> None:
    with pytest.raises(ModelError, match="not finite"):
        BundleClassifier(lambda batch: (np.full((len(batch), 1), np.nan, np.float32),), card())(crops(1))


def test_a_detector_is_not_a_classifier() -> None:
    with pytest.raises(ModelError, match="a classifier is needed"):
        BundleClassifier(lambda batch: (), card(task="detect", head="yolo"))


def test_onnx_and_torch_say_the_same_from_one_bundle(run: Run) -> None:
    some = crops(10)
    onnx, torch = (open_classifier(run[0] / "bundle", runtime=name, device="cpu") for name in ("onnx", "torch"))
    np.testing.assert_allclose(onnx(some), torch(some), atol=1e-5)
    np.testing.assert_allclose(onnx(some)[3:4], onnx(some[3:4]), atol=1e-5)


def test_a_changed_bundle_is_refused_by_hash(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run[0] / "bundle", tmp_path / "b")
    weights = tmp_path / "b" / "weights.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match=r"sha256 of weights\.onnx"):
        open_classifier(tmp_path / "b")


def test_a_pickle_cannot_be_bundled(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pickle"):
        save_bundle(tmp_path, card(), {"weights.onnx": b"\x80\x04\x95junk"})


def test_half_weights_that_cost_too_much_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(export, "MAX_PROBABILITY_ERROR", {False: 1e-4, True: -1.0})
    saved = export.write_bundle(tmp_path, build("tiny", "leukodetect", 2), card(), crops(4), half=True, safetensors=False)
    assert saved.metrics["onnx_half_weights"] is False
    assert open_classifier(tmp_path)(crops(2)).shape == (2, 2)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 12, 63, 64, 65, 140])
def test_batches_have_few_sizes_and_cover_all_crops_once(n):
    parts = _few_sizes(n, 64)
    assert [i for start, end in parts for i in range(start, end)] == list(range(n))
    assert {end - start for start, end in parts} <= {1, 2, 4, 8, 16, 32, 64}
    assert len(parts) <= n // 64 + 6
