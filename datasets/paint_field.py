"""A whole painted field: where the cells lie, how they are laid on the canvas, what the microscope and the camera make of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.paint_cells import (
    HEM_SHARES,
    KINDS,
    Patch,
    Plane,
    grid,
    outline,
    paint_platelet,
    paint_red,
    paint_white,
    ramp,
    relative_radius,
    smooth_noise,
)
from datasets.paint_style import SlideStyle
from smear.types import Detections, Image

CLASSES = ("ALL", "HEM", "RBC", "Platelets")
CLASSES_WBC = ("WBC", "RBC", "Platelets")
SHARP_RBC_PX = 36  # red cells smaller than this are painted larger and averaged down
VISIBLE_SHARE = 0.3  # a cell of which less can be seen is not labelled
MARGIN = 2.4  # canvas beyond the field, red-cell diameters: cells are cut by the border, not by their patch
WHITE_HIDING = 0.9  # how much of what lies below a white cell is lost
GLARE = 0.04  # stray light: no stain is black in any channel
MAX_TRIES = 8  # places tried for one cell before it is left out


@dataclass(frozen=True)
class PaintedField:
    """A painted field and all that is known of it.

    image (H, W, 3) uint8 RGB; truth: N boxes with score 1, `labels` index `classes`; kinds: N names (`RBC`, `Platelets` or a key of
    `paint_cells.KINDS`); masks (H, W) int32: 0, or 1 + the row of the white cell or platelet, or else red cell, seen there.
    """

    image: Image
    truth: Detections
    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    masks: NDArray[np.int32]


@dataclass(frozen=True)
class _Place:
    kind: str
    x: float
    y: float
    diameter: float


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

    Every cell is labelled by the tight box of its painted mask, clipped to the field, unless less than `VISIBLE_SHARE` of the mask lies
    inside the field and uncovered by a white cell. Smudged nuclei, stain precipitate and dust are painted and never labelled.

    Args:
        shape_hw: of the field, pixels.
        rbc_px: median red-cell diameter (mean of box width and height), pixels; 12 to 120 were tried.
        classes: `CLASSES`, or `CLASSES_WBC` where the kinds of white cell do not matter.
        blank: a field without any cell.

    Raises:
        ValueError: `classes` is neither of the two, or a size is not positive.
    """
    if tuple(classes) not in (CLASSES, CLASSES_WBC):
        raise ValueError(f"classes: must be {CLASSES} or {CLASSES_WBC}, got {tuple(classes)!r}")
    if min(shape_hw) < 1 or not rbc_px > 0:
        raise ValueError(f"shape_hw and rbc_px must be positive, got {shape_hw} and {rbc_px}")
    zoom = max(1, int(np.ceil(SHARP_RBC_PX / rbc_px)))
    unit = rbc_px * zoom
    inner_hw = (shape_hw[0] * zoom, shape_hw[1] * zoom)
    places = [] if blank else _arrange(rng, style, inner_hw, unit)
    margin = int(np.ceil(MARGIN * unit))
    canvas = np.zeros((inner_hw[0] + 2 * margin, inner_hw[1] + 2 * margin, 3), np.float32)
    owner = np.zeros(canvas.shape[:2], np.int32)
    _lay_background(rng, style, canvas, margin, unit)
    spans = [_lay(rng, style, canvas, owner, p, i + 1, margin, unit) for i, p in enumerate(places)]
    _lay_debris(rng, style, canvas, margin, unit)
    inside = (slice(margin, margin + inner_hw[0]), slice(margin, margin + inner_hw[1]))
    truth, kinds, rows = _label(places, spans, owner[inside], inner_hw, margin, zoom, tuple(classes), shape_hw)
    renumber = np.zeros(len(places) + 1, np.int32)
    renumber[np.array(rows, np.int64) + 1] = np.arange(1, len(rows) + 1)
    masks = renumber[owner[inside][zoom // 2 :: zoom, zoom // 2 :: zoom]]
    image = _photograph(rng, style, canvas[inside], shape_hw, zoom, unit)
    return PaintedField(image, truth, tuple(classes), kinds, masks)


def _arrange(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int], unit: float) -> list[_Place]:
    """Which cells lie where, in drawing order: red cells, white cells, platelets."""
    height, width = shape_hw
    squares = height * width / unit**2
    busy = rng.gamma(2.0, 0.5)  # fields of one slide differ: some are empty of white cells, some crowded
    n_white = min(int(rng.poisson(style.white_rate * squares * busy)), int(0.12 * squares) + 1)
    n_red = int(style.coverage * np.exp(rng.normal(0, 0.22)) * squares / 0.785)
    n_platelet = int(rng.poisson(style.platelet_rate * squares))
    white: list[_Place] = []
    for _ in range(n_white):
        kind = "blast" if rng.random() < style.blast_share else str(rng.choice(list(HEM_SHARES), p=list(HEM_SHARES.values())))
        median, spread, low, high = KINDS[kind].diameter
        diameter = float(np.clip(median * np.exp(rng.normal(0, spread)), low, high)) * unit
        near = white[int(rng.integers(len(white)))] if white and rng.random() < 0.25 else None
        _settle(rng, white, kind, diameter, shape_hw, near=near, closest=0.97)
    red: list[_Place] = []
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(n_red):
        diameter = float(unit * np.exp(np.clip(rng.normal(0, style.anisocytosis), -0.35, 0.35)))
        near = red[int(rng.integers(max(0, len(red) - 4), len(red)))] if red and rng.random() < style.cohesion else None
        heading = heading + rng.normal(0, 0.35) if near else rng.uniform(0, 2 * np.pi)
        _settle(rng, red, "RBC", diameter, shape_hw, near=near, closest=style.closest, heading=heading, avoid=white)
    platelets: list[_Place] = []
    for _ in range(n_platelet):
        diameter = unit * float(np.clip(np.exp(rng.normal(np.log(0.33), 0.28)), 0.17, 0.75))
        near = platelets[-1] if platelets and rng.random() < 0.25 else None
        _settle(rng, platelets, "Platelets", diameter, shape_hw, near=near, closest=0.95, avoid=white if rng.random() < 0.9 else [])
    return [*red, *white, *platelets]


def _settle(
    rng: np.random.Generator,
    laid: list[_Place],
    kind: str,
    diameter: float,
    shape_hw: tuple[int, int],
    *,
    near: _Place | None,
    closest: float,
    heading: float | None = None,
    avoid: Sequence[_Place] = (),
) -> None:
    """Append one cell to `laid` where it keeps its distance; after MAX_TRIES it is left out."""
    others = np.array([(p.x, p.y, p.diameter, closest) for p in laid] + [(p.x, p.y, p.diameter, 0.96) for p in avoid]).reshape(-1, 4)
    margin = 0.45 * diameter
    for attempt in range(MAX_TRIES):
        if near is not None and attempt < 3:
            angle = heading if heading is not None and attempt == 0 else rng.uniform(0, 2 * np.pi)
            apart = rng.uniform(closest, 1.03) * (near.diameter + diameter) / 2
            x, y = near.x + apart * np.cos(angle), near.y + apart * np.sin(angle)
        else:
            x, y = rng.uniform(-margin, shape_hw[1] + margin), rng.uniform(-margin, shape_hw[0] + margin)
        if not (-margin <= x <= shape_hw[1] + margin and -margin <= y <= shape_hw[0] + margin):
            continue
        apart_all = np.hypot(others[:, 0] - x, others[:, 1] - y)
        if (apart_all >= others[:, 3] * (others[:, 2] + diameter) / 2 - 1e-6).all():
            laid.append(_Place(kind, float(x), float(y), diameter))
            return


def _lay(
    rng: np.random.Generator,
    style: SlideStyle,
    canvas: NDArray[np.float32],
    owner: NDArray[np.int32],
    place: _Place,
    number: int,
    margin: int,
    unit: float,
) -> tuple[int, int, int, int, int]:
    """Paint one cell onto the canvas; returns the box of its mask in canvas pixels and the mask's area."""
    ix, iy = int(np.floor(place.x)) + margin, int(np.floor(place.y)) + margin
    offset = (place.x + margin - ix - 0.5, place.y + margin - iy - 0.5)  # pixel centres lie at .5
    size = {"diameter_px": place.diameter, "rbc_px": unit}
    if place.kind == "RBC":
        patch = paint_red(rng, style, **size, offset_xy=offset)
    elif place.kind == "Platelets":
        patch = paint_platelet(rng, style, **size, offset_xy=offset)
    else:
        patch = paint_white(rng, style, KINDS[place.kind], **size, offset_xy=offset)
    mask = _mask(patch, place.kind)
    top, left = iy - mask.shape[0] // 2, ix - mask.shape[1] // 2
    window = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
    hiding = style.hiding if place.kind == "RBC" else WHITE_HIDING
    canvas[window] *= 1 - np.float32(hiding) * patch.cover[..., None]
    canvas[window] += patch.density
    owner[window][mask] = number
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1, int(mask.sum())


def _mask(patch: Patch, kind: str) -> NDArray[np.bool_]:
    return patch.cover > (0.5 if kind != "Platelets" else 0.15)


def _lay_background(rng: np.random.Generator, style: SlideStyle, canvas: NDArray[np.float32], margin: int, unit: float) -> None:
    """Stained protein between the cells, in the colour of the cytoplasm and the red cells."""
    haze = np.abs(smooth_noise(rng, canvas.shape[:2], 2.5 * unit)) * style.plasma * rng.uniform(0.3, 1.5)
    tint = np.array(style.red) * 0.6 + np.array(style.cytoplasm) * 0.4
    canvas += haze[..., None] * tint.astype(np.float32)


def _lay_debris(rng: np.random.Generator, style: SlideStyle, canvas: NDArray[np.float32], margin: int, unit: float) -> None:
    """Stain precipitate, dust out of focus and smudged nuclei: things that are not cells, and not labelled."""
    height, width = canvas.shape[0] - 2 * margin, canvas.shape[1] - 2 * margin
    squares = height * width / unit**2
    for what, n in (("speck", rng.poisson(style.debris_rate * squares)), ("smudge", rng.poisson(style.smudge_rate * squares))):
        for _ in range(int(n)):
            x, y = int(rng.integers(width)) + margin, int(rng.integers(height)) + margin
            if what == "speck":
                density = _speck(rng, style, unit)
            else:
                density = _smudge(rng, style, unit)
            reach = density.shape[0] // 2
            canvas[y - reach : y + reach + 1, x - reach : x + reach + 1] += density


def _speck(rng: np.random.Generator, style: SlideStyle, unit: float) -> NDArray[np.float32]:
    size = rng.uniform(0.02, 0.07) * unit
    dust = rng.random() < 0.5
    reach = int(4 * size) + 3
    dx, dy = grid(reach)
    plane = np.zeros_like(dx)
    for _ in range(1 if dust else int(rng.integers(1, 5))):
        x, y = rng.normal(0, 0.8 * size, 2)
        plane += ramp(
            size * rng.uniform(0.5, 1.1) - np.hypot(dx - x, (dy - y) * rng.uniform(0.7, 1.4)), max(1.5, size * rng.uniform(0.4, 2))
        )
    colour = np.ones(3) if dust else np.array(style.nucleus) + 0.2
    return (plane[..., None] * colour * rng.uniform(0.1, 0.35 if dust else 1.1)).astype(np.float32)


def _smudge(rng: np.random.Generator, style: SlideStyle, unit: float) -> NDArray[np.float32]:
    radius = rng.uniform(0.7, 1.3) * unit
    edge = outline(rng, {2: 0.2, 3: rng.uniform(0, 0.2), 5: rng.uniform(0, 0.15), 8: rng.uniform(0, 0.1)}) * radius
    reach = int(edge.max()) + 3
    dx, dy = grid(reach)
    rho, edge_px = relative_radius(dx, dy, edge)
    strands = np.clip(0.6 + 0.35 * smooth_noise(rng, dx.shape, 0.15 * unit), 0, None)
    plane = ramp((1 - rho) * edge_px, 0.8 * radius) * strands * style.white_density * rng.uniform(0.2, 0.5)
    return (plane[..., None] * np.array(style.nucleus)).astype(np.float32)


def _label(
    places: Sequence[_Place],
    spans: Sequence[tuple[int, int, int, int, int]],
    owner: NDArray[np.int32],
    inner_hw: tuple[int, int],
    margin: int,
    zoom: int,
    classes: tuple[str, ...],
    shape_hw: tuple[int, int],
) -> tuple[Detections, tuple[str, ...], list[int]]:
    """Boxes of the cells that can be seen, with their kinds and their rows in `places`."""
    height, width = inner_hw
    boxes, labels, kinds, rows = [], [], [], []
    white = np.array([p.kind in KINDS for p in places], bool)
    for i, (place, span) in enumerate(zip(places, spans, strict=True)):
        full = np.array(span[:4]) - margin
        box = np.clip(full, 0, (width, height, width, height))
        if (box[2:] - box[:2] < 1.5 * zoom).any():
            continue
        seen = owner[box[1] : box[3], box[0] : box[2]]
        hidden = white[np.maximum(seen, 1) - 1] & (seen > 0) & (seen != i + 1) if not white[i] else np.zeros_like(seen, bool)
        shown = np.prod((box[2:] - box[:2]) / (full[2:] - full[:2])) * (1 - hidden.mean())
        if shown < VISIBLE_SHARE:
            continue
        name = place.kind if place.kind not in KINDS else (KINDS[place.kind].label if "ALL" in classes else "WBC")
        boxes.append(box / zoom)
        labels.append(classes.index(name))
        kinds.append(place.kind)
        rows.append(i)
    return (
        Detections(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(rows), np.float32), np.array(labels, np.int64)),
        tuple(kinds),
        rows,
    )


