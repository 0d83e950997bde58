"""Where a network runs, by name: one table, each runtime imported when it is asked for."""

import importlib
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from smear.errors import ModelError
from smear.models import Bundle, ModelCard
from smear.types import Runtime

RUNTIMES = {  # name → "module:function" of open(bundle, *, device, threads, build_module) -> Runtime
    "onnx": "smear.runtimes.onnx:open_onnx",
    "openvino": "smear.runtimes.openvino:open_openvino",
    "torch": "smear.runtimes.torch:open_torch",
}


def open_runtime(
    bundle: Bundle,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    build_module: Callable[[ModelCard], Any] | None = None,
) -> Runtime:
    """Load the network of a bundle: (B, 3, H, W) float32 in, float32 arrays out; B may be 0.

    Args:
        bundle: as `open_bundle` returns it; its files are hashed again when they are loaded.
        runtime: a name of `RUNTIMES`, or "auto": the first of onnx, openvino that is installed.
        device: "auto" (an accelerator if this runtime has one), "cpu", "cuda", "cuda:1" or a bare index.
        threads: CPU threads for one batch; None leaves it to the runtime.
        build_module: torch only: makes the `torch.nn.Module` that the safetensors weights of the card fit into.

    Raises:
        ModelError: the runtime or device is unknown or not there, or the network cannot be loaded.
        MissingExtra: the runtime's package is not installed.
    """
    name = _installed() if runtime == "auto" else runtime
    if name not in RUNTIMES:
        raise ModelError(f"runtime: must be 'auto' or one of {', '.join(map(repr, RUNTIMES))}, got {runtime!r}")
    if threads is not None and threads < 1:
        raise ModelError(f"threads: must be at least 1, got {threads}")
    module, _, function = RUNTIMES[name].partition(":")
    open_it = getattr(importlib.import_module(module), function)
    opened: Runtime = open_it(bundle, device=device, threads=threads, build_module=build_module)
    return opened


def parse_device(device: str) -> tuple[str, int]:
    """("auto" | "cpu" | "cuda", index) of a device name as users write it.

    Raises:
        ModelError: anything else.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)|(?:cuda:)?(\d{1,3})", str(device))
    if not match:
        raise ModelError(f"device: must be 'auto', 'cpu', 'cuda', 'cuda:1' or an index, got {device!r}")
    return match[1] or "cuda", int(match[2] or 0)


def _installed() -> str:
    return next((name for name, package in (("onnx", "onnxruntime"), ("openvino", "openvino")) if find_spec(package)), "onnx")
