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
_LEVELS = np.arange(256, dtype=np.float64)


def measure(crops: Image, cell: Mask, nucleus: Mask) -> Values:
    """(N, F): moments of the nucleus, moments of the cell, histogram of the cell; 8-bit values, Lab as OpenCV scales it."""
    counts = np.stack([_counts(*each) for each in zip(crops, cell, nucleus, strict=True)])  # (N, 2, C, 256)
    means, deviations, skews, _ = moments(counts)  # (N, 2, C) each
    several = np.concatenate([means, deviations, skews], axis=2).reshape(len(crops), -1)
    lab = counts[:, 1, 3:] / np.maximum(counts[:, 1, 3:].sum(axis=2, keepdims=True), 1)  # (N, 3, 256)
    binned = lab.reshape(len(crops), 3 * BINS, 256 // BINS).sum(axis=2)
    return np.concatenate([several, binned], axis=1).astype(np.float32)


def moments(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean, deviation, skewness and kurtosis, (…) each, of 8-bit samples that are counted by value (…, 256).

    Of samples of one value skewness is 0 and kurtosis 0; else kurtosis is 3 for a normal distribution.
    """
    shares = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    mean = shares @ _LEVELS
    centred = _LEVELS - mean[..., None]
    second, third, fourth = ((shares * centred**k).sum(axis=-1) for k in (2, 3, 4))
    deviation = np.sqrt(second)
    steady = np.maximum(deviation, 1e-3)
    return mean, deviation, third / steady**3, fourth / steady**4


def statistics(crops: Image, _cell: Mask, nucleus: Mask) -> Values:
    """(N, 9) of the grey of the nucleus: its histogram's, then of its edges (Scharr gradient, grey levels a pixel)."""
    seen = [_grey(crop, mask) for crop, mask in zip(crops, nucleus, strict=True)]
    counts, edges = np.stack([each[0] for each in seen]), np.array([each[1:] for each in seen])  # (N, 256), (N, 2)
    mean, deviation, skewness, kurtosis = moments(counts)
    shares = counts / counts.sum(axis=1, keepdims=True)
    smoothness = 1 - 1 / (1 + (deviation / 255) ** 2)
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
    columns = (mean, deviation, skewness, kurtosis, smoothness, (shares**2).sum(axis=1), entropy)
    return np.column_stack([*columns, edges]).astype(np.float32)


def _counts(crop: Image, cell: Mask, nucleus: Mask) -> NDArray[np.float64]:
    """(2, C, 256) pixels of the nucleus and of the cell by value, in each of `CHANNELS`."""
    box = boxed(cell)
    view = np.ascontiguousarray(crop[box])
    planes = [*cv2.split(view), *cv2.split(cv2.cvtColor(view, cv2.COLOR_RGB2LAB))]
    masks = [np.ascontiguousarray(mask[box]).astype(np.uint8) for mask in (nucleus, cell)]
    return np.array([[_histogram(plane, mask) for plane in planes] for mask in masks], np.float64)


def _grey(crop: Image, mask: Mask) -> tuple[NDArray[np.float64], float, float]:
    """Pixels of the mask by grey value (256,), and mean and deviation of the gradient there."""
    box = boxed(mask)
    grey, inside = cv2.cvtColor(np.ascontiguousarray(crop[box]), cv2.COLOR_RGB2GRAY), np.ascontiguousarray(mask[box]).astype(np.uint8)
    slope = cv2.magnitude(*(cv2.Scharr(grey, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1))))
    mean, deviation = cv2.meanStdDev(slope, mask=inside)
    return _histogram(grey, inside), float(mean[0, 0]), float(deviation[0, 0])


def _histogram(plane: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(cv2.calcHist([plane], [0], mask, [256], [0, 256]).ravel(), np.float64)


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
