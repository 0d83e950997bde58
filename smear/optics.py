"""Where the pixels of a field are resized and cut for the networks: on the host, or on the device that the networks run on."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smear.images import crop, resize
from smear.models import CropContract
from smear.types import Image, Runtime

__all__ = ["HostOptics", "Optics", "Picture", "optics_for"]

Picture = Any  # a uint8 (H, W, 3) array of whatever kind an Optics works on; it has a shape and can be cut by slices


class Optics(Protocol):
    """Makes pictures of images and views of pictures; detectors and classifiers of the same device take them as they are.

    Whatever the kind, a picture is within one grey level of what `HostOptics` gives.
    """

    def place(self, image: Image) -> Picture:
        """The image where this optics works; not to be changed afterwards."""
        ...

    def fetch(self, picture: Picture) -> Image:
        """A picture as an image on the host."""
        ...

    def resize(self, picture: Picture, factor: float) -> Picture:
        """As `smear.images.resize`."""
        ...

    def cut(
        self, picture: Picture, corners: NDArray[np.float32], contract: CropContract, *, rbc_px: float, out_px: int
    ) -> tuple[list[Picture], list[tuple[str, ...]]]:
        """`smear.images.crop` of each of the (N, 4) boxes, and its warnings; N may be 0."""
        ...

    def stack(self, crops: Sequence[Picture]) -> Picture:
        """N ≥ 1 crops of one size as one (N, S, S, 3) array of the same kind."""
        ...


class HostOptics:
    """numpy and OpenCV; a picture is the image itself."""

    def place(self, image: Image) -> Image:
        return image

    def fetch(self, picture: Image) -> Image:
        return picture

    def resize(self, picture: Image, factor: float) -> Image:
        return resize(picture, factor)

    def cut(
        self, picture: Image, corners: NDArray[np.float32], contract: CropContract, *, rbc_px: float, out_px: int
    ) -> tuple[list[Image], list[tuple[str, ...]]]:
        made = [crop(picture, box, contract, rbc_px=rbc_px, out_px=out_px) for box in corners]
        return [view for view, _ in made], [notes for _, notes in made]

    def stack(self, crops: Sequence[Image]) -> Image:
        return np.stack(crops)


def optics_for(networks: Iterable[Runtime]) -> Optics:
    """That of the CUDA device on which all these networks take tensors of pixels; where they do not, the host's.

    On a CPU the host's is the faster one, whatever the runtime.
    """
    devices = {network.device if getattr(network, "takes_tensors", False) else "cpu" for network in networks}
    if len(devices) != 1 or devices == {"cpu"}:
        return HostOptics()
    from smear.device_pixels import DeviceOptics  # torch, only where it runs the networks

    return DeviceOptics(devices.pop())
