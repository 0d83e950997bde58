"""Every runtime gives the same numbers on the same network, and refuses the same bad bundles; precisions are in test_precisions.py."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper, numpy_helper

from smear.bundles import save_bundle
from smear.errors import MissingExtra, ModelError
from smear.models import Bundle, ModelCard, open_bundle
from smear.runtimes import RUNTIMES, open_runtime, parse_device

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(7)
WEIGHT = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)  # (out, in, 3, 3)
BIAS = RNG.normal(size=4).astype(np.float32)


def card(**changes):
    base = {"name": "tiny", "task": "classify", "architecture": "conv", "classes": ("a", "b", "c", "d")}
    return ModelCard(**{**base, "input_px": 8, "normalise": "unit", "head": "softmax", **changes})


def tiny_onnx(dtype=np.float32, batch="n", io_type=TensorProto.FLOAT) -> bytes:
    """conv 3×3 → relu → mean over space, beside the maximum over space: two outputs."""
    inner = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=inner),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["mean"]),
        helper.make_node("GlobalMaxPool", ["z"], ["top"]),
        helper.make_node("Cast", ["mean"], ["out"], to=io_type),
        helper.make_node("Cast", ["top"], ["out_top"], to=io_type),
    ]
    weights = [numpy_helper.from_array(WEIGHT.astype(dtype), "w"), numpy_helper.from_array(BIAS.astype(dtype), "b")]
    shape = [batch, 3, "h", "w_px"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", io_type, shape)],
        [helper.make_tensor_value_info(o, io_type, [batch, 4, 1, 1]) for o in ("out", "out_top")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class TinyModule(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return y.mean(dim=(2, 3), keepdim=True), y.amax(dim=(2, 3), keepdim=True)


def build_tiny(_: ModelCard) -> torch.nn.Module:
    return TinyModule()


def expected(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slow obvious convolution."""
    windows = np.lib.stride_tricks.sliding_window_view(batch.astype(np.float64), (3, 3), axis=(2, 3))  # (B, 3, h, w, 3, 3)
    y = np.maximum(np.einsum("bchwij,ocij->bohw", windows, WEIGHT) + BIAS[:, None, None], 0)
    return y.mean(axis=(2, 3), keepdims=True), y.max(axis=(2, 3), keepdims=True)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    weights = safetensors.numpy.save({"conv.weight": WEIGHT, "conv.bias": BIAS})
    save_bundle(tmp_path / "tiny", card(), {"weights.onnx": tiny_onnx(), "weights.safetensors": weights})
    return open_bundle(tmp_path / "tiny")


def only_onnx(tmp_path, data: bytes) -> Bundle:
    save_bundle(tmp_path / "b", card(), {"weights.onnx": data})
    return open_bundle(tmp_path / "b")


