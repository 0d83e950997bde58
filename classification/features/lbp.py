"""Local binary patterns of the nucleus: which of a pixel's neighbours are lighter, counted whatever the rotation. Uses scikit-image.

Source: T. Ojala, M. Pietikäinen, T. Mäenpää, Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local
Binary Patterns, IEEE PAMI 24 (2002), 971: the uniform patterns (riu2).
"""

import cv2
import numpy as np

from classification.features.family import SHARE, Family, Mask, Values
from smear.errors import MissingExtra
from smear.types import Image

RINGS = ((8, 1), (16, 2))  # neighbours, and their distance as a number of `STEP`
STEP = 1 / 112  # crop widths: about 0.03 red cells


def measure(crops: Image, _cell: Mask, nucleus: Mask) -> Values:
    """(N, 10 + 18): the share of each uniform pattern, by its number of lighter neighbours, and of all others, per ring.

    Raises:
        MissingExtra: scikit-image is not installed.
    """
    try:
        from skimage.feature import local_binary_pattern
    except ImportError as error:
        raise MissingExtra("the feature family 'lbp'", "scikit-image", "papers") from error
    side = crops.shape[1]
    work = min(side, round(1 / STEP))  # so that a ring has a radius of whole pixels
    values = []
    for crop, mask in zip(crops, nucleus, strict=True):
        grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (work, work), interpolation=cv2.INTER_AREA)
        inside = cv2.resize(mask.astype(np.uint8), (work, work), interpolation=cv2.INTER_AREA) > 0
        room = RINGS[-1][1] + 1
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        box = tuple(slice(max(0, int(line[0]) - room), int(line[-1]) + 1 + room) for line in (rows, columns))
        shares = []
        for neighbours, radius in RINGS:
            codes = local_binary_pattern(grey[box], neighbours, radius, method="uniform")[inside[box]].astype(np.intp)
            shares.append(np.bincount(codes, minlength=neighbours + 2) / len(codes))
        values.append(np.concatenate(shares))
    return np.array(values, np.float32)


LBP = Family(
    "lbp",
    "local binary patterns of the nucleus",
    {f"lbp_{n}_{i if i <= n else 'other'}": SHARE for n, _ in RINGS for i in range(n + 2)},
    "Ojala, Pietikäinen and Mäenpää 2002",
    True,
    measure,
)
