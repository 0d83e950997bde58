"""What a detection of a white cell is that found none: told apart by the labels it lies on, the border, and its stain."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.scale import WHITE_PER_RED
from smear.types import Detections, FieldResult

EXTRAS = ("background", "debris", "red cell or platelet", "duplicate", "ignored")
SAME_IOU = 0.5  # an object and a box that overlap so are one thing
ON_IOU = 0.1  # less is a neighbour: round cells that touch have boxes overlapping by less than 0.1, pressed together by 0.9 included
ON_SHARE = 0.5  # … unless this much of a small box lies inside, such as a lobe of the nucleus
STAINED_SHARE = 0.2  # of a box darker than 99 % of the field around: 95-100 % of true white cells are, 1-3 % of red cells
SLIVER_SHARE = 0.3  # of the box of a typical white cell: labels leave out cells of which the border hides more than the rest
EDGE_PX = 1.0  # detectors stop within a pixel of the border


def lies_on(found: NDArray[np.float32], things: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, N): the IoU of each found box (M, 4) and each thing (N, 4) that it lies on, else 0.

    It lies on a thing that it overlaps by `ON_IOU`, or that holds `ON_SHARE` of it.

    Source: Bolya et al., TIDE (ECCV 2020) calls less than 0.1 background; the share is ours.
    """
    overlap = boxes.iou(found, things)
    return np.where((overlap >= ON_IOU) | (share_inside(found, things) >= ON_SHARE), overlap, np.float32(0))


def share_inside(found: NDArray[np.float32], things: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, N): how much of each found box lies inside each thing, in [0, 1]; 0 for an empty box."""
    corner0 = np.maximum(found[:, None, :2], things[None, :, :2])
    corner1 = np.minimum(found[:, None, 2:], things[None, :, 2:])
    inner = np.prod(np.clip(corner1 - corner0, 0, None), axis=2)  # (M, N)
    whole = np.broadcast_to(boxes.area(found)[:, None], inner.shape)
    return np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0)


def is_another(found: NDArray[np.float32], white: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M, N): whether a found box is one of the other things rather than that white cell: it overlaps one by `SAME_IOU`, and more."""
    best = boxes.iou(found, others).max(axis=1, initial=0)[:, None]  # (M, 1)
    return np.asarray((best >= SAME_IOU) & (best > boxes.iou(found, white)))


def name_extras(
    found: NDArray[np.float32],
    is_double: NDArray[np.bool_],
    others: Detections,
    is_ignored: NDArray[np.bool_],
    stained: NDArray[np.floating],
    result: FieldResult,
) -> list[str]:
    """One of `EXTRAS` for each of M extra boxes of a field; the first that holds, in this order:

    1. `duplicate`: it lies on a true white cell.
    2. `ignored`: it lies on a label of an ignored class.
    3. `red cell or platelet`: it overlaps a label of another class by `SAME_IOU`.
    4. `ignored`: a sliver at the border, less than `SLIVER_SHARE` of the box of a typical white cell (`WHITE_PER_RED` red cells, by the
       field's measured scale), which labels leave out.
    5. `debris`: `STAINED_SHARE` of it is as dark as white cells are: a stained thing that nobody labelled.
    6. `red cell or platelet`: nothing in it is dark, and it lies on a label of another class.
    7. `background`.

    Args:
        found: (M, 4). is_double: (M,) whether it lies on a true white cell.
        others: labels of the field that are no white cells. is_ignored: (K,) by label, whether its class is ignored.
        stained: (M,) share in [0, 1], NaN when unknown, which is not dark.
    """
    named = is_ignored[others.labels] if len(others) else np.zeros(0, bool)
    ignored, labelled = others.boxes[named], others.boxes[~named]
    on_ignored = np.asarray((lies_on(found, ignored) > 0).any(axis=1))
    is_other = np.asarray(boxes.iou(found, labelled).max(axis=1, initial=0) >= SAME_IOU)
    on_other = np.asarray((lies_on(found, labelled) > 0).any(axis=1))
    rules: Sequence[tuple[str, NDArray[np.bool_]]] = (
        ("duplicate", is_double),
        ("ignored", on_ignored),
        ("red cell or platelet", is_other),
        ("ignored", _is_sliver(found, result)),
        ("debris", np.asarray(stained >= STAINED_SHARE)),
        ("red cell or platelet", on_other),
    )
    return [next((name for name, holds in rules if holds[i]), "background") for i in range(len(found))]


def _is_sliver(found: NDArray[np.float32], result: FieldResult) -> NDArray[np.bool_]:
    """(M,): cut by the border so that little is left; never where the scale is unknown."""
    typical_px = WHITE_PER_RED * result.scale.rbc_px  # NaN when unknown: no comparison holds
    return boxes.touches_edge(found, result.shape_hw, margin_px=EDGE_PX) & (boxes.area(found) < SLIVER_SHARE * typical_px**2)
