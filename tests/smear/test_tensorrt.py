"""When TensorRT is taken and when it is refused, by an onnxruntime that says what it has; TensorRT itself needs its GPU."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from smear.errors import ModelError
from smear.models import open_bundle
from smear.runtimes import open_runtime, tensorrt
from smear.runtimes.onnx import CUDA, OnnxNetwork

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "wbc-yolov8n"
ALL = [tensorrt.TENSORRT, CUDA, "CPUExecutionProvider"]


def pretend(monkeypatch: pytest.MonkeyPatch, *, built_with: list[str], uses: list[str]) -> list[dict]:
    """An onnxruntime built with some providers, whose sessions come to use others; what was asked of it."""
    asked: list[dict] = []

    def session(bundle: object, **options: object) -> OnnxNetwork:
        asked.append(options)
        return OnnxNetwork(SimpleNamespace(get_providers=lambda: uses), "images", np.float32, str(options["named"]), "cuda:1")

    monkeypatch.setattr(tensorrt, "available_providers", lambda: built_with)
    monkeypatch.setattr(tensorrt, "open_session", session)
    return asked


def opened(device: str = "cuda:1") -> OnnxNetwork:
    return open_runtime(open_bundle(BUNDLE), runtime="tensorrt-fp16", device=device, trial=True)


def test_the_engine_is_float16_on_the_device_asked_for_and_kept_below_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path))
    asked = pretend(monkeypatch, built_with=ALL, uses=ALL)
    assert opened().name == "tensorrt-fp16"
    (name, options), (second, _), last = asked[0]["providers"]
    assert (name, second, last) == tuple(ALL)
    assert (options["device_id"], options["trt_fp16_enable"], options["trt_engine_cache_enable"]) == (1, True, True)
    assert Path(options["trt_engine_cache_path"]).is_relative_to(tmp_path)
    assert Path(options["trt_engine_cache_path"]).is_dir()


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path / "file"))
    asked = pretend(monkeypatch, built_with=ALL, uses=ALL)
    opened()
    assert "trt_engine_cache_path" not in asked[0]["providers"][0][1]


def test_an_onnxruntime_without_tensorrt_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, built_with=ALL[1:], uses=ALL[1:])
    with pytest.raises(ModelError, match="this onnxruntime has no TensorRT; install onnxruntime-gpu"):
        opened()


def test_a_silent_fall_back_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path))
    pretend(monkeypatch, built_with=ALL, uses=ALL[1:])
    with pytest.raises(ModelError, match="could not use TensorRT, only CUDAExecutionProvider, CPU"):
        opened()


def test_a_cpu_is_refused() -> None:
    with pytest.raises(ModelError, match="'tensorrt-fp16' needs CUDA, got 'cpu'"):
        opened("cpu")


def test_the_onnxruntime_of_this_machine_is_asked() -> None:
    """Unpretended: without TensorRT it is refused, with it a session is tried."""
    if tensorrt.TENSORRT in tensorrt.available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    with pytest.raises(ModelError, match="has no TensorRT"):
        opened()
