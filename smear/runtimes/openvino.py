"""OpenVINO: the same ONNX file, often faster on Intel CPUs; extra `openvino`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import MissingExtra, ModelError
from smear.models import Bundle
from smear.quiet import silence
from smear.runtimes import parse_device
from smear.types import Runtime


@dataclass(frozen=True)
class OpenvinoNetwork:
    """A compiled graph in float32."""

    compiled: Any
    input_type: type

    def __call__(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        if len(batch) == 0:
            return tuple(out[:0] for out in self(np.zeros((1, *batch.shape[1:]), np.float32)))
        results = self.compiled([np.ascontiguousarray(batch, self.input_type)])
        return tuple(np.array(results[i], np.float32) for i in range(len(self.compiled.outputs)))  # copies: its buffers are reused


def open_openvino(bundle: Bundle, *, device: str, threads: int | None, build_module: Callable | None = None) -> Runtime:
    """Compile the bundle's one `.onnx` file from its checked bytes, for the CPU; `build_module` is not used.

    Arithmetic is float32: left alone, OpenVINO takes bfloat16 on CPUs that have it, which moves scores near a threshold.

    Raises:
        ModelError: the graph cannot be loaded or does not take one dynamic batch of images, or the device is not a CPU.
        MissingExtra: openvino is not installed.
    """
    if parse_device(device)[0] == "cuda":
        raise ModelError(f"device: {device!r} is not one of runtime 'openvino'; use 'cpu', or runtime 'onnx' or 'torch'")
    silence()
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtra("runtime 'openvino'", "openvino", "openvino") from error
    name = bundle.file(".onnx")
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        model = core.read_model(bundle.read(name))
        compiled = core.compile_model(model, "CPU", hints)
    except RuntimeError as error:
        raise ModelError(f"{bundle.root / name}: cannot be loaded ({_one_line(error)}); export it again") from error
    if len(model.inputs) != 1 or len(model.inputs[0].partial_shape) != 4:
        raise ModelError(f"{bundle.root / name}: must take one batch of images (B, 3, H, W)")
    if model.inputs[0].partial_shape[0].is_static:
        batch = model.inputs[0].partial_shape[0].get_length()
        raise ModelError(f"{bundle.root / name}: takes batches of {batch} only; export it again with a dynamic batch")
    return OpenvinoNetwork(compiled, np.float16 if model.inputs[0].element_type == openvino.Type.f16 else np.float32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
