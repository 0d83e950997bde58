"""PyTorch from safetensors weights: for checking exports, and for GPUs without onnxruntime-gpu."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.errors import ModelError
from smear.models import Bundle
from smear.runtimes import parse_device
from smear.types import Runtime


@dataclass(frozen=True)
class TorchNetwork:
    """A module in evaluation mode on one device; its output is a tensor or a flat sequence of tensors."""

    module: Any
    device: str

    def __call__(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        import torch

        if len(batch) == 0:
            return tuple(out[:0] for out in self(np.zeros((1, *batch.shape[1:]), np.float32)))
        with torch.inference_mode():
            images = torch.from_numpy(np.array(batch, np.float32)).to(self.device)
            outputs = self.module(images)
        flat = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        return tuple(out.float().cpu().numpy() for out in flat if isinstance(out, torch.Tensor))


def open_torch(bundle: Bundle, *, device: str, threads: int | None, build_module: Callable | None = None) -> Runtime:
    """Build the module of the card and load the bundle's one `.safetensors` file into it; float16 weights become float32.

    `threads` is torch's own process-wide setting; None leaves it alone.

    Raises:
        ModelError: no `build_module`, weights that do not fit the module key by key, or a device that is not there.
    """
    if build_module is None:
        raise ModelError(f"{bundle.root}: runtime 'torch' needs the architecture {bundle.card.architecture!r} in code; use runtime 'onnx'")
    import safetensors.torch
    import torch

    kind, index = parse_device(device)
    found = torch.cuda.device_count()
    if kind == "cuda" and index >= found:
        raise ModelError(f"device: {device!r} is not there, torch sees {found} CUDA devices; use 'cpu' or 'auto'")
    target = "cpu" if kind == "cpu" or not found else f"cuda:{index}"
    if threads is not None:
        torch.set_num_threads(threads)
    name = bundle.file(".safetensors")
    module = build_module(bundle.card)
    try:
        module.load_state_dict(safetensors.torch.load(bundle.read(name)), strict=True)
    except (RuntimeError, safetensors.SafetensorError) as error:
        said = " ".join(str(error).split())[:160]
        raise ModelError(f"{bundle.root / name}: does not fit {bundle.card.architecture!r} ({said}); export it again") from error
    return TorchNetwork(module.float().eval().to(target), target)
