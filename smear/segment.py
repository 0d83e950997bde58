"""Cut a white cell from its surroundings by colour alone: classical, deterministic, no model."""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

_MIN_SHARE, _MAX_SHARE = 0.25, 1.0  # a cell fills this much of its ellipse; less is a lost cytoplasm, and more is not possible
_MIN_CONTRAST = 6.0  # Lab units; below it there is nothing but glass and noise
_BLUR = 1 / 80  # of the side: granules and vacuoles are smaller than this, cells and cytoplasm are larger
_NUCLEUS_SHARE = 0.05  # a nucleus smaller than this share of the ellipse is a speck


def central_cell(view: Image, inside: NDArray[np.bool_], *, background_rgb: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The mask of the white cell in the middle of a crop, or None when no believable cell is found.

    The nucleus is what Otsu's threshold calls darkest in green inside the ellipse (chromatin binds the blue dyes);
    the cell is what differs from empty glass there and is nearer in colour to the nucleus or its rim than to
    the red cells seen outside the ellipse; the component that holds the nucleus is kept, smoothed and filled.

    Args:
        view: (S, S, 3) crop, cell in the middle.
        inside: (S, S) where the cell may be, such as the ellipse of its box.
        background_rgb: (3,) colour of empty glass in this field, 0 to 255.

    Source: N. Otsu, A threshold selection method from gray-level histograms, IEEE SMC 9 (1979).
    """
    if inside.sum() < 16:
        return None
    lab = _lab(cv2.GaussianBlur(view, (0, 0), max(0.8, view.shape[0] * _BLUR)))
    glass = _lab(background_rgb.reshape(1, 1, 3).astype(np.uint8))[0, 0]
    contrast = np.linalg.norm(lab - glass, axis=2)  # (S, S)
    threshold = max(_MIN_CONTRAST, 0.5 * _otsu(contrast[inside]))
    stained = inside & (contrast > threshold)
    nucleus = _nucleus(view, inside, stained)
    if nucleus is None:
        return None
    cell = stained & ~_red(lab, inside, nucleus, contrast > threshold)
    cell = _component_with(_smooth(cell | nucleus), nucleus) & inside
    share = cell.sum() / inside.sum()
    return cell if _MIN_SHARE <= share <= _MAX_SHARE else None


def _nucleus(view: Image, inside: NDArray[np.bool_], stained: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    green = view[:, :, 1].astype(np.float32)
    if not stained.any():
        return None
    dark = _smooth(stained & (green <= _otsu(green[inside])))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
    big = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= _NUCLEUS_SHARE * inside.sum()]
    if not big:
        return None
    y, x = np.nonzero(inside)
    middle = np.array([x.mean(), y.mean()])
    distance = {i: np.linalg.norm(np.argwhere(parts == i)[:, ::-1] - middle, axis=1).min() for i in big}
    nearest = min(big, key=lambda i: (distance[i], -stats[i, cv2.CC_STAT_AREA]))
    radius = np.sqrt(inside.sum() / np.pi)
    lobes = [i for i in big if distance[i] <= max(distance[nearest], 0.6 * radius)]  # a lobed nucleus has several parts
    return np.isin(parts, lobes)


def _red(lab: NDArray[np.float32], inside: NDArray[np.bool_], nucleus: NDArray[np.bool_], stained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Stained pixels nearer in colour to the red cells outside the ellipse than to nucleus and rim; empty without red cells."""
    outside = stained & ~inside
    if outside.sum() < 0.02 * inside.size:
        return np.zeros_like(inside)
    rim = inside & stained & ~nucleus & (cv2.dilate(nucleus.astype(np.uint8), _disc(max(3, inside.shape[0] // 24))) > 0)
    red = np.median(lab[outside], axis=0)
    own = [np.median(lab[nucleus], axis=0)] + ([np.median(lab[rim], axis=0)] if rim.sum() >= 16 else [])
    if min(np.linalg.norm(red - colour) for colour in own) < _MIN_CONTRAST:
        return np.zeros_like(inside)  # the stain does not tell them apart: keep the ellipse's word
    to_own = np.min([np.linalg.norm(lab - colour, axis=2) for colour in own], axis=0)
    return inside & ~nucleus & (np.linalg.norm(lab - red, axis=2) < to_own)


def _component_with(mask: NDArray[np.bool_], seed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of `mask` that meet `seed`, holes filled."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8))
    kept = mask & np.isin(parts, np.unique(parts[seed & mask]))
    contours, _ = cv2.findContours(kept.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled > 0


def _smooth(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bays and cracks closed, then spurs and specks cut off."""
    disc = _disc(max(1, mask.shape[0] // 40))
    room = 2 * len(disc)  # a margin, or the border of the crop would shape the mask
    padded = np.pad(mask.astype(np.uint8), room)
    smooth = cv2.morphologyEx(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc), cv2.MORPH_OPEN, disc)
    return smooth[room:-room, room:-room] > 0


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _lab(rgb: Image) -> NDArray[np.float32]:
    """CIE L*a*b*, L in 0..100. (…, 3) uint8 → float32."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def _otsu(values: NDArray[np.float32]) -> float:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    levels = ((values - low) * (255 / (high - low))).astype(np.uint8).reshape(-1, 1)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return low + float(level) * (high - low) / 255
