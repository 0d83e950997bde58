"""OpenVINO: the same ONNX file, often faster on CPUs, in float32, bfloat16 or int8; extra `openvino`."""

import threading
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import MissingExtra, ModelError
from smear.machine import describe_cpu
from smear.models import Bundle
from smear.quiet import silence
from smear.runtimes import parse_device
from smear.runtimes.compiled import keep, place, recall
from smear.types import Pixels, Runtime

# Left alone, OpenVINO takes bfloat16 on CPUs that have it, which moves scores near a threshold; int8 graphs keep float32 between.
_PRECISIONS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}


class OpenvinoNetwork:
    """A compiled graph. Each calling thread has a request of its own, so as many may call at once as it has streams."""

    device = "cpu"

    def __init__(self, compiled: Any, name: str, *, input_type: type, takes_pixels: bool) -> None:
        self.name, self.takes_pixels = name, takes_pixels
        self._compiled, self._input_type, self._n_outputs = compiled, input_type, len(compiled.outputs)
        self._mine = threading.local()

    def __call__(self, batch: NDArray) -> tuple[NDArray[np.float32], ...]:
        if len(batch) == 0:
            return tuple(out[:0] for out in self(np.zeros((1, *batch.shape[1:]), self._input_type)))
        if not hasattr(self._mine, "request"):
            self._mine.request = self._compiled.create_infer_request()
        results = self._mine.request.infer([np.ascontiguousarray(batch, self._input_type)], share_inputs=True, share_outputs=True)
        return tuple(np.array(results[i], np.float32) for i in range(self._n_outputs))  # copies: its buffers are used again


def open_openvino(
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
    """Compile the bundle's one `.onnx` file, or `file`, from its checked bytes, for the CPU; `build_module` is not used.

    Raises:
        ModelError: the graph cannot be loaded or does not take one dynamic batch of images, or the device is not a CPU, or the CPU
            does not compute in that precision.
        MissingExtra: openvino is not installed.
    """
    if parse_device(device)[0] == "cuda":
        raise ModelError(f"device: {device!r} is not one of runtime 'openvino'; use 'cpu', or runtime 'onnx' or 'torch'")
    silence()
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtra("runtime 'openvino'", "openvino", "openvino") from error
    named = "openvino" if precision == "fp32" else f"openvino-{precision}"
    core = _core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ModelError(f"runtime {named!r}: this CPU does not compute in bfloat16; use runtime 'openvino'")
    name = file or bundle.file(".onnx")
    data = bundle.read(name)  # hashed again, whether or not it was compiled before
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "NUM_STREAMS": lanes}
    hints["ENABLE_CPU_PINNING"] = False  # readers share these cores, and two processes would pin themselves to the same ones
    hints |= {"INFERENCE_NUM_THREADS": threads * lanes} if threads else {}
    kept = place("openvino", _parts(bundle.card.files[name], hints, pixels, core))
    try:
        compiled = _recalled(core, kept, hints) or _compiled(core, data, hints, pixels, f"{bundle.root / name}", kept)
    except RuntimeError as error:
        raise ModelError(f"{bundle.root / name}: cannot be loaded ({_one_line(error)}); export it again") from error
    types = {openvino.Type.u8: np.uint8, openvino.Type.f16: np.float16}
    input_type = types.get(compiled.inputs[0].element_type, np.float32)
    return OpenvinoNetwork(compiled, named, input_type=input_type, takes_pixels=pixels is not None)


@cache
def _core() -> Any:
    """The one Core of this process, which is never dropped.

    Each Core gives its thread a stack for signal handlers and takes it away again; of two that are not dropped in the reverse order, the
    thread keeps a stack that is gone, and the next signal that Python handles (Ctrl-C, a child that ends) kills the process.
    Its side of numpy is prepared by the first array it gets, under a lock that knows nothing of Python's: two threads that bring the first
    ones at once would wait for each other for ever. So it gets one here.
    """
    import openvino

    openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
    return openvino.Core()


def _parts(digest: str, hints: Mapping[str, Any], pixels: Pixels | None, core: Any) -> dict[str, Any]:
    """All that a compiled network depends on, as plain JSON values."""
    import openvino

    cpu = [str(core.get_property("CPU", "FULL_DEVICE_NAME")), sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))]
    taken = [pixels.mean, pixels.std] if pixels else None
    return {"file": digest, "hints": dict(hints), "pixels": taken, "cpu": [*cpu, *describe_cpu()], "version": openvino.get_version()}


def _recalled(core: Any, kept: Path, hints: Mapping[str, Any]) -> Any | None:
    """The network as it was compiled before; None when it was not, or OpenVINO no longer takes it."""
    blob = recall(kept)
    if blob is None:
        return None
    try:
        return core.import_model(BytesIO(blob), "CPU", dict(hints))
    except RuntimeError:
        return None


def _compiled(core: Any, data: bytes, hints: Mapping[str, Any], pixels: Pixels | None, where: str, kept: Path) -> Any:
    model = core.read_model(data)
    _check_input(model, where)
    compiled = core.compile_model(_taking(model, pixels) if pixels else model, "CPU", dict(hints))
    keep(kept, compiled.export_model().getvalue())
    return compiled


def _check_input(model: Any, where: str) -> None:
    """Refuse a model whose one input is not a batch of images of any number."""
    if len(model.inputs) != 1 or len(model.inputs[0].partial_shape) != 4:
        raise ModelError(f"{where}: must take one batch of images (B, 3, H, W)")
    if model.inputs[0].partial_shape[0].is_static:
        batch = model.inputs[0].partial_shape[0].get_length()
        raise ModelError(f"{where}: takes batches of {batch} only; export it again with a dynamic batch")


def _taking(model: Any, pixels: Pixels) -> Any:
    """The model with (B, H, W, 3) uint8 RGB as its input, (x - mean) / std inside it."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    wanted = model.inputs[0].element_type
    with_pixels = PrePostProcessor(model)
    image = with_pixels.input()
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NCHW"))
    steps = image.preprocess().convert_element_type(openvino.Type.f32)
    steps = steps.mean(list(pixels.mean)) if any(pixels.mean) else steps
    steps.scale(list(pixels.std)).convert_element_type(wanted)
    return with_pixels.build()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
