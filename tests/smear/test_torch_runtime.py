"""Torch from a bundle that holds ONNX alone says what ONNX Runtime says; precision, pixels, threads and devices."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from classification.classifier import build_network as classifier_network
from classification.export import to_onnx
from classification.networks import build
from detection.detector import build_network as detector_network
from smear.bundles import save_bundle
from smear.compress import halve_weights, stored_weights
from smear.errors import ModelError
from smear.models import ModelCard, open_bundle
from smear.runtimes import open_runtime
from smear.runtimes.torch import TorchNetwork, open_torch
from smear.runtimes.torch_restore import restore
from tests.smear.conftest import paint_discs

MODELS = Path(__file__).resolve().parents[2] / "models"
UNIT = SimpleNamespace(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


class Branches(nn.Module):
    """A convolution and a mean; remembers the last shape as detectors do, which threads must not share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.grid: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict]:
        if self.grid is None or self.grid.shape[-2:] != x.shape[-2:]:
            self.grid = torch.arange(x.shape[-1], dtype=x.dtype).expand(1, 1, *x.shape[-2:])
        return self.conv(x) + self.grid, {"not": "a tensor"}


def network(**options: object) -> TorchNetwork:
    torch.manual_seed(0)
    return TorchNetwork(Branches(), "cpu", **options)


def tiles(n: int = 2, side: int = 192) -> np.ndarray:
    """(n, side, side, 3) uint8 painted fields at the detectors' scale."""
    return np.stack([paint_discs((side, side), rbc_px=24, n_all=1, n_hem=2, seed=i) for i in range(n)])


def cells() -> np.ndarray:
    """(4, 80, 80, 3) uint8 parts of painted fields, no two alike."""
    return np.stack([tile[corner : corner + 80, corner : corner + 80] for tile in tiles() for corner in (0, 90)])


def normal(crops: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / 255


class TestShippedBundles:
    def test_the_detector_gives_what_onnx_gives(self) -> None:
        bundle, batch = open_bundle(MODELS / "wbc-yolov8n"), normal(tiles())
        (theirs,) = open_runtime(bundle, runtime="onnx", device="cpu", threads=1)(batch)
        (ours,) = open_runtime(bundle, runtime="torch", device="cpu", threads=1, build_module=detector_network)(batch)
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours[:, :4], theirs[:, :4], atol=1e-2, rtol=0)
        np.testing.assert_allclose(ours[:, 4:], theirs[:, 4:], atol=1e-4, rtol=1e-3)
        assert theirs[:, 4:].max() > 0.5, "nothing in these tiles looks like a cell, so the comparison says little"

    def test_the_classifier_gives_what_onnx_gives(self) -> None:
        bundle, batch = open_bundle(MODELS / "all-hem-densenet121"), normal(cells()) * 4 - 2
        (theirs,) = open_runtime(bundle, runtime="onnx", device="cpu", threads=1)(batch)
        (ours,) = open_runtime(bundle, runtime="torch", device="cpu", threads=1, build_module=classifier_network)(batch)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        assert np.ptp(theirs) > 0.1

    def test_the_detector_decodes_boxes_in_float32_whatever_the_precision(self) -> None:
        module = detector_network(open_bundle(MODELS / "wbc-yolov8n").card)
        head = module.model[-1]
        maps = {"boxes": torch.randn(1, 64, 324), "scores": torch.randn(1, 3, 324)}
        maps["feats"] = [torch.zeros(1, 8, side, side) for side in (16, 8, 2)]
        exact = head._inference(maps)
        half = {**maps, "boxes": maps["boxes"].bfloat16(), "feats": [f.bfloat16() for f in maps["feats"]]}
        assert head._inference(half).dtype == torch.float32
        assert (head._inference(half) - exact)[:, :4].abs().max() < 1  # only what the rounded distances explain


class TestRestoring:
    @pytest.mark.parametrize(("front", "head"), [("none", "compact_net"), ("standard", "leukodetect")])
    def test_an_export_of_ours_comes_back_exactly(self, front: str, head: str) -> None:
        torch.manual_seed(1)
        trained = build("tiny", head, 2, front=front).eval()
        for module in trained.modules():
            if isinstance(module, nn.BatchNorm2d):  # statistics that an identity would not have
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
        twin, images = build("tiny", head, 2, front=front).eval(), torch.rand(3, 3, 64, 64)
        restore(twin, stored_weights(to_onnx(trained, 64)))
        with torch.inference_mode():
            torch.testing.assert_close(twin(images), trained(images), rtol=1e-4, atol=1e-5)

    def test_weights_of_another_architecture_are_refused_by_name(self, tmp_path: Path) -> None:
        data = halve_weights(to_onnx(build("tiny", "leukodetect", 2).eval(), 64))
        base = {"name": "t", "task": "classify", "classes": ("a", "b"), "input_px": 64, "normalise": "unit", "head": "sigmoid"}
        save_bundle(tmp_path / "b", ModelCard(architecture="densenet121", **base), {"weights.onnx": data})
        with pytest.raises(ModelError, match=r"does not fit 'densenet121' \(features.conv0.weight must be \[64, 3, 7, 7\]") as error:
            open_runtime(open_bundle(tmp_path / "b"), runtime="torch", device="cpu", build_module=classifier_network)
        assert "use runtime 'onnx'" in str(error.value)

    def test_weights_left_over_are_refused(self) -> None:
        module = nn.Sequential(nn.Conv2d(3, 4, 3))
        stored = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
        with pytest.raises(ModelError, match="extra is not a tensor of this architecture"):
            restore(module, {**stored, "extra": np.zeros((2, 2), np.float32)})

    def test_an_architecture_that_nobody_can_build_is_one_clear_line(self, tmp_path: Path) -> None:
        base = {"name": "t", "task": "detect", "classes": ("a",), "input_px": 64, "normalise": "unit", "head": "yolo"}
        data = to_onnx(build("tiny", "leukodetect", 2).eval(), 64)
        save_bundle(tmp_path / "b", ModelCard(architecture="yolov99z", **base), {"weights.onnx": data})
        with pytest.raises(ModelError, match="no architecture named 'yolov99z'") as error:
            open_runtime(open_bundle(tmp_path / "b"), runtime="torch", device="cpu", build_module=detector_network)
        assert "\n" not in str(error.value)


