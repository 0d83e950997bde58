"""What was measured on: the kind of machine and the versions, never its name."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from smear.errors import ConfigError
from smear.line import n_cores

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "torchvision", "ultralytics", "sahi")
WORTH_NAMING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def describe() -> dict[str, Any]:
    """Cores, kind of processor, instruction sets that networks profit from, memory, GPUs, Python and packages."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "cores": n_cores(),
        "processor": info.get("model name", platform.machine()),
        "instructions": [name for name in WORTH_NAMING if name in flags],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def gpus() -> list[str]:
    """Names of the CUDA devices that torch sees."""
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder for one benchmark: two at once would measure each other, and write to the same places.

    Raises:
        ConfigError: another one runs there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".running").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another benchmark is running there; wait until it has finished") from error
        yield


def busy() -> float:
    """The load of the last minute per core; above about 0.2 before the start, others are working here too."""
    return float(f"{os.getloadavg()[0] / n_cores():.3g}")


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
