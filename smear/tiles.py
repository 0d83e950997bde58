"""Tiles that own their cells: plan windows over a field, merge what was found in them."""

from collections.abc import Sequence

import numpy as np

from smear import boxes
from smear.errors import ConfigError
from smear.types import Detections, Tile

SLACK_PX = 4  # a centre predicted this far outside its core still counts; two tiles never agree to the pixel


def plan_tiles(shape_hw: tuple[int, int], *, tile_px: int, overlap_px: int) -> tuple[Tile, ...]:
    """Cover a field with windows of at most `tile_px`; their cores partition the field.

    Neighbouring views share at least `overlap_px`, which must be no smaller than the largest cell plus
    twice `SLACK_PX`: then every cell is whole in the tile that owns its centre. Windows are spread evenly, so none is a sliver.

    Raises:
        ConfigError: the overlap leaves no room in the tile.
    """
    if not 0 <= overlap_px < tile_px:
        raise ConfigError(f"overlap_px: must be in [0, tile_px = {tile_px}), got {overlap_px}")
    rows, columns = (_plan_axis(length, tile_px, overlap_px) for length in shape_hw)
    return tuple(
        Tile(view=(vx0, vy0, vx1, vy1), core=(cx0, cy0, cx1, cy1)) for (vy0, vy1, cy0, cy1) in rows for (vx0, vx1, cx0, cx1) in columns
    )


def merge(tiles: Sequence[Tile], found: Sequence[Detections], *, iou: float = 0.5) -> Detections:
    """Join per-tile detections into one set for the whole field.

    A detection is kept by the tile whose core, grown by `SLACK_PX`, contains its centre; the slack is what
    two tiles may disagree by, and the suppression removes the few cells it lets through twice.

    Args:
        tiles: T tiles of one field, as made by `plan_tiles`.
        found: T detections, in the pixels of their tile.
        iou: boxes of one class overlapping more than this, in [0, 1], are duplicates; the higher score stays.

    Returns:
        Detections in field pixels, highest score first; N may be 0.

    Raises:
        ValueError: `tiles` and `found` differ in length.

    Source: the block responsibility rule of StarDist (predict_instances_big).
    """
    if len(tiles) != len(found):
        raise ValueError(f"{len(tiles)} tiles but {len(found)} sets of detections")
    owned = [_owned(tile, d.shift(tile.view[0], tile.view[1])) for tile, d in zip(tiles, found, strict=True)]
    return boxes.suppress(Detections.concat(owned), iou_above=iou)


def _owned(tile: Tile, found: Detections) -> Detections:
    centre = boxes.centres(found.boxes)  # (N, 2)
    x0, y0, x1, y1 = tile.core
    low, high = np.array([x0, y0]) - SLACK_PX, np.array([x1, y1]) + SLACK_PX
    return found.take(((centre >= low) & (centre < high)).all(axis=1))


def _plan_axis(length: int, tile_px: int, overlap_px: int) -> list[tuple[int, int, int, int]]:
    if length <= tile_px:
        return [(0, length, 0, length)]
    n = -(-(length - overlap_px) // (tile_px - overlap_px))
    starts = [round(i * (length - tile_px) / (n - 1)) for i in range(n)]
    cuts = [0, *((starts[i] + tile_px + starts[i + 1]) // 2 for i in range(n - 1)), length]
    return [(s, s + tile_px, cuts[i], cuts[i + 1]) for i, s in enumerate(starts)]