def _photograph(
    rng: np.random.Generator, style: SlideStyle, density: NDArray[np.float32], shape_hw: tuple[int, int], zoom: int, unit: float
) -> Image:
    """Light through the slide, then lens, sensor and JPEG; (H, W, 3) uint8."""
    light = GLARE + (1 - GLARE) * np.exp(-density)
    sigma = style.defocus * unit * float(np.exp(rng.normal(0, 0.25)))
    if sigma > 0.35:
        light = cv2.GaussianBlur(light, (0, 0), sigma)
    if zoom > 1:
        light = cv2.resize(light, (shape_hw[1], shape_hw[0]), interpolation=cv2.INTER_AREA)
    light = _fringe(light, style.fringe_px * unit / zoom)
    light *= _illumination(rng, style, shape_hw)[..., None]
    picture = light * np.array(style.background, np.float32)
    grey = picture.mean(axis=2, keepdims=True)
    base = np.float32(np.mean(style.background))
    tint = picture - grey
    picture = base * np.clip(grey / base, 0, None) ** np.float32(style.gamma) + tint + (style.saturation - 1) * 0.5 * tint
    if style.sharpen:
        picture += style.sharpen * (picture - cv2.GaussianBlur(picture, (0, 0), max(0.8, 0.02 * unit / zoom)))
    picture += style.noise * rng.standard_normal(picture.shape, dtype=np.float32)
    raw = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    ok, coded = cv2.imencode(".jpg", raw[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, style.jpeg_quality])
    assert ok, "OpenCV could not encode a JPEG in memory"
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def _fringe(light: NDArray[np.float32], shift_px: float) -> NDArray[np.float32]:
    """Chromatic aberration: red and blue a little apart."""
    if shift_px < 0.1:
        return light
    channels = []
    for channel, sign in enumerate((1, 0, -1)):
        move = np.array([[1, 0, sign * shift_px], [0, 1, 0.5 * sign * shift_px]], np.float32)
        plane = np.ascontiguousarray(light[..., channel])
        channels.append(cv2.warpAffine(plane, move, plane.shape[::-1], borderMode=cv2.BORDER_REFLECT) if sign else plane)
    return np.stack(channels, axis=-1)


def _illumination(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int]) -> Plane:
    """Vignette about a shifted centre and a gradient, 1 where it is brightest."""
    y, x = np.mgrid[-1 : 1 : shape_hw[0] * 1j, -1 : 1 : shape_hw[1] * 1j].astype(np.float32)
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    angle = rng.uniform(0, 2 * np.pi)
    fall = style.vignette * ((x - cx) ** 2 + (y - cy) ** 2) / 2 + style.gradient * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2
    return np.clip((1 - fall) * rng.uniform(0.97, 1.03), 0.2, None).astype(np.float32)
