"""OpenCV's area and cubic resizing as sums of shifted pictures, for torch tensors on any device."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

SMALLEST_SHARE = 1e-3  # OpenCV leaves out pixels that an output pixel covers less of
CUBIC = -0.75  # OpenCV's parameter of bicubic interpolation


@dataclass(frozen=True)
class Taps:
    """Output i along one axis is the sum over k of weight[k, i] × input[index[k, i]], times `after`."""

    index: torch.Tensor  # (K, n_out) int64
    weight: torch.Tensor  # (K, n_out) float32
    after: float = 1.0


def resample(pixels: torch.Tensor, shape_hw: tuple[int, int]) -> torch.Tensor:
    """(…, H, W, C) uint8 → (…, h, w, C) uint8: areas are averaged when shrinking, bicubic when growing.

    Both axes shrink, or both grow (one may stay). Within one grey level of `cv2.resize` with INTER_AREA or INTER_CUBIC, and nearly
    always equal: sums are float32 in OpenCV's order, and no matrix products, so that no TF32 is involved.
    """
    height, width = pixels.shape[-3:-1]
    if (height, width) == shape_hw:
        return pixels
    make = _area if shape_hw[0] <= height and shape_hw[1] <= width else _cubic
    across, down = make(width, shape_hw[1], str(pixels.device)), make(height, shape_hw[0], str(pixels.device))
    summed = _along(_along(pixels, across, -2), down, -3)
    is_half = make is _area and (height, width) == (2 * shape_hw[0], 2 * shape_hw[1])
    level = summed * np.float32(across.after * down.after).item()
    rounded = torch.floor(level + 0.5) if is_half else torch.round(level)  # OpenCV rounds halves up there, to even elsewhere
    return rounded.clamp_(0, 255).to(torch.uint8)


def _along(pixels: torch.Tensor, taps: Taps, axis: int) -> torch.Tensor:
    """float32 sums of weighted pictures along one axis, -2 (width) or -3 (height)."""
    shape = (-1,) + (1,) * (-axis - 1)
    total: torch.Tensor | None = None
    for index, weight in zip(taps.index, taps.weight, strict=True):
        part = pixels.index_select(axis, index).float() * weight.view(shape)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


@lru_cache(maxsize=256)
def _area(n_in: int, n_out: int, device: str) -> Taps:
    """Each output pixel is the mean of the input that it covers."""
    scale = n_in / n_out
    if n_in % n_out == 0:  # whole pixels: sums of integers, divided once
        index = np.arange(n_out)[None, :] * (n_in // n_out) + np.arange(n_in // n_out)[:, None]
        return _taps(index, np.ones(index.shape), n_in, device, after=n_out / n_in)
    start = np.arange(n_out) * scale
    first = np.floor(start).astype(np.int64)
    index = first[None, :] + np.arange(int(np.ceil(scale)) + 1)[:, None]
    end = np.minimum(start + scale, n_in)
    covered = np.clip(np.minimum(index + 1, end) - np.maximum(index, start), 0, 1)
    covered[covered <= SMALLEST_SHARE] = 0
    return _taps(index, covered / (end - start), n_in, device)


@lru_cache(maxsize=256)
def _cubic(n_in: int, n_out: int, device: str) -> Taps:
    """Each output pixel is a cubic through the four nearest inputs; beyond the edge its pixel is repeated."""
    place = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    before = np.floor(place)
    x = place - before
    near, far = (((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1 for d in (x, 1 - x))
    first = ((CUBIC * (x + 1) - 5 * CUBIC) * (x + 1) + 8 * CUBIC) * (x + 1) - 4 * CUBIC
    weight = np.stack([first, near, far, 1 - first - near - far])  # (4, n_out)
    index = before.astype(np.int64)[None, :] + np.arange(-1, 3)[:, None]
    return _taps(index, weight, n_in, device)


def _taps(index: NDArray, weight: NDArray, n_in: int, device: str, after: float = 1.0) -> Taps:
    inside = torch.from_numpy(np.clip(index, 0, n_in - 1)).to(device)
    return Taps(inside, torch.from_numpy(weight.astype(np.float32)).to(device), after)
