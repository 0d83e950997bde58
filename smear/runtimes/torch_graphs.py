"""CUDA graphs: a network recorded once for a shape and replayed, so that hundreds of small kernels cost one launch."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

MAX_GRAPHS = 6  # shapes remembered by each lane; each holds the activations of its shape on the device
SEEN_BEFORE = 2  # a shape is recorded when it comes so often: one that comes once would cost more than it gains
WARM_UPS = 3  # plain runs before a recording, in which the libraries choose their kernels and allocate workspaces
_RECORDING = threading.Lock()  # one recording at a time in a process

Shape = tuple[tuple[int, ...], torch.dtype]
Forward = Callable[[torch.Tensor], Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Recording:
    """A network with fixed buffers: what is copied into `images` is answered in `outputs` after `replay`.

    `keeps` is the network that was recorded: tensors that it made for this shape are read at every replay.
    """

    images: torch.Tensor
    outputs: tuple[torch.Tensor, ...]
    replay: Callable[[], Any]
    keeps: Any = None


def record(forward: Forward, example: torch.Tensor, stream: Any) -> Recording:
    """Record `forward`, which nobody else calls, for inputs of the shape and type of `example`, on its CUDA device.

    Raises:
        RuntimeError: the network does something that a graph cannot hold, such as a copy to the host.
    """
    images = torch.empty_like(example, memory_format=torch.contiguous_format)
    images.copy_(example)
    with _RECORDING:
        for _ in range(WARM_UPS):
            forward(images)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):  # other lanes go on meanwhile
            outputs = tuple(forward(images))
    return Recording(images, outputs, graph.replay, keeps=forward)


class Recordings:
    """The recordings of one lane, by shape; the one not used for longest leaves when there are more than `most`.

    Args:
        make: records a network for an example; a RuntimeError of it means that this network runs unrecorded from then on.
    """

    def __init__(self, forward: Forward, make: Callable[[torch.Tensor], Recording], *, most: int = MAX_GRAPHS) -> None:
        self._forward, self._make, self._most = forward, make, most
        self._kept: OrderedDict[Shape, Recording] = OrderedDict()
        self._seen: OrderedDict[Shape, int] = OrderedDict()
        self.refused: str | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the network says; the tensors hold until the next call, so copy what is to be kept."""
        batch = _padded(images)
        recording = self._recording(batch)
        if recording is None:
            return tuple(self._forward(images))
        recording.images.copy_(batch, non_blocking=True)
        recording.replay()
        return tuple(out[: len(images)] for out in recording.outputs)

    def _recording(self, batch: torch.Tensor) -> Recording | None:
        shape = (tuple(batch.shape), batch.dtype)
        if shape in self._kept:
            self._kept.move_to_end(shape)
            return self._kept[shape]
        self._seen[shape] = self._seen.pop(shape, 0) + 1
        while len(self._seen) > 4 * self._most:
            self._seen.popitem(last=False)
        if self.refused is not None or self._seen[shape] < SEEN_BEFORE:
            return None
        try:
            self._kept[shape] = self._make(batch)
        except RuntimeError as error:
            self.refused = " ".join(str(error).split())[:160]
            return None
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[shape]


def padded_length(n: int) -> int:
    """The batch that n images are padded to, so that few shapes are recorded: a power of two, above 64 a multiple of 64."""
    return 1 << (n - 1).bit_length() if n <= 64 else -(-n // 64) * 64


def _padded(images: torch.Tensor) -> torch.Tensor:
    n = padded_length(len(images))
    return images if n == len(images) else torch.cat([images, images[:1].expand(n - len(images), *images.shape[1:])])
