"""Plain numbers that tell cells apart: size, shape, colour inside and around, texture; no network, the same for every set."""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

PATCH_PX = 24  # side to which a box is brought before it is measured
NAMES = (
    *("log2 diameter, px", "log2 diameter by the median of its image", "log2 aspect"),
    *(f"{part} {channel}" for part in ("inside", "around", "spread inside") for channel in ("L", "a", "b")),
    *("fine texture", "coarse texture", "dark share"),
)


def of_image(image: Image, *, whole: bool, corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, T) float32, a row a box; one row for the image itself when it is labelled as a `whole`. T is `len(NAMES)`.

    Args:
        image: (H, W, 3) uint8. corners: (N, 4) pixels, x0 y0 x1 y1, each with an area.
    """
    height, width = image.shape[:2]
    if whole:
        corners = np.array([[0, 0, width, height]], np.float32)
    if not len(corners):
        return np.zeros((0, len(NAMES)), np.float32)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)
    diameters = np.log2(np.sqrt(sides.prod(axis=1)))
    shape = [diameters, diameters - np.median(diameters), np.log2(sides[:, 0] / sides[:, 1])]
    inner = [_look(_patch(image, box)) for box in corners]
    return np.concatenate([np.array(shape, np.float32).T, np.array(inner, np.float32)], axis=1)  # (N, T)


def _patch(image: Image, box: NDArray[np.float32]) -> Image:
    """The box and half as much again around it, as a small square; what lies outside the image repeats its border."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    pad_x, pad_y = (x1 - x0) / 4, (y1 - y0) / 4
    left, top = max(0, round(float(x0 - pad_x))), max(0, round(float(y0 - pad_y)))
    right, bottom = min(width, round(float(x1 + pad_x))), min(height, round(float(y1 + pad_y)))
    part = image[min(top, height - 1) : max(bottom, top + 1), min(left, width - 1) : max(right, left + 1)]
    return np.asarray(cv2.resize(part, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _look(patch: Image) -> list[float]:
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB).astype(np.float32)
    cells, ground = lab[_INSIDE], lab[~_INSIDE]
    light = lab[..., 0]
    fine = light - cv2.GaussianBlur(light, (0, 0), 1)
    coarse = cv2.GaussianBlur(light, (0, 0), 1) - cv2.GaussianBlur(light, (0, 0), 4)
    dark = (cells[:, 0] < ground[:, 0].mean() - 40).mean()
    return [*cells.mean(axis=0), *ground.mean(axis=0), *cells.std(axis=0), fine[_INSIDE].std(), coarse[_INSIDE].std(), float(dark)]


_GRID = (np.indices((PATCH_PX, PATCH_PX)) + 0.5) / PATCH_PX - 0.5
_INSIDE = (_GRID**2).sum(axis=0) < (1 / 3) ** 2  # the ellipse that fills the box, of which the patch shows half as much again
