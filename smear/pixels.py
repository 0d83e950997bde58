"""Pixel arithmetic of decoding: deep values to 8 bits, EXIF orientation; numpy alone."""

import numpy as np
from numpy.typing import NDArray

from smear.types import Image

DEPTHS = (8, 10, 12, 14, 16, 32)  # bits that cameras deliver inside 16- and 32-bit files


def to_8_bits(values: NDArray) -> Image:
    """Grey (H, W) or RGB (H, W, 3) of any number type → uint8 RGB (H, W, 3), by the rule stated in `images.decode`.

    Raises:
        ValueError: a value is negative, not finite, or larger than 32 bits hold.
    """
    if values.dtype == np.uint16:  # by table: 40 megapixels of float64 would take gigabytes
        levels = np.arange(2**16) * (255.0 / (2.0 ** bits_used(values) - 1))
        eight = np.rint(np.minimum(levels, 255)).astype(np.uint8)[values]
    elif not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("pixel values are negative or not finite")
    else:
        fraction = np.issubdtype(values.dtype, np.floating) and values.max() <= 1
        eight = np.rint(values * (255.0 if fraction else 255.0 / (2.0 ** bits_used(values) - 1))).astype(np.uint8)
    return np.ascontiguousarray(eight if eight.ndim == 3 else np.repeat(eight[:, :, None], 3, axis=2))


def bits_used(values: NDArray) -> int:
    """The smallest of `DEPTHS` that holds the largest value."""
    largest = float(values.max())
    depth = next((bits for bits in DEPTHS if largest < 2.0**bits), None)
    if depth is None:
        raise ValueError(f"pixel value {largest:g} does not fit in 32 bits")
    return depth


def upright(pixels: Image, orientation: object) -> Image:
    """Undo an EXIF orientation, 1 to 8; anything else means upright. Source: EXIF 2.32, tag 0x0112."""
    turns = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
    quarter_turns, mirrored = turns.get(orientation, (0, False)) if isinstance(orientation, int) else (0, False)
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))
