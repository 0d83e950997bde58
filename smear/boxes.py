"""Box geometry: convert, clip, overlap, suppress. Boxes are (N, 4) float32, x0 y0 x1 y1, half-open."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smear.types import Detections

Boxes = NDArray[np.float32]
Indices = NDArray[np.int64]
PAIRS_AT_ONCE = 2**20  # pairs of boxes looked at together; about 50 MB
ROUNDING_PX = 0.1  # more than coordinates of the largest field are rounded by
BOXES_A_STRIP = 64  # fewer are as soon compared at once


def from_yolo(rows: Boxes, shape_hw: tuple[int, int]) -> Boxes:
    """(N, 4) centre-x centre-y width height, relative to the image in [0, 1] → pixel corners."""
    height, width = shape_hw
    centre, half = rows[:, :2], rows[:, 2:] / 2
    scale = np.array([width, height, width, height], np.float32)
    return (np.concatenate([centre - half, centre + half], axis=1) * scale).astype(np.float32)  # (N, 4)


def to_yolo(boxes: Boxes, shape_hw: tuple[int, int]) -> Boxes:
    """Pixel corners → (N, 4) centre-x centre-y width height, relative to the image."""
    height, width = shape_hw
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    scale = np.array([width, height, width, height], np.float32)
    return (np.concatenate([centre, size], axis=1) / scale).astype(np.float32)  # (N, 4)


def clip(boxes: Boxes, shape_hw: tuple[int, int]) -> Boxes:
    """The part of each box inside the image; a box wholly outside becomes empty."""
    height, width = shape_hw
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)


def area(boxes: Boxes) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def centres(boxes: Boxes) -> NDArray[np.float32]:
    """(N, 2) x y."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)


def diameters(boxes: Boxes) -> NDArray[np.float32]:
    """The mean of width and height of each box, pixels."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).mean(axis=1), np.float32)


def iou(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every pair, (N, M) in [0, 1]; two empty boxes overlap by 0."""
    corner0 = np.maximum(a[:, None, :2], b[None, :, :2])
    corner1 = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(corner1 - corner0, 0, None), axis=2)  # (N, M)
    union = area(a)[:, None] + area(b)[None] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def touches_edge(boxes: Boxes, shape_hw: tuple[int, int], *, margin_px: float = 1.0) -> NDArray[np.bool_]:
    """Which boxes reach the border of the image: cells cut by it have no measurable size."""
    height, width = shape_hw
    low, high = boxes[:, :2] <= margin_px, boxes[:, 2:] >= np.array([width, height]) - margin_px
    return np.asarray((low | high).any(axis=1))


def suppress(found: Detections, *, iou_above: float, across_classes: bool = False) -> Detections:
    """Greedy non-maximum suppression within each class, or `across_classes`: of two boxes overlapping more, the higher score stays.

    Returns the kept rows, highest score first; equal scores keep their order, so the result is deterministic.
    """
    return found.take(survivors(found, iou_above=iou_above, across_classes=across_classes))


def survivors(found: Detections, *, iou_above: float, across_classes: bool = False) -> NDArray[np.int64]:
    """Indices of the rows that `suppress` keeps, in its order.

    Args:
        iou_above: 0 or more. Only boxes that could overlap by more are compared (sides of rivals share more than that part of the longer
            one): 50,000 cells of a slide take neither time nor memory by their square.
    """
    order = np.argsort(-found.scores, kind="stable")
    corners, labels = found.boxes[order], found.labels[order]
    middle, half = centres(corners), (corners[:, 2:] - corners[:, :2]) / 2 * max(0.0, 1 - iou_above)
    cores = np.concatenate([middle - half, middle + half], axis=1)  # (N, 4); those of rivals still touch

    def rivals(i: Indices, j: Indices) -> NDArray[np.bool_]:
        return np.asarray((across_classes | (labels[i] == labels[j])) & (pair_iou(corners[i], corners[j]) > iou_above))

    return order[~defeated(cores, rivals, grow_px=ROUNDING_PX)]


def defeated(ranked: Boxes, rivals: Callable[[Indices, Indices], NDArray[np.bool_]], *, grow_px: float = 0.0) -> NDArray[np.bool_]:
    """(N,) which boxes repeat an earlier one that repeats none itself.

    Args:
        ranked: (N, 4), best first. rivals: which of K pairs (K,), (K,), earlier and later, show one object; asked for touching pairs only.
        grow_px: boxes touch when they do so grown by this on every side.
    """
    earlier, later = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for a, b in touching(ranked + np.array([-grow_px, -grow_px, grow_px, grow_px], np.float32)):
        i, j = np.minimum(a, b), np.maximum(a, b)
        same = rivals(i, j)
        earlier.append(i[same])
        later.append(j[same])
    first, second = np.concatenate(earlier), np.concatenate(later)
    by_rank = np.argsort(first, kind="stable")
    first, second = first[by_rank], second[by_rank]
    bounds = np.flatnonzero(np.diff(first, prepend=-1, append=-1)).tolist()  # of the pairs of each earlier box
    gone = np.zeros(len(ranked), bool)
    for start, end in pairwise(bounds):
        if not gone[first[start]]:  # all that could defeat it came before
            gone[second[start:end]] = True
    return gone


def touching(corners: Boxes) -> Iterator[tuple[Indices, Indices]]:
    """All pairs of boxes that share some area, each once, in portions of about `PAIRS_AT_ONCE` candidates.

    Boxes are looked at in horizontal strips; a pair belongs to the strip in which the part that both cover begins.
    """
    edges = _strips(corners)
    for top, bottom in pairwise(edges):
        rows = np.flatnonzero((corners[:, 1] < bottom) & (corners[:, 3] > top))
        for i, j in _sweep(corners[rows]):
            begins = np.maximum(corners[rows[i], 1], corners[rows[j], 1])
            mine = (begins >= top) & (begins < bottom)
            yield rows[i[mine]], rows[j[mine]]


def _strips(corners: Boxes) -> list[float]:
    """Edges of strips that hold all boxes: twice as high as most boxes are, so that few lie in two, and not for a few boxes alone."""
    if not len(corners):
        return []
    low, high = float(corners[:, 1].min()), float(corners[:, 3].max())
    height = 2 * float(np.median(corners[:, 3] - corners[:, 1]))
    n = max(1, min(len(corners) // BOXES_A_STRIP, int((high - low) / max(height, 1e-6))))
    return [-np.inf, *(low + (high - low) * k / n for k in range(1, n)), np.inf]


def _sweep(corners: Boxes) -> Iterator[tuple[Indices, Indices]]:
    """The pairs of one strip, from left to right."""
    order = np.argsort(corners[:, 0], kind="stable")
    x0, y0, x1, y1 = corners[order].T
    n_right = np.maximum(np.searchsorted(x0, x1) - np.arange(len(order)) - 1, 0)  # (N,) boxes that begin, further right, before this ends
    before = np.concatenate([[0], np.cumsum(n_right)])
    start = 0
    while start < len(order):
        end = max(start + 1, int(np.searchsorted(before, before[start] + PAIRS_AT_ONCE, side="right")) - 1)
        left = np.repeat(np.arange(start, end), n_right[start:end])
        right = left + 1 + np.arange(len(left)) - (before[left] - before[start])
        meet = (y0[left] < y1[right]) & (y0[right] < y1[left])
        yield order[left[meet]], order[right[meet]]
        start = end


def pair_iou(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """(K,) intersection over union of K pairs, row by row; as `iou` gives it."""
    size = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    inter = size[:, 0] * size[:, 1]
    union = area(a) + area(b) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