class TestNetwork:
    def test_pixels_are_normalised_inside(self) -> None:
        crops = tiles(3, 48)
        inside, outside = network(pixels=UNIT)(crops)[0], network()(normal(crops))[0]
        np.testing.assert_allclose(inside, outside, atol=1e-5)

    def test_no_pixels_keep_every_shape(self) -> None:
        assert network(pixels=UNIT)(tiles(1, 48)[:0])[0].shape == (0, 4, 48, 48)

    def test_a_tensor_is_used_where_it_is(self) -> None:
        crops = tiles(2, 48)
        np.testing.assert_array_equal(network(pixels=UNIT)(torch.from_numpy(crops))[0], network(pixels=UNIT)(crops)[0])

    def test_the_caller_s_array_stays_as_it_is(self) -> None:
        batch = normal(tiles(2, 48))
        kept = batch.copy()
        network()(batch)
        np.testing.assert_array_equal(batch, kept)

    def test_bfloat16_is_near_and_named(self) -> None:
        exact, near = network(), network(precision="bf16")
        batch = normal(tiles(2, 48))
        difference = np.abs(near(batch)[0] - exact(batch)[0]).max()
        assert (exact.name, near.name) == ("torch", "torch-bf16")
        assert 0 < difference < 0.3
        assert near(batch)[0].dtype == np.float32

    def test_threads_of_different_shapes_do_not_meet(self) -> None:
        """The module remembers the last shape; shared, one thread would add the grid of another."""
        shared = network(pixels=UNIT)
        alone = {side: network(pixels=UNIT)(tiles(1, side))[0] for side in (32, 48, 64)}
        sides = [32, 48, 64] * 30
        with ThreadPoolExecutor(3) as pool:
            for side, answer in zip(sides, pool.map(lambda side: shared(tiles(1, side))[0], sides), strict=True):
                np.testing.assert_array_equal(answer, alone[side])

    def test_replicas_share_their_weights_and_are_used_again(self) -> None:
        one, together = network(pixels=UNIT), threading.Barrier(2)

        def call(_: int) -> None:
            together.wait()
            one(tiles(1, 192))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(call, range(8)))
        replicas = [run.args[0] for run in one._idle]
        assert len(replicas) <= 2
        assert {r.conv.weight.data_ptr() for r in replicas} == {one._module.conv.weight.data_ptr()}
        assert all(r is not one._module for r in replicas)

    def test_fp16_needs_cuda(self) -> None:
        bundle = open_bundle(MODELS / "all-hem-densenet121")
        with pytest.raises(ModelError, match="'torch-fp16' needs CUDA"):
            open_torch(bundle, device="cpu", threads=None, build_module=classifier_network, precision="fp16")


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.5), ("fp16", 0.1)])
def test_cuda_says_what_the_cpu_says_recorded_or_not(precision: str, tolerance: float) -> None:
    """The first call is plain, the third is replayed from a graph."""
    bundle, crops = open_bundle(MODELS / "all-hem-densenet121"), tiles(5, 80)
    options = {"threads": None, "build_module": classifier_network, "pixels": UNIT}
    (expected,) = open_torch(bundle, device="cpu", **options)(crops)
    on_gpu = open_torch(bundle, device="cuda", precision=precision, **options)
    for _ in range(3):
        np.testing.assert_allclose(on_gpu(crops)[0], expected, atol=tolerance)
    (replica,) = on_gpu._idle
    assert (len(replica), replica.refused) == (1, None)


@pytest.mark.gpu
def test_lanes_on_one_gpu_do_not_disturb_each_other() -> None:
    bundle = open_bundle(MODELS / "wbc-yolov8n")
    on_gpu = open_torch(bundle, device="cuda", threads=None, build_module=detector_network, pixels=UNIT)
    alone = {side: on_gpu(tiles(2, side))[0] for side in (128, 192, 256)}
    sides = [128, 192, 256] * 8
    with ThreadPoolExecutor(3) as pool:
        for side, answer in zip(sides, pool.map(lambda side: on_gpu(tiles(2, side))[0], sides), strict=True):
            np.testing.assert_allclose(answer, alone[side], atol=1e-2)
