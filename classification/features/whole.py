"""Features of the whole crop, which need no mask: histograms, the discrete Fourier transform, the pixels themselves.

Source: R. C. Gonzalez, R. E. Woods, Digital Image Processing, 4th ed. (2018): 3.3 histograms, 4.5 the transform, 11.3 its rings and wedges.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import NONE, SHARE, Family, Mask, Values
from smear.types import Image

GREY_BINS, COLOUR_BINS = 32, 16
DFT_PX = 64  # side that crops are brought to before the transform: more would be noise, and unknown in small crops
RINGS, WEDGES, LOW = 16, 12, 8
PIXELS = 32  # side of the crop whose pixels are given


def histograms(crops: Image, _cell: Mask, _nucleus: Mask) -> Values:
    """(N, 32 + 3·16): the share of pixels in each bin of grey, red, green, blue, evenly over 0 to 255."""
    return np.stack([_histogram(crop) for crop in crops])


def spectra(crops: Image, _cell: Mask, _nucleus: Mask) -> Values:
    """(N, F) of the grey crop at 64 px: shares of the energy (without the mean) by ring and by wedge, then low frequencies.

    Rings are 2 cycles a crop wide, from 1 cycle on; wedges are 15° wide, from horizontal on; low frequencies are log(1 + amplitude),
    grey levels, by cycles a crop down and across. All energies are 0 in a crop of one colour.
    """
    grey = np.stack([cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (DFT_PX, DFT_PX), interpolation=cv2.INTER_AREA) for crop in crops])
    size = np.abs(np.fft.rfft2(grey.astype(np.float32))) / DFT_PX**2  # (N, 64, 33)
    power = (size**2).reshape(len(crops), -1).astype(np.float32)
    rings, wedges = _zones()
    total = power @ rings.sum(axis=1)
    shares = np.concatenate([power @ rings, power @ wedges], axis=1) / np.maximum(total, 1e-6)[:, None]
    down = np.arange(-LOW + 1, LOW)
    low = np.log1p(size[:, down][:, :, :LOW]).reshape(len(crops), -1)
    return np.concatenate([shares, low], axis=1).astype(np.float32)


def pixels(crops: Image, _cell: Mask, _nucleus: Mask) -> Values:
    """(N, 3072): the crop at 32 × 32 pixels, 0 to 255, row by row, red, green and blue in turn."""
    way = cv2.INTER_AREA if crops.shape[1] > PIXELS else cv2.INTER_LINEAR
    return np.stack([cv2.resize(crop, (PIXELS, PIXELS), interpolation=way).ravel() for crop in crops]).astype(np.float32)


def _histogram(crop: Image) -> NDArray[np.float32]:
    grey = cv2.calcHist([cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)], [0], None, [GREY_BINS], [0, 256])
    colours = [cv2.calcHist([crop], [channel], None, [COLOUR_BINS], [0, 256]) for channel in range(3)]
    return np.asarray(np.concatenate([grey, *colours]).ravel() / (crop.shape[0] * crop.shape[1]), np.float32)


def _zones() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Which values of a half-plane transform (64·33) belong to which ring (… × 16) and wedge (… × 12); the mean to none.

    Values that stand for two, of the whole plane, count twice.
    """
    down = np.fft.fftfreq(DFT_PX, 1 / DFT_PX)[:, None]
    across = np.arange(DFT_PX // 2 + 1)[None]
    cycles = np.hypot(down, across).ravel()
    twice = np.broadcast_to(np.where((across == 0) | (across == DFT_PX // 2), 1, 2), (DFT_PX, DFT_PX // 2 + 1)).ravel()
    used = (cycles > 0) & (cycles < DFT_PX / 2)
    ring = np.minimum((cycles / 2).astype(int), RINGS - 1)
    turn = np.mod(np.degrees(np.arctan2(np.broadcast_to(down, (DFT_PX, DFT_PX // 2 + 1)), across)).ravel(), 180)
    wedge = np.minimum((turn * WEDGES / 180).astype(int), WEDGES - 1)
    weight = (used * twice).astype(np.float32)[:, None]
    return np.eye(RINGS, dtype=np.float32)[ring] * weight, np.eye(WEDGES, dtype=np.float32)[wedge] * weight


_SOURCE = "Gonzalez and Woods 2018"
HISTOGRAM = Family(
    "histogram",
    "grey and colour histograms of the crop",
    {
        f"{name}_bin_{i}": SHARE
        for name, n in (("crop_grey", GREY_BINS), *((c, COLOUR_BINS) for c in ("crop_red", "crop_green", "crop_blue")))
        for i in range(n)
    },
    f"{_SOURCE}, 3.3",
    False,
    histograms,
)
DFT = Family(
    "dft",
    "discrete Fourier transform of the grey crop",
    {f"dft_ring_{i}": SHARE for i in range(RINGS)}
    | {f"dft_wedge_{i}": SHARE for i in range(WEDGES)}
    | {f"dft_{v:+d}_{h}": NONE for v in range(-LOW + 1, LOW) for h in range(LOW)},
    f"{_SOURCE}, 4.5 and 11.3",
    False,
    spectra,
)
RAW_PIXELS = Family(
    "raw_pixels",
    "the pixels of the crop at 32 × 32",
    {
        f"pixel_{row:02d}_{column:02d}_{c}": "grey levels"
        for row in range(PIXELS)
        for column in range(PIXELS)
        for c in ("red", "green", "blue")
    },
    "",
    False,
    pixels,
)
