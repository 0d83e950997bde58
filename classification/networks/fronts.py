"""What stands before the backbone: colour taken away, casts taken away, noise taken away; it goes into the bundle."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's conversion to grey


class GreyFront(nn.Module):
    """Throws colour away: the mean of the channels, three times."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


class StandardFront(nn.Module):
    """Every channel of every image to mean 0 and deviation 1: gains and offsets of stain and lamp cannot speak."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        centred = x - mean
        deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt()
        return centred / (deviation + 0.05)  # the floor, about 13 grey levels / 255, keeps a blank crop blank


class GreyMedianFront(nn.Module):
    """Grey by brightness, then the median of 3 × 3 pixels, edges repeated; three equal channels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        grey = functional.pad((x * self.luma).sum(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        height, width = x.shape[2], x.shape[3]
        near = torch.cat([grey[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], dim=1)  # (B, 9, S, S)
        return near.sort(dim=1).values[:, 4:5].expand(-1, 3, -1, -1)


FRONTS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "grey": GreyFront,
    "standard": StandardFront,
    "grey_median": GreyMedianFront,
}
