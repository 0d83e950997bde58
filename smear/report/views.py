"""A square look at a part of a field, for a person: nothing is made up beyond the border, it is plain paper there."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

PAPER = (242, 239, 232)  # --faint of the page


@dataclass(frozen=True)
class View:
    """What `look` shows: picture (S, S, 3) uint8, the field's pixel (x, y) at its corner, and picture pixels per field pixel."""

    picture: Image
    corner: tuple[int, int]
    zoom: float

    def place(self, box: NDArray[np.float32]) -> NDArray[np.float32]:
        """A box (4,) of the field in pixels of the picture."""
        return ((np.asarray(box, np.float64) - np.array(self.corner * 2)) * self.zoom).astype(np.float32)


def look(image: Image, box: NDArray[np.float32], side_px: float, out_px: int) -> View:
    """A square of the field around the centre of a box.

    Args:
        image: the field. box: (4,) x0 y0 x1 y1, pixels of the field.
        side_px: side of the square, pixels of the field; at least one is shown. out_px: side of the picture.
    """
    side = max(1, round(side_px))
    left, top = (round(float(box[i] + box[i + 2]) / 2 - side / 2) for i in (0, 1))
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if (x0, y0, x1, y1) == (left, top, left + side, top + side):
        canvas = image[y0:y1, x0:x1]
    else:
        canvas = np.full((side, side, 3), PAPER, np.uint8)
        if x0 < x1 and y0 < y1:
            canvas[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    how = cv2.INTER_AREA if side > out_px else cv2.INTER_CUBIC
    return View(np.asarray(cv2.resize(canvas, (out_px, out_px), interpolation=how), np.uint8), (left, top), out_px / side)
