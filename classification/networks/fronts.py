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
        return _median_of_nine(grey).expand(-1, 3, -1, -1)


def _median_of_nine(x: Tensor) -> Tensor:
    """(B, 1, H + 2, W + 2) → (B, 1, H, W): the median around each inner pixel, by comparisons alone; a sort takes nine times as long.

    Of three sorted columns it is the median of the highest low, the median middle and the lowest high.
    """
    above, here, below = x[:, :, :-2], x[:, :, 1:-1], x[:, :, 2:]
    low = torch.minimum(torch.minimum(above, here), below)
    middle = _median_of_three(above, here, below)
    high = torch.maximum(torch.maximum(above, here), below)
    lows, middles, highs = ((rows[..., :-2], rows[..., 1:-1], rows[..., 2:]) for rows in (low, middle, high))
    highest_low = torch.maximum(torch.maximum(lows[0], lows[1]), lows[2])
    lowest_high = torch.minimum(torch.minimum(highs[0], highs[1]), highs[2])
    return _median_of_three(highest_low, _median_of_three(*middles), lowest_high)


def _median_of_three(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


FRONTS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "grey": GreyFront,
    "standard": StandardFront,
    "grey_median": GreyMedianFront,
}
