"""Colour of cell and nucleus: moments in RGB and Lab, a histogram in Lab; and first-order statistics of the nucleus' grey.

Sources: M. A. Stricker, M. Orengo, Similarity of Color Images, SPIE 2420 (1995), for moments; Gonzalez and Woods, Digital Image
Processing, 4th ed. (2018), 11.3, for statistics of the grey histogram.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import NONE, SHARE, Family, Mask, Values, boxed
from smear.types import Image

CHANNELS = ("red", "green", "blue", "lightness", "a", "b")
MOMENTS = ("mean", "deviation", "skewness")
BINS = 8  # of each Lab channel, over all that 8 bits can hold
GREY = "grey levels"


def measure(crops: Image, cell: Mask, nucleus: Mask) -> Values:
    """(N, F): moments of the nucleus, moments of the cell, histogram of the cell; 8-bit values, Lab as OpenCV scales it."""
    return np.stack([_of_crop(*each) for each in zip(crops, cell, nucleus, strict=True)])


def moments(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3·C,) mean, deviation and skewness (0 where nothing deviates) of samples (P, C), channel by channel in turn."""
    mean = values.mean(axis=0)
    centred = values - mean
    square = centred * centred
    deviation = np.sqrt(square.mean(axis=0))
    third = (square * centred).mean(axis=0)
    skewness = np.where(deviation > 1e-3, third / np.maximum(deviation, 1e-3) ** 3, 0)
    return np.concatenate([mean, deviation, skewness]).astype(np.float32)


def statistics(crops: Image, _cell: Mask, nucleus: Mask) -> Values:
    """(N, 9) of the grey of the nucleus: its histogram's, then of its edges (Scharr gradient, grey levels a pixel)."""
    return np.stack([_statistics(crop, mask) for crop, mask in zip(crops, nucleus, strict=True)])


def _of_crop(crop: Image, cell: Mask, nucleus: Mask) -> NDArray[np.float32]:
    box = boxed(cell)
    view = np.ascontiguousarray(crop[box])
    both = np.dstack([view, cv2.cvtColor(view, cv2.COLOR_RGB2LAB)])  # (h, w, 6)
    inside = both[cell[box]]  # (P, 6)
    lab = inside[:, 3:] // (256 // BINS) + np.arange(0, 3 * BINS, BINS)
    histogram = np.bincount(lab.ravel(), minlength=3 * BINS) / len(inside)
    return np.concatenate([moments(both[nucleus[box]].astype(np.float32)), moments(inside.astype(np.float32)), histogram]).astype(
        np.float32
    )


def _statistics(crop: Image, mask: Mask) -> NDArray[np.float32]:
    box = boxed(mask)
    grey, inside = cv2.cvtColor(np.ascontiguousarray(crop[box]), cv2.COLOR_RGB2GRAY), mask[box]
    values = grey[inside].astype(np.float32)
    mean, deviation = float(values.mean()), float(values.std())
    shape = (values - mean) / max(deviation, 1e-3)
    shares = np.bincount(grey[inside], minlength=256) / len(values)
    edges = [cv2.Scharr(grey, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1))]
    slope = np.hypot(*edges)[inside]
    smoothness = 1 - 1 / (1 + (deviation / 255) ** 2)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    return np.array(
        [mean, deviation, (shape**3).mean(), (shape**4).mean(), smoothness, (shares**2).sum(), entropy, slope.mean(), slope.std()],
        np.float32,
    )


COLOUR = Family(
    "colour",
    "colour moments of nucleus and cell, Lab histogram of the cell",
    {f"{of}_{c}_{m}": NONE if m == "skewness" else GREY for of in ("nucleus", "cell") for m in MOMENTS for c in CHANNELS}
    | {f"cell_{c}_bin_{i}": SHARE for c in CHANNELS[3:] for i in range(BINS)},
    "Stricker and Orengo 1995",
    True,
    measure,
)
STATISTICS = Family(
    "statistics",
    "first-order statistics of the nucleus' grey",
    {"grey_mean": GREY, "grey_deviation": GREY, "grey_skewness": NONE, "grey_kurtosis": NONE, "grey_smoothness": NONE}
    | {"grey_uniformity": NONE, "grey_entropy": "nats", "edge_mean": "grey levels a pixel", "edge_deviation": "grey levels a pixel"},
    "Gonzalez and Woods 2018, 11.3",
    True,
    statistics,
)
