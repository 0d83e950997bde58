"""What this machine is, as far as speed depends on it; nothing heavy is imported and nothing is started to find out."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smear.line import MAX_CPU_LANES, n_cores
from smear.runtimes import parse_device

GPU_LANES = 2  # one batch is prepared while the other is on the device
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt", "numpy")
_CPU_KEYS = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU")


def lanes_for(device: str, *, threads: int | None) -> int:
    """How many threads call the networks at once: on a CPU as many as have `threads` cores each, up to `MAX_CPU_LANES`."""
    if parse_device(device)[0] != "cpu" and has_gpu():
        return GPU_LANES
    return max(1, min(n_cores() // (threads or 1), MAX_CPU_LANES))


def has_gpu() -> bool:
    """Whether the driver of CUDA devices is here."""
    windows = Path(os.environ.get("SYSTEMROOT", "/nonexistent"), "System32", "nvcuda.dll")
    return any(path.exists() for path in (Path("/dev/nvidiactl"), Path("/dev/dxg"), windows))


def describe() -> dict[str, Any]:
    """Cores, processor, GPUs and the versions of what computes, as plain JSON values."""
    return {
        "machine": [platform.system(), platform.machine(), n_cores()],
        "cpu": describe_cpu(),
        "gpus": _gpus(),
        "versions": {name: found for name in DISTRIBUTIONS if (found := _version(name))},
    }


def describe_cpu() -> list[str]:
    """The model and the instruction sets of the first processor, where the system tells them in a file; else its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return [platform.processor()]
    return [line for line in lines if line.startswith(_CPU_KEYS)]


def _gpus() -> list[str]:
    """The model of each GPU by its driver; empty where there is none or it does not say."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [line.partition(":")[2].strip() for path in found for line in path.read_text().splitlines() if line.startswith("Model")]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
