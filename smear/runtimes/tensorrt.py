"""TensorRT in float16, by way of ONNX Runtime's provider: the bundle's own ONNX file becomes an engine, kept in the cache folder.

An engine is made for the shapes it meets, which takes minutes the first time; shapes are few, because windows and batches are.
"""

from collections.abc import Callable
from typing import Any

from smear.errors import ModelError
from smear.models import Bundle
from smear.quiet import cache_root
from smear.runtimes import parse_device
from smear.runtimes.onnx import CUDA, available_providers, open_session
from smear.types import Pixels, Runtime

TENSORRT = "TensorrtExecutionProvider"


def open_tensorrt(
    bundle: Bundle,
    *,
    device: str,
    threads: int | None,
    lanes: int = 1,
    pixels: Pixels | None = None,
    precision: str = "fp16",
    file: str | None = None,
    build_module: Callable | None = None,
) -> Runtime:
    """Load the bundle's one `.onnx` file, or `file`, for TensorRT; what TensorRT cannot run, CUDA runs. `build_module` is not used.

    Raises:
        ModelError: the device is a CPU, this onnxruntime has no TensorRT or cannot use it, or the graph cannot be loaded.
        MissingExtra: onnxruntime is not installed.
    """
    kind, index = parse_device(device)
    if kind == "cpu":
        raise ModelError(f"device: runtime 'tensorrt-{precision}' needs CUDA, got {device!r}")
    if TENSORRT not in available_providers():
        raise ModelError(
            f"runtime 'tensorrt-{precision}': this onnxruntime has no TensorRT; "
            "install onnxruntime-gpu in place of onnxruntime, and the package tensorrt"
        )
    name = file or bundle.file(".onnx")
    providers = [(TENSORRT, _options(bundle, name, index, precision)), (CUDA, {"device_id": index}), "CPUExecutionProvider"]
    network = open_session(
        bundle, named=f"tensorrt-{precision}", providers=providers, threads=threads, lanes=lanes, pixels=pixels, file=name
    )
    used = network.session.get_providers()
    if TENSORRT not in used:  # its libraries are loaded only now, and without them onnxruntime goes on in silence
        raise ModelError(f"runtime 'tensorrt-{precision}': onnxruntime could not use TensorRT, only {', '.join(used)}; check its libraries")
    return network


def _options(bundle: Bundle, name: str, index: int, precision: str) -> dict[str, Any]:
    """Engines of one file in one precision share a folder; where it cannot be written, they are made anew each time."""
    options: dict[str, Any] = {"device_id": index, "trt_fp16_enable": precision == "fp16"}
    folder = cache_root() / "tensorrt" / f"{bundle.card.files[name][:16]}-{precision}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return options
    return {**options, "trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder), "trt_timing_cache_enable": True}
