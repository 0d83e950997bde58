"""The contour signature: how far the outline is from the middle of the cell all the way round, and its Fourier descriptors.

Sources: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th ed. (2018), 11.2, for signatures; C. T. Zahn, R. Z. Roskies,
IEEE Trans. Computers C-21 (1972), 269, for Fourier descriptors.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import NONE, RATIO, WIDTH, Family, Mask, Values
from smear.types import Image

POINTS = 128  # around the outline, at equal distances along it
ORDERS = 8  # Fourier descriptors each way
UNITS = {
    "radius_mean": WIDTH,
    "radius_deviation": RATIO,  # this and the next five are in mean radii
    "radius_least": RATIO,
    "radius_most": RATIO,
    "radius_skewness": NONE,
    "radius_kurtosis": NONE,  # 3 for a normal distribution
    "radius_step": RATIO,  # mean change from one point to the next: roughness
    "radius_crossings": NONE,  # how often the signature crosses its mean
    **{f"fourier_{order:+d}": RATIO for k in range(2, ORDERS + 2) for order in (k, -k)},  # amplitude / that of order 1
    "fourier_-1": RATIO,
}


def measure(_crops: Image, cell: Mask, nucleus: Mask) -> Values:
    """(N, F): signature of the cell's outline, then of that of the largest part of its nucleus."""
    return np.column_stack([describe(cell), describe(nucleus)]).astype(np.float32)


def describe(mask: Mask) -> Values:
    """(N, F) in the order of `UNITS`, of masks (N, S, S) of which none is empty."""
    side = mask.shape[1]
    line = np.stack([outline(each) for each in mask])  # (N, P) complex
    line = line - line.mean(axis=1, keepdims=True)
    radius = np.abs(line)
    mean = np.maximum(radius.mean(axis=1, keepdims=True), 0.5)  # a single pixel has half a pixel
    relative = radius / mean
    centred = relative - relative.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1)
    steady = np.maximum(deviation, 1e-6)
    above = centred > 0
    columns = (
        mean[:, 0] / side,
        deviation,
        relative.min(axis=1),
        relative.max(axis=1),
        (centred**3).mean(axis=1) / steady**3,
        (centred**4).mean(axis=1) / steady**4,
        np.abs(relative - np.roll(relative, 1, axis=1)).mean(axis=1),
        (above != np.roll(above, 1, axis=1)).sum(axis=1),
    )
    return np.column_stack([*columns, _descriptors(line)]).astype(np.float32)


def outline(mask: Mask) -> NDArray[np.complex128]:
    """The outer outline of the largest part of a mask (S, S), (POINTS,) x + iy in pixels, at equal distances."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(found, key=len)[:, 0].astype(np.float64)
    line = points[:, 0] + 1j * points[:, 1]
    closed = np.append(line, line[0])
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(closed)))])
    return np.interp(np.arange(POINTS) * (length[-1] / POINTS), length, closed)


def _descriptors(line: NDArray[np.complex128]) -> NDArray[np.float64]:
    """(N, 2·ORDERS + 1) amplitudes relative to that of the turning circle: place, size, rotation and start point do not matter."""
    size = np.abs(np.fft.fft(line, axis=1)) / POINTS  # (N, P)
    circle = np.maximum(np.maximum(size[:, 1], size[:, -1]), 0.5)
    forward = size[:, 1] >= size[:, -1]  # of the two senses of rotation the larger is order 1
    turned = np.where(forward[:, None], size, np.roll(size[:, ::-1], 1, axis=1)) / circle[:, None]
    return turned[:, [*(order for k in range(2, ORDERS + 2) for order in (k, -k)), -1]]


CONTOUR = Family(
    "contour",
    "contour signature and Fourier descriptors of cell and nucleus",
    {f"{of}_{name}": unit for of in ("cell", "nucleus") for name, unit in UNITS.items()},
    "Gonzalez and Woods 2018, 11.2; Zahn and Roskies 1972",
    True,
    measure,
)
