"""Where a network runs, by name: one table, each runtime imported when asked for; other precisions only where they passed the gate."""

import importlib
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from smear.errors import ModelError
from smear.models import Bundle, ModelCard
from smear.types import Pixels, Runtime

RUNTIMES = {  # float32, always allowed: name → "module:function" of an opener (see `open_runtime`)
    "onnx": "smear.runtimes.onnx:open_onnx",
    "openvino": "smear.runtimes.openvino:open_openvino",
    "torch": "smear.runtimes.torch:open_torch",
}
VARIANTS = {  # allowed where the card has an accepted entry of that name: name → (opener, precision)
    "openvino-bf16": ("smear.runtimes.openvino:open_openvino", "bf16"),
    "openvino-int8": ("smear.runtimes.openvino:open_openvino", "int8"),
    "onnx-int8": ("smear.runtimes.onnx:open_onnx", "int8"),
    "torch-bf16": ("smear.runtimes.torch:open_torch", "bf16"),
    "torch-fp16": ("smear.runtimes.torch:open_torch", "fp16"),
    "tensorrt-fp16": ("smear.runtimes.tensorrt:open_tensorrt", "fp16"),
}
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch", "tensorrt": "tensorrt"}  # by the name up to its dash


def open_runtime(
    bundle: Bundle,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    lanes: int = 1,
    pixels: Pixels | None = None,
    build_module: Callable[[ModelCard], Any] | None = None,
    trial: bool = False,
) -> Runtime:
    """Load the network of a bundle: a batch in, float32 arrays out; B may be 0.

    An opener takes what this function takes, with `precision` ("fp32", "bf16", "fp16", "int8") for the name and `file`: the weights
    to run, or None for the bundle's one file of its format.

    Args:
        bundle: as `open_bundle` returns it; its files are hashed again when they are loaded.
        runtime: a name of `RUNTIMES` or `VARIANTS`, or "auto": the first of onnx, openvino that is installed (`smear.tuning` measures).
        device: "auto" (an accelerator if this runtime has one), "cpu", "cuda", "cuda:1" or a bare index.
        threads: CPU threads for one batch; None shares the cores among the lanes.
        lanes: how many threads will call it at once.
        pixels: take (B, H, W, 3) uint8 RGB and apply this; None takes (B, 3, H, W) float32 as the network does.
        build_module: torch only: makes the `torch.nn.Module` that the weights fit into.
        trial: open a variant that has not passed the parity gate: what the gate itself does.

    Raises:
        ModelError: the runtime or device is unknown or not there, the variant has not passed the gate, or the network cannot be loaded.
        MissingExtra: the runtime's package is not installed.
    """
    name = _installed() if runtime == "auto" else runtime
    if name not in RUNTIMES and name not in VARIANTS:
        raise ModelError(f"runtime: must be 'auto' or one of {', '.join(map(repr, (*RUNTIMES, *VARIANTS)))}, got {runtime!r}")
    if name in VARIANTS and not trial and not is_allowed(bundle.card, name):
        raise ModelError(
            f"runtime {name!r}: has not passed the parity gate on this bundle; run: "
            f"python -m smear export {bundle.root} --runtime {name.split('-')[0]} --{name.split('-')[1]} --calibrate DATA"
        )
    for what, number in (("threads", threads), ("lanes", lanes)):
        if number is not None and number < 1:
            raise ModelError(f"{what}: must be at least 1, got {number}")
    where, precision = VARIANTS.get(name) or (RUNTIMES[name], "fp32")
    variant = bundle.card.variants.get(name) if name in VARIANTS else None
    module, _, function = where.partition(":")
    open_it = getattr(importlib.import_module(module), function)
    opened: Runtime = open_it(
        bundle,
        device=device,
        threads=threads,
        lanes=lanes,
        pixels=pixels,
        precision=precision,
        file=variant.file if variant else None,
        build_module=build_module,
    )
    return opened


def is_allowed(card: ModelCard, name: str) -> bool:
    """Whether a bundle may be run by the runtime of that name: float32 always, a variant once the gate has accepted it."""
    return name in RUNTIMES or (name in VARIANTS and name in card.variants and card.variants[name].accepted)


def float32_beside(name: str) -> str:
    """The float32 runtime that goes with a variant, on the same device: its own, or torch where it has none."""
    own = name.split("-")[0]
    return own if own in RUNTIMES else "torch"


def is_installed(name: str) -> bool:
    """Whether the package of a runtime is here; nothing is imported."""
    return find_spec(PACKAGES[name.split("-")[0]]) is not None


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
    return next((name for name in ("onnx", "openvino") if is_installed(name)), "onnx")
