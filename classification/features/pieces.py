"""From a mask of everything that is stained to the one cell in the middle, and to the lobes of its nucleus."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

_MIDDLE = 0.12  # of the side: a cell that comes no nearer to the middle is a neighbour
_HEART = 0.05  # of the side: the depth of a cell is measured here, where no neighbour adds to it
_SPECK = 0.01  # of the crop's area: a smaller cell or nucleus is none
_LOBE = 0.08  # of the largest part of a nucleus: a smaller part is a granule
_HOLE = 0.01  # of the crop's area: a larger hole is glass between cells that touch
_NECK = 0.85  # of the smaller inner radius: cells that touch by a narrower neck are two
_LEVELS = np.linspace(0.3, 0.8, 6)  # of the cell's inner radius: where necks are looked for, below `_NECK`
_ARM, _CORNER = 0.6, 0.1  # of the cell's inner radius: an arm of less half-width is no part of it; what its corners keep
_SMOOTH = 1 / 50  # of the side, radius: cracks and spurs that are thinner go


def central(mask: Mask) -> Mask:
    """The one cell (S, S) that holds the middle or comes near it, cut from those that it touches, holes filled; or nothing."""
    mask = smooth(mask)
    n, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    side, cell = len(mask), np.zeros_like(mask)
    if n < 2:
        return cell
    far = distances(side)
    near = np.array([np.inf, *(_nearest(parts, far, i, _box(stats[i], side)) for i in range(1, n))])
    best = min(range(1, n), key=lambda i: (max(near[i], 0.02), -stats[i, cv2.CC_STAT_AREA]))
    if near[best] > _MIDDLE or stats[best, cv2.CC_STAT_AREA] < _SPECK * side**2:
        return cell
    box = _box(stats[best], side)
    whole = _fill(parts[box] == best, most_px=_HOLE * side**2)
    cell[box] = _fill(_split(whole, far[box]), most_px=side**2)
    return cell


def lobes(mask: Mask, cell: Mask) -> Mask:
    """The parts (S, S) of a nucleus, specks left out and holes filled; empty when all of them are specks."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(smooth(mask & cell).astype(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    least = max(_SPECK * mask.size, _LOBE * areas[1:].max()) if n > 1 else 0
    kept = np.array([i > 0 and areas[i] >= least for i in range(n)])
    return _fill(kept[parts], most_px=mask.size) & cell


def grow(mask: Mask, side: int) -> Mask:
    """The mask at (side, side), its outline smooth."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) > 0.5)


def smooth(mask: Mask) -> Mask:
    """Cracks closed, then spurs and specks cut off."""
    element = disc(max(1, round(_SMOOTH * len(mask))))
    room = len(element)  # a margin, or the border of the crop would shape the mask
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), room, room, room, room, cv2.BORDER_REPLICATE)
    done = cv2.morphologyEx(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, element), cv2.MORPH_OPEN, element)
    return done[room:-room, room:-room] > 0


def disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element of that radius, pixels."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def distances(side: int) -> Plane:
    """(S, S) distance from the middle, in sides."""
    y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    return np.asarray(np.hypot(x, y) / side, np.float32)


def _nearest(parts: NDArray[np.int32], far: Plane, part: int, box: tuple[slice, slice]) -> float:
    return float(far[box][parts[box] == part].min())


def _split(cell: Mask, far: Plane) -> Mask:
    """Of cells that touch, the one in the middle; thin arms go too."""
    depth = _depth(cell)
    peak = _peak(depth, far)
    inner = float(depth[peak])
    if inner <= 0:
        return np.zeros_like(cell)
    part = _part(depth, peak)
    if not part.all():
        cell = cell & part
        depth = _depth(cell)
    _, parts = cv2.connectedComponents((depth > _ARM * inner).astype(np.uint8), connectivity=4)
    if not parts[peak]:
        return cell
    return cell & (_away(parts == parts[peak]) <= (_ARM + _CORNER) * inner)  # an opening that leaves the corners


def _part(depth: Plane, peak: tuple[int, int]) -> Mask:
    """(S, S) what lies nearer to the cell in the middle than to those that hang on it by a neck.

    Sunk to some depth the mask falls into islands; two of them are two cells if both rise well above the water. The cut
    runs halfway between the shores.
    """
    part = np.ones(depth.shape, bool)
    for level in _LEVELS * depth[peak]:
        n, islands, stats, _ = cv2.connectedComponentsWithStats(((depth > level) & part).astype(np.uint8))
        own = islands[peak]
        if n <= 2:
            continue
        others = [i for i in range(1, n) if i != own and stats[i, cv2.CC_STAT_AREA] > 2 and depth[islands == i].max() * _NECK >= level]
        if others:
            part &= _away(islands == own) <= _away(np.isin(islands, others))
    return part


def _peak(depth: Plane, far: Plane) -> tuple[int, int]:
    """Row and column of the deepest pixel of the cell in the middle, where no neighbour adds to the depth if that can be."""
    heart = far <= (_HEART if depth[far <= _HEART].any() else _MIDDLE)
    row, column = np.unravel_index(np.where(heart, depth, 0).argmax(), depth.shape)
    return int(row), int(column)


def _depth(cell: Mask) -> Plane:
    """(S, S) distance to the edge of the cell, pixels; beyond the crop it goes on."""
    padded = cv2.copyMakeBorder(cell.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def _away(mask: Mask) -> Plane:
    """(S, S) distance to the mask, pixels; 0 inside."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _fill(mask: Mask, *, most_px: float) -> Mask:
    """Without holes, up to that area; a larger one is glass between cells that touch in a ring."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if n < 2:
        return mask
    high, wide = mask.shape
    left, top, width, height, area = stats.T
    inner = (left > 0) & (top > 0) & (left + width < wide) & (top + height < high) & (area <= most_px)
    inner[0] = False  # the mask itself
    return mask | inner[parts]


def _box(stats: NDArray[np.int32], side: int) -> tuple[slice, slice]:
    """Rows and columns of a connected part, from its line of statistics, and one more each way as far as the picture goes."""
    left, top, width, height = (int(v) for v in stats[:4])
    return slice(max(0, top - 1), min(side, top + height + 1)), slice(max(0, left - 1), min(side, left + width + 1))
