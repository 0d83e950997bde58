"""A whole painted field: the cells are laid on a canvas of optical density, photographed, and boxed by what was painted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.paint.camera import photograph
from datasets.paint.clutter import lay_debris, paint_plasma
from datasets.paint.places import Place, arrange
from datasets.paint.red import paint_platelet, paint_red
from datasets.paint.shapes import Patch, Spot
from datasets.paint.style import SlideStyle
from datasets.paint.white import KINDS, paint_white
from smear.types import Detections, Image

CLASSES = ("ALL", "HEM", "RBC", "Platelets")
CLASSES_WBC = ("WBC", "RBC", "Platelets")
SHARP_RBC_PX = 36  # smaller red cells are painted larger and averaged down
VISIBLE_SHARE = 0.3  # a cell of which less can be seen is not labelled …
WHITE_VISIBLE_SHARE = 0.15  # … and of a white cell, whose stain shows it from a sliver
MARGIN = 2.4  # canvas beyond the field, red-cell diameters: room for whole patches
WHITE_HIDING, PLATELET_HIDING = 0.9, 0.3  # how much of what lies below is lost
EDGE_COVER = {"RBC": 0.5, "Platelets": 0.15}  # a pixel belongs to the cell above this cover; platelets have a soft edge


@dataclass(frozen=True)
class PaintedField:
    """A painted field and all that is known of it.

    image: (H, W, 3) uint8 RGB. truth: N boxes with score 1; `labels` index `classes`. kinds: N names, `RBC`, `Platelets` or a key of
    `white.KINDS`. masks: (H, W) int32, 0 or 1 + the row of the uppermost labelled cell there.
    """

    image: Image
    truth: Detections
    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    masks: NDArray[np.int32]


@dataclass(frozen=True)
class _Canvas:
    density: NDArray[np.float32]  # (h, w, 3), drawn on in place
    owner: NDArray[np.int32]  # (h, w), 0 or 1 + index of the uppermost place
    margin_px: int
    rbc_px: float


@dataclass(frozen=True)
class _Labelled:
    truth: Detections  # in pixels of the picture
    kinds: tuple[str, ...]
    rows: tuple[int, ...]  # indices of the places


def paint_field(
    rng: np.random.Generator,
    style: SlideStyle,
    *,
    shape_hw: tuple[int, int],
    rbc_px: float,
    classes: Sequence[str] = CLASSES,
    blank: bool = False,
) -> PaintedField:
    """Paint one field of a slide; the same generator state gives the same bytes.

    Every cell is labelled by the tight box of its painted mask, clipped to the field, unless less than `VISIBLE_SHARE` of that box (white
    cells: `WHITE_VISIBLE_SHARE`) lies inside the field and uncovered by white cells. Smudged nuclei, precipitate and dust are painted and
    never labelled.

    Args:
        shape_hw: of the field, pixels.
        rbc_px: median red-cell diameter (mean of box width and height), pixels; 12 to 120 were tried.
        classes: `CLASSES`, or `CLASSES_WBC` where the kind of white cell does not matter.
        blank: a field without any cell.

    Raises:
        ValueError: `classes` is neither of the two, or a size is not positive.
    """
    if tuple(classes) not in (CLASSES, CLASSES_WBC):
        raise ValueError(f"classes: must be {CLASSES} or {CLASSES_WBC}, got {tuple(classes)!r}")
    if min(shape_hw) < 1 or not rbc_px > 0:
        raise ValueError(f"shape_hw and rbc_px must be positive, got {shape_hw} and {rbc_px}")
    zoom = max(1, int(np.ceil(SHARP_RBC_PX / rbc_px)))
    large_hw = (shape_hw[0] * zoom, shape_hw[1] * zoom)
    places = [] if blank else arrange(rng, style, large_hw, rbc_px * zoom)
    canvas = _empty_canvas(rng, style, large_hw, rbc_px * zoom)
    spans = [_lay(rng, style, canvas, place, number) for number, place in enumerate(places, 1)]
    lay_debris(rng, style, canvas.density, margin_px=canvas.margin_px, rbc_px=canvas.rbc_px)
    inside = tuple(slice(canvas.margin_px, canvas.margin_px + side) for side in large_hw)
    owner = canvas.owner[inside]
    labelled = _label(places, np.array(spans).reshape(-1, 4) - canvas.margin_px, owner, zoom, tuple(classes))
    rename = np.zeros(len(places) + 1, np.int32)
    rename[np.array(labelled.rows, np.int64) + 1] = np.arange(1, len(labelled.rows) + 1)
    image = photograph(rng, style, canvas.density[inside], zoom=zoom, rbc_px=rbc_px)
    return PaintedField(image, labelled.truth, tuple(classes), labelled.kinds, rename[owner[zoom // 2 :: zoom, zoom // 2 :: zoom]])


def _empty_canvas(rng: np.random.Generator, style: SlideStyle, large_hw: tuple[int, int], rbc_px: float) -> _Canvas:
    margin_px = int(np.ceil(MARGIN * rbc_px))
    shape_hw = (large_hw[0] + 2 * margin_px, large_hw[1] + 2 * margin_px)
    return _Canvas(paint_plasma(rng, style, shape_hw, rbc_px), np.zeros(shape_hw, np.int32), margin_px, rbc_px)


def _lay(rng: np.random.Generator, style: SlideStyle, canvas: _Canvas, place: Place, number: int) -> tuple[int, int, int, int]:
    """Paint one cell onto the canvas, in place; returns the box of its mask, canvas pixels."""
    x, y = place.x + canvas.margin_px, place.y + canvas.margin_px
    column, row = int(np.floor(x)), int(np.floor(y))
    spot = Spot(place.diameter, canvas.rbc_px, (x - column - 0.5, y - row - 0.5))  # pixel centres lie at .5
    patch, hiding = _paint(rng, style, place.kind, spot)
    mask = patch.cover > EDGE_COVER.get(place.kind, 0.5)
    top, left = row - mask.shape[0] // 2, column - mask.shape[1] // 2
    height, width = canvas.owner.shape
    window = (slice(max(top, 0), min(top + mask.shape[0], height)), slice(max(left, 0), min(left + mask.shape[1], width)))
    shown = tuple(slice(w.start - first, w.stop - first) for w, first in zip(window, (top, left), strict=True))  # part of the patch
    canvas.density[window] *= 1 - np.float32(hiding) * patch.cover[shown][..., None]
    canvas.density[window] += patch.density[shown]
    canvas.owner[window][mask[shown]] = number
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _paint(rng: np.random.Generator, style: SlideStyle, kind: str, spot: Spot) -> tuple[Patch, float]:
    """The cell, and how much of what lies below it is lost."""
    if kind == "RBC":
        return paint_red(rng, style, spot), style.hiding
    if kind == "Platelets":
        return paint_platelet(rng, style, spot), PLATELET_HIDING
    return paint_white(rng, style, KINDS[kind], spot), WHITE_HIDING


def _label(places: Sequence[Place], spans: NDArray[np.int64], owner: NDArray[np.int32], zoom: int, classes: tuple[str, ...]) -> _Labelled:
    """The cells that can be seen; spans (N, 4) are the boxes of whole masks in pixels of `owner` (h, w)."""
    height, width = owner.shape
    white = np.array([False, *(place.kind in KINDS for place in places)])  # by owner number
    boxes, labels, rows = [], [], []
    for row, (place, full) in enumerate(zip(places, spans, strict=True)):
        box = np.clip(full, 0, (width, height, width, height))
        if (box[2:] - box[:2] < 1.5 * zoom).any():
            continue
        above = owner[box[1] : box[3], box[0] : box[2]]
        free = 1.0 if white[row + 1] else 1.0 - float(white[above].mean())
        visible = free * np.prod((box[2:] - box[:2]) / (full[2:] - full[:2]))
        if visible < (WHITE_VISIBLE_SHARE if white[row + 1] else VISIBLE_SHARE):
            continue
        name = place.kind if not white[row + 1] else "WBC" if "WBC" in classes else KINDS[place.kind].label
        boxes.append(box / zoom)
        labels.append(classes.index(name))
        rows.append(row)
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    truth = Detections(corners, np.ones(len(rows), np.float32), np.array(labels, np.int64))
    return _Labelled(truth, tuple(places[row].kind for row in rows), tuple(rows))
