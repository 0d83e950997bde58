"""Tiles that own their cells: plan windows over a field, merge what was found in them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.errors import ConfigError
from smear.types import Detections, Tile

SLACK_PX = 4  # a centre predicted this far outside its core still counts; two tiles never agree to the pixel
FRAME_PX, STEP_PX = 16, 32  # a detector frames a window by so much and takes multiples of the step: a window between two would be padded
_SEPARATE = 0.75  # centres of two cells of one class are further apart than this share of their diameter


def plan_tiles(shape_hw: tuple[int, int], *, tile_px: int, overlap_px: int, snug: bool = False) -> tuple[Tile, ...]:
    """Cover a field with windows of at most `tile_px`; their cores partition the field.

    Neighbouring views share at least `overlap_px`, which must be no smaller than the largest cell plus
    twice `SLACK_PX`: then every cell is whole in the tile that owns its centre. Windows are spread evenly, so none is a sliver.
    With `snug` they are no larger than as many windows must be, and with their frame a multiple of `STEP_PX`: less is looked at twice.

    Raises:
        ConfigError: the overlap leaves no room in the tile.
    """
    if not 0 <= overlap_px < tile_px:
        raise ConfigError(f"overlap_px: must be in [0, tile_px = {tile_px}), got {overlap_px}")
    rows, columns = (_plan_axis(length, _snug(length, tile_px, overlap_px) if snug else tile_px, overlap_px) for length in shape_hw)
    return tuple(
        Tile(view=(vx0, vy0, vx1, vy1), core=(cx0, cy0, cx1, cy1)) for (vy0, vy1, cy0, cy1) in rows for (vx0, vx1, cx0, cx1) in columns
    )


def merge(tiles: Sequence[Tile], found: Sequence[Detections], *, iou: float = 0.5) -> Detections:
    """Join per-tile detections into one set for the whole field.

    A detection is kept by the tile whose core, grown by `SLACK_PX`, contains its centre; the slack is what a tile
    may be wrong by. The few cells near a seam that two tiles keep are recognised by their place (small cells jitter
    out of any overlap limit; classes may differ) and count once; the rest is ordinary suppression within a class.

    Args:
        tiles: T tiles of one field, as made by `plan_tiles`.
        found: T detections, in the pixels of their tile.
        iou: boxes of one class, or of two tiles near their seam, that overlap more than this, in [0, 1], are duplicates;
            the higher score stays.

    Returns:
        Detections in field pixels, highest score first; N may be 0.

    Raises:
        ValueError: `tiles` and `found` differ in length.

    Source: the block responsibility rule of StarDist (predict_instances_big).
    """
    if len(tiles) != len(found):
        raise ValueError(f"{len(tiles)} tiles but {len(found)} sets of detections")
    in_field = [d.shift(tile.view[0], tile.view[1]) for tile, d in zip(tiles, found, strict=True)]
    return Detections.concat(in_field).take(merged_rows(tiles, in_field, iou=iou))


def merged_rows(tiles: Sequence[Tile], found: Sequence[Detections], *, iou: float = 0.5) -> NDArray[np.int64]:
    """`merge` for detections that are in field pixels already: which rows of all of them, one tile after the other, it keeps."""
    everything = Detections.concat(found)
    owners = np.repeat(np.arange(len(tiles)), [len(d) for d in found])  # (N,) index of the tile that saw each
    rows = np.flatnonzero(np.concatenate([np.zeros(0, bool), *(owned(t, d) for t, d in zip(tiles, found, strict=True))]))
    near_seam = np.concatenate([np.zeros(0, bool), *(_near_seam(t, d) for t, d in zip(tiles, found, strict=True))])
    rows = rows[~_seen_twice(everything.take(rows), owners[rows], near_seam[rows], iou)]
    return rows[boxes.survivors(everything.take(rows), iou_above=iou)]


def owned(tile: Tile, found: Detections) -> NDArray[np.bool_]:
    """(N,) which detections, in field pixels, a tile keeps: their centre lies in its core, grown by `SLACK_PX`."""
    centre = boxes.centres(found.boxes)  # (N, 2)
    x0, y0, x1, y1 = tile.core
    low, high = np.array([x0, y0]) - SLACK_PX, np.array([x1, y1]) + SLACK_PX
    return np.asarray(((centre >= low) & (centre < high)).all(axis=1))


def _near_seam(tile: Tile, found: Detections) -> NDArray[np.bool_]:
    """(N,) which cells another tile may keep as well: it keeps up to one slack inside this core, by a centre up to two off."""
    centre = boxes.centres(found.boxes)
    x0, y0, x1, y1 = tile.core
    near = (centre < np.array([x0, y0]) + 3 * SLACK_PX) | (centre >= np.array([x1, y1]) - 3 * SLACK_PX)
    return np.asarray(near.any(axis=1))


def _seen_twice(found: Detections, owners: NDArray[np.int64], near_seam: NDArray[np.bool_], iou: float) -> NDArray[np.bool_]:
    """(N,) detections near a seam that repeat, from another tile, one with a higher score.

    They repeat it when the boxes overlap more than `iou` whatever the class, or when the class is the same and the
    centres are nearer than two wrong tiles can put them and than two separate cells of that size can lie.
    """
    index = np.flatnonzero(near_seam)
    index = index[np.argsort(-found.scores[index], kind="stable")]
    ranked, labels, owner = found.boxes[index], found.labels[index], owners[index]
    centre, diameter = boxes.centres(ranked), boxes.diameters(ranked)

    def rivals(i: boxes.Indices, j: boxes.Indices) -> NDArray[np.bool_]:
        gap = np.abs(centre[j] - centre[i]).max(axis=1, initial=0)
        reach = np.minimum(2 * SLACK_PX, _SEPARATE * (diameter[j] + diameter[i]) / 2)
        same_place = (labels[j] == labels[i]) & (gap <= reach)
        return np.asarray((owner[j] != owner[i]) & (same_place | (boxes.pair_iou(ranked[i], ranked[j]) > iou)))

    doubled = np.zeros(len(found), bool)
    doubled[index[boxes.defeated(ranked, rivals, grow_px=SLACK_PX + 1)]] = True
    return doubled


def _n_windows(length: int, tile_px: int, overlap_px: int) -> int:
    return -(-(length - overlap_px) // (tile_px - overlap_px))


def _snug(length: int, tile_px: int, overlap_px: int) -> int:
    """The smallest window that covers the length as often as `tile_px` does and is, in its frame, a multiple of `STEP_PX`."""
    if length <= tile_px:
        return tile_px
    n = _n_windows(length, tile_px, overlap_px)
    needed = -(-(length + (n - 1) * overlap_px) // n)
    return min(tile_px, -(-(needed + 2 * FRAME_PX) // STEP_PX) * STEP_PX - 2 * FRAME_PX)


def _plan_axis(length: int, tile_px: int, overlap_px: int) -> list[tuple[int, int, int, int]]:
    if length <= tile_px:
        return [(0, length, 0, length)]
    n = _n_windows(length, tile_px, overlap_px)
    starts = [round(i * (length - tile_px) / (n - 1)) for i in range(n)]
    cuts = [0, *((starts[i] + tile_px + starts[i + 1]) // 2 for i in range(n - 1)), length]
    return [(s, s + tile_px, cuts[i], cuts[i + 1]) for i, s in enumerate(starts)]
