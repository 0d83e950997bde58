"""Every runtime in every precision: pixels or floats, one image or many, one thread or several, the numbers are the same."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper, numpy_helper

from classification.classifier import PIXELS as CLASSIFIER_PIXELS
from classification.classifier import normalise
from smear.bundles import save_bundle
from smear.errors import ModelError
from smear.models import Bundle, ModelCard, open_bundle
from smear.runtimes import RUNTIMES, VARIANTS, compiled, is_allowed, open_runtime
from smear.runtimes.onnx_pixels import take_pixels
from smear.types import Pixels

MODELS = Path(__file__).resolve().parents[2] / "models"
PIXELS = Pixels((120.0, 110.0, 130.0), (60.0, 62.0, 58.0))
TOLERANCE = {"fp32": 1e-4, "int8": 1e-4, "bf16": 0.02}  # of the largest output: the same network asked in two ways
FROM_FLOAT32 = {"bf16": 0.02, "int8": 0.02}  # of the largest output: another precision
ON_THE_CPU = [*RUNTIMES, *(name for name in VARIANTS if VARIANTS[name][1] in FROM_FLOAT32)]
RNG = np.random.default_rng(3)
WEIGHT, BIAS = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32), RNG.normal(size=8).astype(np.float32)


def network(int8: bool = False) -> bytes:
    """conv 3×3 → relu → mean over space; `int8`: its weights in 8 bits, one scale for all."""
    scale = np.float32(np.abs(WEIGHT).max() / 127)
    nodes = [helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"])] if int8 else []
    nodes += [
        helper.make_node("Conv", ["images", "w", "b"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["out"]),
    ]
    whole = {"w8": np.round(WEIGHT / scale).astype(np.int8), "scale": scale, "zero": np.int8(0)} if int8 else {"w": WEIGHT}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w_px"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8, 1, 1])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in {**whole, "b": BIAS}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return torch.relu(self.conv(x)).mean(dim=(2, 3), keepdim=True)


def save(folder: Path, *, accepted: bool = True) -> Bundle:
    variants = {n: {"accepted": accepted, "file": "model.int8.onnx" if n.endswith("int8") else None} for n in VARIANTS}
    card = ModelCard(
        name="tiny",
        task="classify",
        architecture="conv",
        classes=("a", "b"),
        input_px=8,
        normalise="unit",
        head="softmax",
        variants=variants,
    )
    weights = safetensors.numpy.save({"conv.weight": WEIGHT, "conv.bias": BIAS})
    save_bundle(folder, card, {"model.onnx": network(), "model.int8.onnx": network(int8=True), "w.safetensors": weights})
    return open_bundle(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return save(tmp_path_factory.mktemp("bundles") / "tiny")


def opened(bundle: Bundle, name: str, **options):
    try:
        return open_runtime(bundle, runtime=name, **{"device": "cpu", "threads": 1, "build_module": lambda _: Module(), **options})
    except ModelError as error:
        if "does not compute in bfloat16" in str(error):
            pytest.skip(str(error))
        raise


def rgb(n: int, side: int = 12) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), np.uint8)


def floats(images: np.ndarray) -> np.ndarray:
    return ((images - np.float32(PIXELS.mean)) / np.float32(PIXELS.std)).astype(np.float32).transpose(0, 3, 1, 2)


def assert_close(a: np.ndarray, b: np.ndarray, name: str, tolerance: dict[str, float] = TOLERANCE) -> None:
    precision = VARIANTS[name][1] if name in VARIANTS else "fp32"
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance[precision] * np.abs(b).max())


@pytest.mark.parametrize("name", ON_THE_CPU)
class TestEveryPrecision:
    def test_it_says_what_it_is(self, bundle, name):
        runtime = opened(bundle, name, pixels=PIXELS)
        assert (runtime.name, runtime.device, runtime.takes_pixels) == (name, "cpu", True)
        assert not opened(bundle, name).takes_pixels

    def test_pixels_give_what_floats_give(self, bundle, name):
        (from_pixels,) = opened(bundle, name, pixels=PIXELS)(rgb(3))
        (from_floats,) = opened(bundle, name)(floats(rgb(3)))
        assert from_pixels.dtype == np.float32
        assert_close(from_pixels, from_floats, name)

    def test_one_image_at_a_time_gives_what_many_give(self, bundle, name):
        runtime = opened(bundle, name, pixels=PIXELS)
        assert_close(np.concatenate([runtime(image[None])[0] for image in rgb(7)]), runtime(rgb(7))[0], name)

    def test_threads_at_once_get_what_one_gets(self, bundle, name):
        runtime = opened(bundle, name, pixels=PIXELS, lanes=3)
        batches = [rgb(n, side) for n in (1, 2, 5) for side in (9, 12, 16)] * 6
        alone = [runtime(batch)[0] for batch in batches]
        with ThreadPoolExecutor(3) as pool:
            together = [out for (out,) in pool.map(runtime, batches)]
        for a, b in zip(together, alone, strict=True):
            assert_close(a, b, name)

    @pytest.mark.parametrize("pixels", [None, PIXELS])
    def test_an_empty_batch_keeps_every_shape(self, bundle, name, pixels):
        empty = rgb(1)[:0] if pixels else floats(rgb(1))[:0]
        assert [out.shape for out in opened(bundle, name, pixels=pixels)(empty)] == [(0, 8, 1, 1)]

    def test_views_that_cannot_be_written_are_taken(self, bundle, name):
        field = rgb(1, 40)[0]
        view = field[3:15, 5:17][None]
        view.setflags(write=False)
        runtime = opened(bundle, name, pixels=PIXELS)
        assert_close(runtime(view)[0], runtime(view.copy())[0], name)

    def test_another_precision_is_close_to_float32(self, bundle, name):
        if name in RUNTIMES:
            exact = np.maximum(_convolved(floats(rgb(4))), 0).mean(axis=(2, 3), keepdims=True)
            assert_close(opened(bundle, name, pixels=PIXELS)(rgb(4))[0], exact, name)
            return
        (exact,) = opened(bundle, "onnx", pixels=PIXELS)(rgb(4))
        (other,) = opened(bundle, name, pixels=PIXELS)(rgb(4))
        assert_close(other, exact, name, FROM_FLOAT32)
        assert not np.array_equal(other, exact), "nothing says that it ran in another precision"


@pytest.mark.parametrize("name", VARIANTS)
class TestTheGate:
    def test_a_variant_that_has_not_passed_is_refused_with_what_to_do(self, tmp_path, name):
        refused = save(tmp_path / "b", accepted=False)
        runtime, precision = name.split("-")
        with pytest.raises(ModelError, match=f"'{name}': has not passed the parity gate .* --runtime {runtime} --{precision} --calibrate"):
            open_runtime(refused, runtime=name, device="cpu")
        assert not is_allowed(refused.card, name)

    def test_a_variant_that_nobody_tried_is_refused(self, bundle, name):
        bare = Bundle(bundle.root, bundle.card.model_copy(update={"variants": {}}))
        with pytest.raises(ModelError, match="has not passed the parity gate"):
            open_runtime(bare, runtime=name, device="cpu")

    def test_the_gate_itself_may_try_it(self, tmp_path, name):
        if name not in ON_THE_CPU:
            pytest.skip("needs a GPU")
        assert opened(save(tmp_path / "b", accepted=False), name, trial=True).name == name


class TestPixelsInsideOnnx:
    def test_half_precision_input_is_given_what_it_takes(self):
        model = onnx.load_model_from_string(network())
        cast = helper.make_node("Cast", ["half"], ["images"], to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("half", TensorProto.FLOAT16, ["n", 3, "h", "w_px"]))
        added = onnx.load_model_from_string(take_pixels(model.SerializeToString(), PIXELS))
        onnx.checker.check_model(added, full_check=True)
        assert added.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8

    def test_a_graph_of_no_images_is_refused(self):
        model = onnx.load_model_from_string(network())
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.INT64, ["n", 3, "h", "w_px"]))
        with pytest.raises(ModelError, match="must take one batch of images"):
            take_pixels(model.SerializeToString(), PIXELS)

    def test_division_by_255_is_exact(self, tmp_path):
        """A network that gives its input back: the same bits as numpy's."""
        node = helper.make_node("Identity", ["images"], ["out"])
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, "h", "w_px"]) for n in ("images", "out")]
        graph = helper.make_graph([node], "same", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        card = ModelCard(name="s", task="classify", architecture="s", classes=("a",), input_px=8, normalise="unit", head="softmax")
        save_bundle(tmp_path / "s", card, {"model.onnx": model.SerializeToString()})
        levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
        (out,) = open_runtime(open_bundle(tmp_path / "s"), runtime="onnx", device="cpu", threads=1, pixels=Pixels())(levels)
        np.testing.assert_array_equal(out, levels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


class TestShippedBundles:
    """Painted noise is enough: the question is whether runtimes agree, not what they see."""

    def test_onnx_and_openvino_agree_on_the_detector(self):
        bundle, window = open_bundle(MODELS / "wbc-yolov8n"), _blobs(256)[None]
        outs = [open_runtime(bundle, runtime=name, device="cpu", threads=1, pixels=Pixels())(window)[0] for name in ("onnx", "openvino")]
        floats = np.ascontiguousarray(window.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        outs.append(open_runtime(bundle, runtime="onnx", device="cpu", threads=1)(floats)[0])
        for out in outs[1:]:
            np.testing.assert_allclose(out[:, :4], outs[0][:, :4], rtol=0, atol=0.02)  # pixels
            np.testing.assert_allclose(out[:, 4:], outs[0][:, 4:], rtol=0, atol=1e-4)

    def test_onnx_and_openvino_agree_on_the_classifier(self):
        bundle = open_bundle(MODELS / "all-hem-densenet121")
        crops = np.stack([_blobs(bundle.card.input_px, seed) for seed in range(5)])
        pixels = CLASSIFIER_PIXELS[bundle.card.normalise]
        (expected,) = open_runtime(bundle, runtime="onnx", device="cpu", threads=1)(normalise(crops, bundle.card.normalise))
        for name in ("onnx", "openvino"):
            (out,) = open_runtime(bundle, runtime=name, device="cpu", threads=1, pixels=pixels)(crops)
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
        assert np.ptp(expected) > 0.1


class TestCompiledBefore:
    """OpenVINO's networks are kept in the cache folder."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path / "cache"))

    def test_a_second_opening_compiles_nothing_and_says_the_same(self, bundle, monkeypatch):
        (first,) = opened(bundle, "openvino", pixels=PIXELS)(rgb(2))
        monkeypatch.setattr("smear.runtimes.openvino._compiled", _refuse)
        np.testing.assert_array_equal(opened(bundle, "openvino", pixels=PIXELS)(rgb(2))[0], first)

    @pytest.mark.parametrize("options", [{"pixels": None}, {"lanes": 2}, {"threads": 2}, {"pixels": Pixels()}])
    def test_another_request_compiles_again(self, bundle, monkeypatch, options):
        opened(bundle, "openvino", pixels=PIXELS)
        monkeypatch.setattr("smear.runtimes.openvino._compiled", _refuse)
        with pytest.raises(AssertionError, match="compiled"):
            opened(bundle, "openvino", **{"pixels": PIXELS, **options})

    def test_other_weights_compile_again(self, bundle, tmp_path):
        (before,) = opened(bundle, "openvino", pixels=PIXELS)(rgb(2))
        other = onnx.load_model_from_string(network())
        other.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT * 2, "w"))
        save_bundle(tmp_path / "o", bundle.card.model_copy(update={"variants": {}, "files": {}}), {"model.onnx": other.SerializeToString()})
        (after,) = opened(open_bundle(tmp_path / "o"), "openvino", pixels=PIXELS)(rgb(2))
        assert np.abs(after - before).max() > 0.1

    @pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-9] + bytes(9), lambda b: b[::-1]])
    def test_a_damaged_file_is_compiled_anew(self, bundle, tmp_path, damage):
        (first,) = opened(bundle, "openvino", pixels=PIXELS)(rgb(2))
        (kept,) = (tmp_path / "cache").rglob("*.compiled")
        whole = kept.read_bytes()
        kept.write_bytes(damage(whole))
        np.testing.assert_array_equal(opened(bundle, "openvino", pixels=PIXELS)(rgb(2))[0], first)
        assert len(kept.read_bytes()) == len(whole)

    def test_a_file_that_openvino_refuses_is_compiled_anew(self, bundle, tmp_path):
        (first,) = opened(bundle, "openvino", pixels=PIXELS)(rgb(2))
        (kept,) = (tmp_path / "cache").rglob("*.compiled")
        compiled.keep(kept, b"of another release")
        np.testing.assert_array_equal(opened(bundle, "openvino", pixels=PIXELS)(rgb(2))[0], first)

    def test_a_cache_that_cannot_be_written_is_no_error(self, bundle, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path / "file"))
        assert opened(bundle, "openvino", pixels=PIXELS)(rgb(2))[0].shape == (2, 8, 1, 1)

    def test_only_so_many_are_kept_and_the_oldest_go(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiled, "KEPT", 3)
        paths = [compiled.place("kind", {"number": i}) for i in range(5)]
        for age, path in enumerate(paths):
            compiled.keep(path, b"x")
            os.utime(path, (1000 + age, 1000 + age))
        assert [compiled.recall(path) for path in paths] == [None, None, b"x", b"x", b"x"]

    def test_weights_changed_since_are_refused_even_when_compiled_before(self, tmp_path):
        mine = save(tmp_path / "mine")
        opened(mine, "openvino")
        (mine.root / "model.onnx").write_bytes(network(int8=True))
        with pytest.raises(ModelError, match="the file was changed"):
            opened(mine, "openvino")


def _refuse(*_: object) -> None:
    raise AssertionError("compiled")


def _blobs(side: int, seed: int = 0) -> np.ndarray:
    """Soft coloured blobs, (side, side, 3) uint8."""
    coarse = np.random.default_rng(seed).random((side // 16 + 1, side // 16 + 1, 3))
    return (np.kron(coarse, np.ones((16, 16, 1)))[:side, :side] * 255).astype(np.uint8)


def _convolved(batch: np.ndarray) -> np.ndarray:
    """The slow obvious convolution."""
    windows = np.lib.stride_tricks.sliding_window_view(batch.astype(np.float64), (3, 3), axis=(2, 3))  # (B, 3, h, w, 3, 3)
    return np.einsum("bchwij,ocij->bohw", windows, WEIGHT) + BIAS[:, None, None]
