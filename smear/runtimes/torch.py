"""PyTorch, from safetensors or from the weights of the bundle's own ONNX file: for GPUs, and for checking exports."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from smear.compress import stored_weights
from smear.errors import ConfigError, ModelError
from smear.line import n_cores
from smear.models import Bundle
from smear.runtimes import parse_device
from smear.runtimes.torch_graphs import Forward, Recording, Recordings, record
from smear.runtimes.torch_restore import restore
from smear.types import Pixels

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchNetwork:
    """A module in evaluation mode on one device; any number of threads may call it at once.

    Calls at one time have a replica each, which shares the weights (some modules remember shapes), with its own recorded graphs on
    CUDA; when a call is done, its replica waits for the next one, of whatever thread.

    Args:
        module: on the CPU, in float32; its output is a tensor or a sequence whose tensors count. A submodule whose
            attribute `in_float32` is true stays in float32 whatever the precision.
        pixels: batches are (B, H, W, 3) uint8 RGB, and normalised here; None: (B, 3, H, W) float32, normalised.
    """

    def __init__(self, module: Any, device: str, *, precision: str = "fp32", pixels: Pixels | None = None) -> None:
        self.name = "torch" if precision == "fp32" else f"torch-{precision}"
        self.device, self.dtype = device, PRECISIONS[precision]
        self.takes_pixels = self.takes_tensors = pixels is not None
        self._module = module.eval().requires_grad_(False).to(device, self.dtype, memory_format=torch.channels_last)
        for part in self._module.modules():
            if getattr(part, "in_float32", False):
                part.float()
        mean, std = (pixels.mean, pixels.std) if pixels else ((0.0,) * 3, (1.0,) * 3)
        self._mean, self._std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
        self._idle: list[Forward] = []  # replicas that nobody calls now; nothing is under way in them
        if device != "cpu":
            torch.cuda.synchronize(device)  # the weights are there before a stream of another thread uses them

    def __call__(self, batch: NDArray | torch.Tensor) -> tuple[NDArray[np.float32], ...]:
        """float32 outputs, on the host; a batch that is a tensor on this device already is used where it is."""
        if len(batch) == 0:
            shape, blank = tuple(batch.shape[1:]), np.uint8 if self.takes_pixels else np.float32
            return tuple(out[:0] for out in self(np.zeros((1, *shape), blank)))
        use_own_stream(self.device)
        run = self._take()
        with torch.inference_mode():
            found = _to_host([out.float() for out in run(self._upload(batch))])
        self._idle.append(run)  # not after an exception: who knows what is still under way
        return found

    def _take(self) -> Forward:
        try:
            return self._idle.pop()  # atomic, the one used last: its recordings are the freshest
        except IndexError:
            return self._own() if self.device == "cpu" else Recordings(self._own(), self._record)

    def _own(self) -> Forward:
        return partial(self._forward, _replica(self._module))

    def _record(self, example: torch.Tensor) -> Recording:
        return record(self._own(), example, torch.cuda.current_stream(example.device))

    def _forward(self, module: Any, images: torch.Tensor) -> list[torch.Tensor]:
        if self.takes_pixels:
            images = (images.permute(0, 3, 1, 2).float() - self._mean) / self._std
        outputs = module(images.to(self.dtype, memory_format=torch.channels_last))
        flat = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        return [out for out in flat if isinstance(out, torch.Tensor)]

    def _upload(self, batch: NDArray | torch.Tensor) -> torch.Tensor:
        tensor = batch if isinstance(batch, torch.Tensor) else as_tensor(batch, np.uint8 if self.takes_pixels else np.float32)
        return upload(tensor, self.device)


def open_torch(
    bundle: Bundle,
    *,
    device: str,
    threads: int | None,
    build_module: Callable | None = None,
    lanes: int = 1,
    pixels: Pixels | None = None,
    precision: str = "fp32",
    file: str | None = None,
) -> TorchNetwork:
    """Build the module of the card and give it the weights of the bundle's `.safetensors` file, or else of its `.onnx` file.

    `threads` is torch's own process-wide setting, for each calling thread; None shares the cores among the lanes. In "fp32" on CUDA the
    arithmetic is IEEE float32 (no TF32), which is process-wide as well.

    Raises:
        ModelError: no `build_module`, weights that do not fit the module, or a device that is not there or has no such precision.
    """
    del file  # no variant of torch has weights of its own
    if build_module is None:
        raise ModelError(f"{bundle.root}: runtime 'torch' needs the architecture {bundle.card.architecture!r} in code; use runtime 'onnx'")
    target = find_device(device)
    if precision == "fp16" and target == "cpu":
        raise ModelError(f"device: runtime 'torch-fp16' needs CUDA, got {device!r}; use 'torch-bf16' on a CPU")
    if threads is not None or lanes > 1:
        torch.set_num_threads(threads or max(1, n_cores() // lanes))
    if precision == "fp32" and target != "cpu":
        torch.backends.cudnn.allow_tf32 = False  # 10 bits of mantissa move scores near a threshold
    return TorchNetwork(open_module(bundle, build_module), target, precision=precision, pixels=pixels)


def open_module(bundle: Bundle, build_module: Callable) -> Any:
    """The module of the card with the weights of the bundle's `.safetensors` file, or else of its `.onnx` file; on the CPU, in float32.

    Raises:
        ModelError: the weights do not fit the module, or the card names one that does not exist.
    """
    suffix = ".safetensors" if any(name.endswith(".safetensors") for name in bundle.card.files) else ".onnx"
    name = bundle.file(suffix)
    data = bundle.read(name)
    try:
        module = build_module(bundle.card)
        if suffix == ".onnx":
            restore(module, stored_weights(data))
        else:
            module.load_state_dict(safetensors.torch.load(data), strict=True)
    except (RuntimeError, safetensors.SafetensorError, ConfigError, ModelError) as error:
        said = " ".join(str(error).split())[:160]
        architecture = bundle.card.architecture
        raise ModelError(f"{bundle.root / name}: does not fit {architecture!r} ({said}); export it again or use runtime 'onnx'") from error
    return module.float()


def find_device(device: str) -> str:
    """torch's name of a device as users write it.

    Raises:
        ModelError: torch sees no such device.
    """
    kind, index = parse_device(device)
    found = torch.cuda.device_count()
    if kind == "cuda" and index >= found:
        raise ModelError(f"device: {device!r} is not there, torch sees {found} CUDA devices; use 'cpu' or 'auto'")
    return "cpu" if kind == "cpu" or not found else f"cuda:{index}"


def use_own_stream(device: str) -> None:
    """From now on this thread's CUDA work has a queue of its own, unless it has one already; nothing on a CPU.

    All that a thread asks of torch, here or elsewhere, then runs in one order, beside what other threads ask.
    """
    if device == "cpu" or torch.cuda.current_stream(device) != torch.cuda.default_stream(device):
        return
    own = torch.cuda.Stream(device)
    own.wait_stream(torch.cuda.default_stream(device))
    torch.cuda.set_stream(own)


def as_tensor(array: NDArray, dtype: type) -> torch.Tensor:
    """The array as a tensor on the host; shared memory where it is writable and contiguous already."""
    ready: NDArray = np.ascontiguousarray(array, dtype)
    return torch.from_numpy(ready if ready.flags.writeable else ready.copy())


def upload(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on the device: by way of pinned memory, without waiting; as it is where it is there already."""
    if device == "cpu" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # torch reuses pinned blocks, and only after the copy is done


def _to_host(outputs: Sequence[torch.Tensor]) -> tuple[NDArray[np.float32], ...]:
    """One copy each, then one wait for all; on a CPU a copy only where the memory is not the caller's own."""
    if not outputs[0].is_cuda:
        return tuple(out.numpy() for out in outputs)
    host = [torch.empty(out.shape, dtype=out.dtype, pin_memory=True) for out in outputs]
    for there, here in zip(host, outputs, strict=True):
        there.copy_(here, non_blocking=True)
    torch.cuda.current_stream(outputs[0].device).synchronize()
    return tuple(there.numpy() for there in host)


def _replica(module: Any) -> Any:
    """A module that shares the tensors of another and nothing else."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)
