"""How much of a box is as dark as the nuclei of white cells, measured against its own field: no stain needs its own threshold."""

import numpy as np
from numpy.typing import NDArray

from smear.types import Image

DARK_QUANTILE = 0.01  # of the field around the white cells: what is darker is stained as only nuclei, platelets and dirt are
MAX_SAMPLES = 500_000  # pixels that the quantile is taken of
GREEN = 1  # chromatin binds the blue dyes, which absorb green


def stained_shares(image: Image, boxes: NDArray[np.float32], *, white: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of each box that is darker in green than 99 % of the field outside all white cells.

    Around 0.01 for a box on glass or red cells, 0.4 to 0.9 for one on a nucleus; where nothing else is stained, a red cell is dark too.

    Args:
        image: the full-size field.
        boxes: (N, 4) to measure, pixels of the field.
        white: (M, 4) white cells, found and true, which the rest of the field is without.

    Returns:
        (N,) float32 in [0, 1]; NaN for an empty box, and for all when the white cells leave nothing of the field.
    """
    green = image[:, :, GREEN]
    is_rest = np.ones(green.shape, bool)
    for x0, y0, x1, y1 in np.concatenate([boxes, white]).round().astype(int).reshape(-1, 4):
        is_rest[y0:y1, x0:x1] = False
    rest = green[is_rest]
    if not len(rest):
        return np.full(len(boxes), np.nan, np.float32)
    limit = float(np.quantile(rest[:: max(1, len(rest) // MAX_SAMPLES)], DARK_QUANTILE))
    parts = [green[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes.round().astype(int).reshape(-1, 4)]
    return np.array([(part < limit).mean() if part.size else np.nan for part in parts], np.float32)