def images(n: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(n).random((n, 3, side, side), np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
class TestEveryRuntime:
    @pytest.mark.parametrize(("n", "side"), [(1, 8), (5, 8), (2, 13)])
    def test_gives_what_the_arithmetic_says(self, bundle, runtime, n, side):
        network = open_runtime(bundle, runtime=runtime, device="cpu", threads=1, build_module=build_tiny)
        outputs = network(images(n, side))
        assert [o.dtype for o in outputs] == [np.float32] * 2
        for output, truth in zip(outputs, expected(images(n, side)), strict=True):
            np.testing.assert_allclose(output, truth, rtol=1e-4, atol=1e-5)

    def test_an_empty_batch_keeps_every_shape(self, bundle, runtime):
        outputs = open_runtime(bundle, runtime=runtime, device="cpu", threads=1, build_module=build_tiny)(images(0))
        assert [o.shape for o in outputs] == [(0, 4, 1, 1)] * 2

    def test_an_earlier_result_survives_the_next_call(self, bundle, runtime):
        network = open_runtime(bundle, runtime=runtime, device="cpu", threads=1, build_module=build_tiny)
        first = network(images(2))
        kept = [o.copy() for o in first]
        network(images(2) + 1)
        for a, b in zip(first, kept, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_takes_views_that_are_not_contiguous_and_not_writable(self, bundle, runtime):
        batch = images(3).transpose(0, 1, 3, 2)
        batch.setflags(write=False)
        outputs = open_runtime(bundle, runtime=runtime, device="cpu", threads=1, build_module=build_tiny)(batch)
        np.testing.assert_allclose(outputs[0], expected(batch)[0], rtol=1e-4, atol=1e-5)

    def test_an_absent_cuda_device_is_one_clear_line(self, bundle, runtime):
        with pytest.raises(ModelError, match=r"device: '999'") as error:
            open_runtime(bundle, runtime=runtime, device="999", build_module=build_tiny)
        assert "\n" not in str(error.value)

    def test_weights_changed_after_opening_are_refused(self, bundle, runtime):
        name = bundle.file(".safetensors" if runtime == "torch" else ".onnx")
        path = bundle.root / name
        path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
        with pytest.raises(ModelError, match="the file was changed"):
            open_runtime(bundle, runtime=runtime, device="cpu", build_module=build_tiny)


OPENED = """
import builtins, gc, signal, sys, threading, time
import numpy as np
from pathlib import Path
from smear.models import open_bundle
from smear.runtimes import open_runtime

def opened():
    return open_runtime(open_bundle(Path(sys.argv[1])), runtime=sys.argv[2], device="cpu", lanes=2, threads=1)
"""
SIGNALLED = """
first, second = opened(), opened()
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.raise_signal(signal.SIGUSR1)
"""
TOGETHER = """
network, real = opened(), builtins.__import__

def slow(*args, **kwargs):  # what is imported by the first call lets the other thread in
    time.sleep(0.1)
    return real(*args, **kwargs)

builtins.__import__ = slow
callers = [threading.Thread(target=network, args=[np.zeros((1, 3, 8, 8), np.float32)], daemon=True) for _ in range(2)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print("answered")
"""


def in_a_process(code: str, bundle: Bundle, runtime: str) -> tuple[int, str]:
    """Exit code and output of the code after `OPENED`, in a process of its own that a crash or a lock may take with it."""
    words = [sys.executable, "-c", OPENED + code, str(bundle.root), runtime]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_signal_is_survived_after_networks_were_dropped(bundle, runtime):
    """OpenVINO gives a thread a stack for signals; one that is gone kills the process at the next Ctrl-C, or when a child ends."""
    assert in_a_process(SIGNALLED, bundle, runtime) == (0, "handled\n")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_first_calls_of_two_threads_do_not_lock_each_other_out(bundle, runtime):
    """OpenVINO prepares its side of numpy at the first call and holds a lock meanwhile that knows nothing of Python's."""
    assert in_a_process(TOGETHER, bundle, runtime) == (0, "answered\n")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
class TestOnnxReaders:
    @pytest.mark.parametrize("io_type", [TensorProto.FLOAT, TensorProto.FLOAT16])
    def test_half_precision_weights_speak_float32(self, tmp_path, runtime, io_type):
        bundle = only_onnx(tmp_path, tiny_onnx(np.float16, io_type=io_type))
        outputs = open_runtime(bundle, runtime=runtime, device="cpu", threads=1)(images(3))
        assert outputs[0].dtype == np.float32
        np.testing.assert_allclose(outputs[0], expected(images(3))[0], rtol=1e-2, atol=1e-2)

    def test_a_fixed_batch_is_refused(self, tmp_path, runtime):
        bundle = only_onnx(tmp_path, tiny_onnx(batch=1))
        with pytest.raises(ModelError, match=r"takes batches of 1 only"):
            open_runtime(bundle, runtime=runtime, device="cpu")

    def test_a_graph_that_does_not_hold_together_is_one_clear_line(self, tmp_path, runtime):
        model = onnx.load_from_string(tiny_onnx())
        model.graph.node[1].op_type = "NoSuchOperator"
        bundle = only_onnx(tmp_path, model.SerializeToString())
        with pytest.raises(ModelError, match=r"weights\.onnx: cannot be loaded") as error:
            open_runtime(bundle, runtime=runtime, device="cpu")
        assert "\n" not in str(error.value)

    def test_a_bundle_without_onnx_is_refused(self, tmp_path, runtime):
        save_bundle(tmp_path / "b", card(), {"w.safetensors": safetensors.numpy.save({"x": BIAS})})
        with pytest.raises(ModelError, match=r"exactly one \.onnx file"):
            open_runtime(open_bundle(tmp_path / "b"), runtime=runtime, device="cpu")


def test_torch_refuses_weights_that_do_not_fit(tmp_path):
    save_bundle(tmp_path / "b", card(), {"w.safetensors": safetensors.numpy.save({"conv.weight": WEIGHT})})
    with pytest.raises(ModelError, match=r"does not fit 'conv'.*conv\.bias"):
        open_runtime(open_bundle(tmp_path / "b"), runtime="torch", device="cpu", build_module=build_tiny)


def test_torch_without_an_architecture_is_refused(bundle):
    with pytest.raises(ModelError, match="needs the architecture 'conv'"):
        open_runtime(bundle, runtime="torch", device="cpu")


def test_auto_takes_onnx_on_the_cpu(bundle):
    assert type(open_runtime(bundle, device="cpu", threads=1)).__name__ == "OnnxNetwork"


def test_an_unknown_runtime_names_the_known_ones(bundle):
    with pytest.raises(ModelError, match=r"'onnx', 'openvino', 'torch', 'openvino-bf16', .* got 'tensorflow'"):
        open_runtime(bundle, runtime="tensorflow")


@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_names_its_extra(bundle, monkeypatch, runtime, package):
    monkeypatch.setitem(sys.modules, package, None)  # None makes its import fail
    with pytest.raises(MissingExtra, match=rf"pip install 'leukofield\[{runtime}\]'"):
        open_runtime(bundle, runtime=runtime, device="cpu")


@pytest.mark.parametrize(
    ("text", "parsed"), [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:1", ("cuda", 1)), ("2", ("cuda", 2))]
)
def test_devices_are_named_as_users_name_them(text, parsed):
    assert parse_device(text) == parsed


@pytest.mark.parametrize("text", ["tpu", "", "cuda:", "0,1", "-1", "CPU0"])
def test_other_device_names_are_refused(text):
    with pytest.raises(ModelError, match="device: must be"):
        parse_device(text)


def test_zero_threads_are_refused(bundle):
    with pytest.raises(ModelError, match="threads: must be at least 1, got 0"):
        open_runtime(bundle, threads=0)


def test_opening_a_runtime_calls_nobody_and_writes_only_to_our_cache(bundle, tmp_path):
    """In a process of its own: sockets are forbidden, the home is an empty folder that gets our cache and nothing else."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): print('CALLED', a); raise OSError('no network')\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse\n"
        "from pathlib import Path\nimport numpy as np\n"
        "from smear.models import open_bundle\nfrom smear.runtimes import open_runtime\n"
        "b = open_bundle(Path(sys.argv[1]))\n"
        "for r in ('onnx', 'openvino'): open_runtime(b, runtime=r, device='cpu', threads=1)(np.zeros((1, 3, 8, 8), np.float32))\n"
        "print('telemetry', sys.modules.get('openvino_telemetry'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.root)],
        env={"HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["telemetry", "None"]), done.stderr
    cache = home / ".cache" / "leukofield"
    assert [path for path in home.rglob("*") if path.is_file() and not path.is_relative_to(cache)] == []
