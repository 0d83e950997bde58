"""Grey-level co-occurrence of the nucleus and Haralick's thirteen features of it: how chromatin goes together at a distance.

Source: R. M. Haralick, K. Shanmugam, I. Dinstein, Textural Features for Image Classification, IEEE SMC-3 (1973), 610. His maximal
correlation coefficient is left out: it is the root of an eigenvalue and unstable in small regions. Dissimilarity is added.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.family import NONE, Family, Mask, Values, boxed
from smear.types import Image

LEVELS = 32
DISTANCES = {"fine": 1 / 112, "coarse": 1 / 37}  # crop widths: about 0.03 and 0.08 red cells, 0.2 and 0.6 µm
ANGLES = ((0, 1), (-1, 1), (-1, 0), (-1, -1))  # row and column step: 0°, 45°, 90°, 135°
FEATURES = (
    *("energy", "contrast", "correlation", "variance", "homogeneity", "sum_mean", "sum_variance", "sum_entropy", "entropy"),
    *("difference_variance", "difference_entropy", "information_1", "information_2", "dissimilarity"),
)


def measure(crops: Image, _cell: Mask, nucleus: Mask) -> Values:
    """(N, F): per distance, mean and range of each feature over four directions."""
    side = crops.shape[1]
    steps = [max(1, round(share * side)) for share in DISTANCES.values()]
    pairs = np.stack([_of_crop(crop, mask, steps) for crop, mask in zip(crops, nucleus, strict=True)])  # (N, D·A, L, L)
    values = haralick(pairs.reshape(-1, LEVELS, LEVELS)).reshape(len(crops), len(steps), len(ANGLES), -1)
    both = np.stack([values.mean(axis=2), np.ptp(values, axis=2)], axis=2)  # (N, D, 2, F)
    return both.reshape(len(crops), -1)


def cooccurrence(levels: NDArray[np.uint8], mask: Mask, step: tuple[int, int]) -> NDArray[np.float32]:
    """(L, L) share of the pairs of pixels, both in the mask (H, W), that lie that step of rows and columns apart; symmetric.

    All zero when there is no such pair. levels: (H, W), 0 to LEVELS - 1.
    """
    down, right = step
    high, wide = mask.shape
    first = (slice(max(0, -down), high - max(0, down)), slice(max(0, -right), wide - max(0, right)))
    second = (slice(max(0, down), high - max(0, -down)), slice(max(0, right), wide - max(0, -right)))
    if high <= abs(down) or wide <= abs(right):
        return np.zeros((LEVELS, LEVELS), np.float32)
    both = mask[first] & mask[second]
    codes = levels[first][both].astype(np.intp) * LEVELS + levels[second][both]
    counts = np.bincount(codes, minlength=LEVELS**2).reshape(LEVELS, LEVELS).astype(np.float32)
    counts += counts.T
    return counts / max(float(counts.sum()), 1.0)


def haralick(pairs: NDArray[np.float32]) -> Values:
    """(M, 14) in the order of `FEATURES`, of normed symmetric co-occurrence matrices (M, L, L); logarithms are natural."""
    at = np.arange(LEVELS, dtype=np.float32)
    flat = pairs.reshape(len(pairs), -1)
    apart, total = _bins()
    by_sum, by_difference = flat @ total, flat @ apart  # (M, 2L - 1), (M, L)
    line = pairs.sum(axis=2)  # (M, L)
    mean = line @ at
    variance = line @ at**2 - mean**2
    product = (pairs @ at) @ at
    sums, differences = np.arange(2 * LEVELS - 1, dtype=np.float32), at
    sum_mean, difference_mean = by_sum @ sums, by_difference @ differences
    joint, single = _entropy(flat), _entropy(line)
    columns = (
        (flat**2).sum(axis=1),
        by_difference @ differences**2,
        np.where(variance > 1e-6, (product - mean**2) / np.maximum(variance, 1e-6), 1),  # one level alone goes with itself
        variance,
        by_difference @ (1 / (1 + differences**2)),
        sum_mean,
        by_sum @ sums**2 - sum_mean**2,
        _entropy(by_sum),
        joint,
        by_difference @ differences**2 - difference_mean**2,
        _entropy(by_difference),
        np.where(single > 1e-6, (joint - 2 * single) / np.maximum(single, 1e-6), 0),  # symmetric: HXY1 = HXY2 = 2 HX
        np.sqrt(np.maximum(1 - np.exp(-2 * np.maximum(2 * single - joint, 0)), 0)),
        difference_mean,
    )
    return np.column_stack(columns).astype(np.float32)


def _of_crop(crop: Image, mask: Mask, steps: list[int]) -> NDArray[np.float32]:
    box = boxed(mask)
    levels = cv2.cvtColor(np.ascontiguousarray(crop[box]), cv2.COLOR_RGB2GRAY) // (256 // LEVELS)
    inside = mask[box]
    return np.stack([cooccurrence(levels, inside, (down * step, right * step)) for step in steps for down, right in ANGLES])


def _bins() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Which pairs (L²) have which difference (L² × L) and which sum (L² × 2L - 1), one-hot."""
    i, j = (grid.ravel() for grid in np.indices((LEVELS, LEVELS)))
    return np.eye(LEVELS, dtype=np.float32)[np.abs(i - j)], np.eye(2 * LEVELS - 1, dtype=np.float32)[i + j]


def _entropy(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(-(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1))


GLCM = Family(
    "glcm",
    "Haralick features of the nucleus",
    {f"glcm_{distance}_{name}_{how}": NONE for distance in DISTANCES for how in ("mean", "range") for name in FEATURES},
    "Haralick, Shanmugam and Dinstein 1973",
    True,
    measure,
)
