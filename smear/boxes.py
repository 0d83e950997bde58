"""Box geometry: convert, clip, overlap, suppress. Boxes are (N, 4) float32, x0 y0 x1 y1, half-open."""

import numpy as np
from numpy.typing import NDArray

from smear.types import Detections

Boxes = NDArray[np.float32]


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
    order = np.argsort(-found.scores, kind="stable")
    found = found.take(order)
    kept: list[int] = []
    alive = np.ones(len(found), bool)
    for i in range(len(found)):
        if not alive[i]:
            continue
        kept.append(i)
        rest = np.flatnonzero(alive[i + 1 :] & (across_classes | (found.labels[i + 1 :] == found.labels[i]))) + i + 1
        if len(rest):
            alive[rest[iou(found.boxes[i : i + 1], found.boxes[rest])[0] > iou_above]] = False
    return found.take(np.array(kept, np.int64))
