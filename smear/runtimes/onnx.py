"""ONNX Runtime: the reference; CPU everywhere, CUDA where its GPU wheel is installed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import MissingExtra, ModelError
from smear.line import n_cores
from smear.models import Bundle
from smear.quiet import silence
from smear.runtimes import parse_device
from smear.types import Pixels, Runtime

_SILENT = 4  # only fatal errors are logged; all others reach the caller as exceptions
CUDA = "CUDAExecutionProvider"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class OnnxNetwork:
    """A loaded ONNX graph; float16 inputs and outputs are converted, so that callers see float32 alone. Sessions are thread-safe."""

    session: Any
    input_name: str
    input_type: type
    name: str
    device: str

    @property
    def takes_pixels(self) -> bool:
        return self.input_type is np.uint8

    def __call__(self, batch: NDArray) -> tuple[NDArray[np.float32], ...]:
        if len(batch) == 0:  # not every graph takes an empty batch, but its output shapes are needed
            return tuple(out[:0] for out in self(np.zeros((1, *batch.shape[1:]), self.input_type)))
        outputs = self.session.run(None, {self.input_name: np.ascontiguousarray(batch, self.input_type)})
        return tuple(np.asarray(out, np.float32) for out in outputs)


def open_onnx(
    bundle: Bundle,
    *,
    device: str,
    threads: int | None,
    lanes: int = 1,
    pixels: Pixels | None = None,
    precision: str = "fp32",
    file: str | None = None,
    build_module: Callable | None = None,
) -> Runtime:
    """Load the bundle's one `.onnx` file, or `file`, from its checked bytes; `build_module` is not used.

    Raises:
        ModelError: the graph cannot be loaded, does not take one dynamic batch of images, or CUDA was asked for in vain.
        MissingExtra: onnxruntime is not installed.
    """
    providers = _providers(device, available_providers())
    network = open_session(
        bundle,
        named="onnx" if precision == "fp32" else f"onnx-{precision}",
        providers=providers,
        threads=threads,
        lanes=lanes,
        pixels=pixels,
        file=file,
    )
    if parse_device(device)[0] == "cuda" and network.device == "cpu":  # it falls back to the CPU in silence
        raise ModelError(f"device: {device!r} could not be used by onnxruntime; check the CUDA driver or use 'cpu'")
    return network


def available_providers() -> list[str]:
    """The execution providers that this onnxruntime was built with, as it names them.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    found: list[str] = _onnxruntime().get_available_providers()
    return found


def open_session(
    bundle: Bundle,
    *,
    named: str,
    providers: Sequence[Any],
    threads: int | None,
    lanes: int,
    pixels: Pixels | None,
    file: str | None,
) -> OnnxNetwork:
    """Load a graph for these providers, as onnxruntime takes them; those that it cannot use it leaves out in silence.

    Raises:
        ModelError: the graph cannot be loaded or does not take one dynamic batch of images.
        MissingExtra: onnxruntime is not installed.
    """
    onnxruntime = _onnxruntime()
    name = file or bundle.file(".onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads or (0 if lanes == 1 else max(1, n_cores() // lanes))  # 0: as many as cores
    data = bundle.read(name)
    try:
        session = onnxruntime.InferenceSession(_taking(data, pixels) if pixels else data, options, providers=list(providers))
    except Exception as error:  # onnxruntime's own classes derive from Exception directly, one for each status code
        raise ModelError(f"{bundle.root / name}: cannot be loaded ({_one_line(error)}); export it again") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
        raise ModelError(f"{bundle.root / name}: must take one batch of images (B, 3, H, W) in float, takes {_described(inputs)}")
    if isinstance(inputs[0].shape[0], int):
        raise ModelError(f"{bundle.root / name}: takes batches of {inputs[0].shape[0]} only; export it again with a dynamic batch")
    on_cuda = CUDA in session.get_providers()
    index = next((options["device_id"] for provider, options in (p for p in providers if isinstance(p, tuple)) if provider == CUDA), 0)
    return OnnxNetwork(session, inputs[0].name, _TYPES[inputs[0].type], named, f"cuda:{index}" if on_cuda else "cpu")


def _onnxruntime() -> Any:
    silence()
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra("runtime 'onnx'", "onnxruntime", "onnx") from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _taking(data: bytes, pixels: Pixels) -> bytes:
    from smear.runtimes.onnx_pixels import take_pixels  # the package onnx: not where floats come in

    return take_pixels(data, pixels)


def _providers(device: str, available: list[str]) -> list[Any]:
    kind, index = parse_device(device)
    cpu, cuda = "CPUExecutionProvider", (CUDA, {"device_id": index})
    if kind == "cuda" and CUDA not in available:
        raise ModelError(f"device: {device!r} needs onnxruntime-gpu, this onnxruntime has no CUDA; use 'cpu' or 'auto'")
    return [cpu] if kind == "cpu" or CUDA not in available else [cuda, cpu]


def _described(inputs: list[Any]) -> str:
    return ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "nothing"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
