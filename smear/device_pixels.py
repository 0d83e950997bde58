"""Fields resized and cut on the device that the networks run on: a field is uploaded once, and only small things come back."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from smear.crops import Cut, crop, plan_cut
from smear.device_resample import resample
from smear.models import CropContract
from smear.runtimes.torch import as_tensor, upload, use_own_stream
from smear.types import Image

MAX_CROP_PIXELS = 2**26  # of the field gathered at once, 0.8 GB as float32; many large cells are cut in several goes


class DeviceOptics:
    """An `Optics` whose pictures are uint8 tensors on one torch device; the calling thread's CUDA stream orders the work.

    Args:
        device: as torch names it, "cuda:0" or "cpu".
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def place(self, image: Image) -> torch.Tensor:
        """(H, W, 3) on the device; through pinned memory, and without waiting, where that is another than the host."""
        use_own_stream(self.device)
        return upload(as_tensor(image, np.uint8), self.device)

    def fetch(self, picture: torch.Tensor) -> Image:
        return np.asarray(picture.cpu().numpy(), np.uint8)

    def resize(self, picture: torch.Tensor, factor: float) -> torch.Tensor:
        use_own_stream(self.device)
        height, width = (max(1, round(length * factor)) for length in picture.shape[:2])
        return resample(picture, (height, width))

    def cut(
        self, picture: torch.Tensor, corners: NDArray[np.float32], contract: CropContract, *, rbc_px: float, out_px: int
    ) -> tuple[list[torch.Tensor], list[tuple[str, ...]]]:
        """As `smear.crops.crop`; backgrounds that are not kept need the cell's outline, which is found on the host."""
        use_own_stream(self.device)
        if contract.background != "kept" and len(corners):
            image = self.fetch(picture)
            made = [crop(image, box, contract, rbc_px=rbc_px, out_px=out_px) for box in corners]
            return [upload(as_tensor(view, np.uint8), self.device) for view, _ in made], [notes for _, notes in made]
        cuts = [plan_cut((picture.shape[0], picture.shape[1]), box, contract, rbc_px=rbc_px) for box in corners]
        views: list[torch.Tensor] = [picture] * len(cuts)  # every place is filled below
        for size in sorted({cut.size for cut in cuts}):  # cells of one field are cut alike, unless by their boxes
            rows = [i for i, cut in enumerate(cuts) if cut.size == size]
            most = max(1, MAX_CROP_PIXELS // size**2)
            for some in (rows[start : start + most] for start in range(0, len(rows), most)):
                together = resample(_gather(picture, [cuts[i] for i in some]), (out_px, out_px))
                for i, view in zip(some, together, strict=True):
                    views[i] = view
        return views, [cut.warnings for cut in cuts]

    def stack(self, crops: Sequence[torch.Tensor]) -> torch.Tensor:
        use_own_stream(self.device)
        return torch.stack(tuple(crops))


def _gather(picture: torch.Tensor, cuts: Sequence[Cut]) -> torch.Tensor:
    """(N, S, S, 3) of squares of one size; beyond the field its edge is repeated."""
    height, width = picture.shape[:2]
    along = np.arange(cuts[0].size)
    rows = np.clip(np.array([[cut.top] for cut in cuts]) + along, 0, height - 1)  # (N, S)
    columns = np.clip(np.array([[cut.left] for cut in cuts]) + along, 0, width - 1)
    y, x = (torch.from_numpy(index).to(picture.device, non_blocking=True) for index in (rows, columns))
    return picture[y[:, :, None], x[:, None, :]]
