"""What one field looks like to the detector, in a few numbers: sharpness, light, noise and the colour of glass, red cells and nuclei.

All is measured on the field at the detector's scale, so that a number means the same at every magnification, and on a sample of at
most `MAX_PIXELS` of it, so that it costs little. `smear.drift` compares the numbers with those of the training fields.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.stain import density, shrink, two_thresholds
from smear.types import Image

FINE = 1 / 64  # of a red cell (0.12 µm): the finest detail that sharpness looks at; 1 pixel where red cells are 64 pixels wide
WINDOW_PX, SPOTS = 288, ((0.5, 0.5), (0.1, 0.1), (0.1, 0.9), (0.9, 0.1), (0.9, 0.9))
MAX_PIXELS = len(SPOTS) * WINDOW_PX**2
MIN_CONTRAST = 15 / 255  # below it there is nothing in the field whose sharpness or stain could be measured
WHITE_LEVEL = 250  # a pixel with all channels at least this bright has lost its colour
BRIGHT_PERCENT = 98  # the share of a field's levels below what passes for its empty glass
NOISE_GAIN = 0.0358  # variance of `FINE` detail in white noise of variance 1: difference of two Gaussians of width 1 and 2 pixels
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_SCALE = 1 / (6 * 0.6745)  # the mask has norm 6; median absolute deviation to standard deviation

COLOURS = (
    "white_balance_red",
    "white_balance_blue",
    *(f"{part}_{c}" for part in ("red_cells", "nuclei") for c in ("red", "green", "blue")),
)


def measure_quality(seen: Image, *, rbc_px: float) -> dict[str, float]:
    """The numbers of one field; what cannot be measured (all but light and noise, in an empty field) is left out.

    - `focus`: detail of 0.12–0.23 µm over detail of 0.35–0.7 µm, less what the noise adds; 0 is blurred, about 0.3–0.6 is sharp.
    - `background`: level of empty glass, 0–1. `saturated_share`: of pixels without colour left. `contrast`: of green light, 0–1.
    - `noise`: standard deviation in grey levels, by the median of a Laplacian.
    - `white_balance_red`, `white_balance_blue`: natural log of that channel over green, in empty glass; 0 is neutral.
    - `red_cells_red` … `nuclei_blue`: natural optical density above the glass, of the middle and the dark third by brightness.

    Args:
        seen: the field at the detector's scale.
        rbc_px: how wide a red cell is, or is taken to be, in it.

    Sources: noise: J. Immerkær, Fast noise variance estimation, CVIU 64 (1996) 300.
    """
    views = _sample(seen)
    light = np.concatenate([view[::3, ::3].reshape(-1, 3) for view in views])
    green = np.percentile(light[:, 1], (2, 98)) / 255
    contrast, noise = float(green[1] - green[0]), _noise(views)
    quality = {
        "background": float(np.percentile(light.sum(axis=1, dtype=np.uint16), BRIGHT_PERCENT)) / (3 * 255),
        "saturated_share": float((light.min(axis=1) >= WHITE_LEVEL).mean()),
        "contrast": contrast,
        "noise": noise,
    }
    if contrast < MIN_CONTRAST:
        return quality
    colours = zip(COLOURS, _colours(seen).tolist(), strict=True)
    return {"focus": _focus(views, max(rbc_px * FINE, 0.5), noise), **quality, **dict(colours)}


def _sample(seen: Image) -> list[Image]:
    """The field, or windows spread over it where it is large."""
    height, width = seen.shape[:2]
    if height * width <= MAX_PIXELS:
        return [seen]
    corners = {(round(max(height - WINDOW_PX, 0) * v), round(max(width - WINDOW_PX, 0) * u)) for v, u in SPOTS}
    return [seen[y : y + WINDOW_PX, x : x + WINDOW_PX] for y, x in sorted(corners)]


def _focus(views: list[Image], unit_px: float, noise: float) -> float:
    """Deviation of fine over that of coarse detail, of green light, pooled over the views."""
    fine = coarse = 0.0
    n = sum(view.shape[0] * view.shape[1] for view in views)
    for view in views:
        green = view[:, :, 1].astype(np.float32)
        once, twice = (cv2.GaussianBlur(green, (0, 0), unit_px * k) for k in (1, 2))
        half = cv2.resize(twice, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # coarse detail survives it, at a quarter of the cost
        low, lower = (cv2.GaussianBlur(half, (0, 0), unit_px * k) for k in (1.1, 2.8))  # widths 3 and 6, on top of 2, at half size
        share = green.size / n
        fine += float(((once - twice) ** 2).mean()) * share
        coarse += float(((low - lower) ** 2).mean()) * share
    fine = max(fine - NOISE_GAIN * (noise / unit_px) ** 2, 0.0)
    return float(np.sqrt(fine / max(coarse, 1e-6)))


def _noise(views: list[Image]) -> float:
    counts = np.zeros(8 * 255 + 1, np.int64)  # of each absolute level that the mask can give
    for view in views:
        found = cv2.filter2D(view[:, :, 1], cv2.CV_16S, _LAPLACIAN)[1:-1, 1:-1]
        counts += np.bincount(np.abs(found).reshape(-1), minlength=len(counts))
    n = int(counts.sum())
    middle = np.searchsorted(np.cumsum(counts), [(n - 1) // 2, n // 2], side="right")
    return float(middle.mean()) * _NOISE_SCALE if n else 0.0


def _colours(seen: Image) -> NDArray[np.float32]:
    """(8,) float32 in the order of `COLOURS`."""
    small = shrink(seen)
    dark = density(small)  # (S, S, 3)
    low, high = two_thresholds(small[..., 1])
    green = small[..., 1]
    parts = (green > high, (green > low) & (green <= high), green <= low)
    glass, red, nuclei = (np.median(dark[part] if part.any() else dark.reshape(-1, 3), axis=0) for part in parts)
    return np.array([glass[1] - glass[0], glass[1] - glass[2], *(red - glass), *(nuclei - glass)], np.float32)
