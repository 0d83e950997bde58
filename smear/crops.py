"""Cut one cell out of its field by the crop contract: the same cut for training and for use."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.models import CropContract
from smear.segment import central_cell
from smear.types import Image

CUT_BY_EDGE = "cut by the edge"
PADDED = "crop padded beyond the edge"
NOT_SEGMENTED = "cell not segmented, ellipse used"

ELLIPSE_SCALE = 1.15  # boxes of detectors end inside the membrane about as often as outside; a little air keeps it
NEUTRAL_GREY = 128
_EDGE_PX = 1.0  # detectors stop within a pixel of the border


@dataclass(frozen=True)
class Cut:
    """Where the square view of a cell lies: `size` pixels of the field from `left`, `top`, partly outside it perhaps."""

    left: int
    top: int
    size: int
    warnings: tuple[str, ...]


def plan_cut(shape_hw: tuple[int, int], box: NDArray[np.float32], contract: CropContract, *, rbc_px: float) -> Cut:
    """The view of one cell in a field of that shape; arguments, warnings and errors as of `crop`."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side = contract.width * (rbc_px if contract.unit == "rbc" else max(x1 - x0, y1 - y0))
    if not np.isfinite([x0, y0, x1, y1, side]).all() or (contract.unit == "rbc" and side <= 0):
        raise ValueError(f"cannot crop box {box} with rbc_px {rbc_px}: not finite or not positive")
    size = max(1, round(side))
    left, top = round((x0 + x1) / 2 - size / 2), round((y0 + y1) / 2 - size / 2)
    height, width = shape_hw
    warnings = []
    if x0 <= _EDGE_PX or y0 <= _EDGE_PX or x1 >= width - _EDGE_PX or y1 >= height - _EDGE_PX:
        warnings.append(CUT_BY_EDGE)
    if left < 0 or top < 0 or left + size > width or top + size > height:
        warnings.append(PADDED)
    return Cut(left, top, size, tuple(warnings))


def crop(image: Image, box: NDArray[np.float32], contract: CropContract, *, rbc_px: float, out_px: int) -> tuple[Image, tuple[str, ...]]:
    """A square view of one cell, centred on its box to the nearest pixel, and what is wrong with it.

    Beyond the field the nearest edge pixel is repeated. Shrinking averages areas, growing is bicubic.

    Args:
        image: the full-size field.
        box: (4,) x0 y0 x1 y1, pixels of the field.
        contract: width, unit and background of the cut.
        rbc_px: red-cell diameter in pixels of the field; not used, and may be NaN, with unit "box".
        out_px: side of the result.

    Returns:
        (out_px, out_px, 3) uint8, never a view of `image`, and warnings: the cell touches the border of the field
        (`CUT_BY_EDGE`), the square reaches beyond it (`PADDED`), background "black" found no cell (`NOT_SEGMENTED`).

    Raises:
        ValueError: unit "rbc" with a scale that is not a positive number, or a box that is not finite.
    """
    at = plan_cut((image.shape[0], image.shape[1]), box, contract, rbc_px=rbc_px)
    view = _resized(_window(image, at.left, at.top, at.size), out_px)
    if contract.background == "kept":
        return view, at.warnings
    origin = np.array([at.left, at.top, at.left, at.top])
    box_view = ((np.asarray(box, float) - origin) * (out_px / at.size)).astype(np.float32)  # pixels of the crop
    inside = _ellipse(box_view, out_px)
    if contract.background == "ellipse":
        return _on_colour(view, inside, NEUTRAL_GREY), at.warnings
    cell = central_cell(view, inside, background_rgb=_background_colour(image))
    warnings = at.warnings if cell is not None else (*at.warnings, NOT_SEGMENTED)
    return _on_colour(view, inside if cell is None else cell, 0), warnings


def _window(image: Image, left: int, top: int, size: int) -> Image:
    """image[top : top + size, left : left + size] with the edge repeated outside; at least one pixel is real."""
    height, width = image.shape[:2]
    x0, x1 = min(max(left, 0), width - 1), min(max(left + size, 1), width)
    y0, y1 = min(max(top, 0), height - 1), min(max(top + size, 1), height)
    part = image[y0:y1, x0:x1]
    if part.shape[:2] == (size, size):
        return part
    before_x, before_y = min(max(0, -left), size - part.shape[1]), min(max(0, -top), size - part.shape[0])
    after_x, after_y = size - part.shape[1] - before_x, size - part.shape[0] - before_y
    return cv2.copyMakeBorder(part, before_y, after_y, before_x, after_x, cv2.BORDER_REPLICATE)


def _resized(view: Image, out_px: int) -> Image:
    if view.shape[0] == out_px:
        return np.array(view)
    how = cv2.INTER_AREA if view.shape[0] > out_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(view, (out_px, out_px), interpolation=how), np.uint8)


def _ellipse(box: NDArray[np.float32], out_px: int) -> NDArray[np.bool_]:
    """(out_px, out_px): inside the ellipse of `ELLIPSE_SCALE` times the box."""
    half = np.maximum((box[2:] - box[:2]) / 2 * ELLIPSE_SCALE, 0.5)
    centre = (box[:2] + box[2:]) / 2
    x, y = ((np.arange(out_px) + 0.5 - centre[i]) / half[i] for i in (0, 1))
    return x[None, :] ** 2 + y[:, None] ** 2 <= 1


def _on_colour(view: Image, inside: NDArray[np.bool_], grey: int) -> Image:
    return np.where(inside[:, :, None], view, np.uint8(grey))


def _background_colour(image: Image, *, n_side: int = 96) -> NDArray[np.float32]:
    """(3,) RGB of the empty parts of a field: the median of its brightest tenth, on a coarse grid of pixels."""
    step = max(1, min(image.shape[:2]) // n_side)
    sample = image[::step, ::step].reshape(-1, 3).astype(np.float32)
    light = sample.min(axis=1)  # empty glass is bright in every channel; stain darkens at least one
    return np.median(sample[light >= np.quantile(light, 0.9)], axis=0).astype(np.float32)
