"""The annotated copy of a field: boxes, labels and probabilities that stay legible at any magnification.

Kinds differ by colour (Okabe and Ito's palette, safe for colour-blind readers) and by line: the first class is drawn thick, the others
thinner, red cells and platelets hair-thin; a cell that needs a review is dashed and carries a question mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smear import boxes
from smear.types import Cell, FieldResult, Image

Colour = tuple[int, int, int]
VERMILLION, BLUE, GREEN, ORANGE, PURPLE = (213, 94, 0), (0, 114, 178), (0, 158, 115), (230, 159, 0), (204, 121, 167)
GREY, INK, PAPER = (110, 110, 110), (34, 34, 34), (255, 255, 255)
CLASS_COLOURS = (VERMILLION, BLUE, PURPLE, ORANGE)  # in the order of the classifier's classes
OTHER_COLOURS = {"RBC": GREY, "Platelets": ORANGE}
WHITE_CELL_COLOUR = GREEN  # a white cell without a label
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAP_PX = 22.0  # height of a capital at fontScale 1
READABLE_SIDE_PX, MAX_ENLARGE = 1000, 4  # smaller fields are enlarged by a whole factor, so that text beside 20-px cells can be read
SUITS_MOST = 0.85  # a form of label is used when this share of the cells has room for it
MOST_LABELS = 500  # of an overview: more would hide the cells, and placing them takes time by their square
TEXT_ON_TEXT = 3.0  # covering a label is this much worse than covering a cell
NOTICE = "research use only"


@dataclass(frozen=True)
class _Style:
    """Line widths and text height of one picture, pixels."""

    text_px: int
    thick: int
    thin: int
    hair: int

    @property
    def pad(self) -> int:
        return max(2, self.text_px // 3)


@dataclass(frozen=True)
class _Label:
    text: str
    colour: Colour
    place: tuple[int, int, int, int]  # x0 y0 x1 y1 of the label


def draw_field(image: Image, result: FieldResult) -> Image:
    """Paint a result on a copy of its field.

    A field smaller than `READABLE_SIDE_PX` is enlarged 2, 3 or 4 times, and a strip below the picture names the field, the ruler and
    the counts (it is also the legend); so the copy may be larger than the field. Labels lie outside their cell where there is room; the
    numbers are the `cell` column of `cells.csv`. A label reads "12: ALL .93"; in a crowded field "ALL .93", and where even that would
    cover a neighbour "12".

    Args:
        image: (H, W, 3) the field that `result` is about.

    Raises:
        ValueError: the image has another size than the result.
    """
    if image.shape[:2] != tuple(result.shape_hw):
        raise ValueError(f"{result.field.id}: the image is {image.shape[:2]}, the result is about {tuple(result.shape_hw)}")
    factor = enlargement(result.shape_hw)
    canvas = image.copy() if factor == 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    style = _style_of(result, factor, canvas.shape[:2])
    _draw_others(canvas, result, factor, style)
    return _draw_cells(canvas, result, factor, style)


def draw_overview(reduced: Image, result: FieldResult) -> Image:
    """Paint the white cells of a region on a reduced copy of it, with the strip of `draw_field` below.

    Other cells would be hair on hair at this size; they are counted in the strip. With more than `MOST_LABELS` white cells the frames
    stay without labels.

    Args:
        reduced: (h, w, 3), the whole region, smaller.
    """
    factor = reduced.shape[1] / result.shape_hw[1]
    return _draw_cells(reduced.copy(), result, factor, _style_of(result, factor, reduced.shape[:2]))


def _draw_cells(canvas: Image, result: FieldResult, factor: float, style: _Style) -> Image:
    """Frames and labels of the white cells, on the canvas, and the canvas with the strip below."""
    cells = tuple(result.cells())
    for cell in sorted(cells, key=lambda c: c.needs_review):
        width, dash = _width(cell, result, style), 2 * style.text_px // 3 if cell.needs_review else None
        _draw_box(canvas, _corners(cell.box * factor, canvas.shape[:2]), _colour(cell, result), width, dash=dash)
    for label in _place_labels(cells, result, factor, style, canvas.shape[:2]) if len(cells) <= MOST_LABELS else ():
        _draw_label(canvas, label, style)
    return np.vstack([canvas, _footer(result, cells, canvas.shape[1], style)])


def _style_of(result: FieldResult, factor: float, shape_hw: tuple[int, int]) -> _Style:
    return _style(shape_hw, [factor * float(d) for d in boxes.diameters(result.detections.boxes[result.is_white])])


def enlargement(shape_hw: tuple[int, int]) -> int:
    """The whole factor by which the annotated copy of a field of this size is enlarged."""
    return int(np.clip(round(READABLE_SIDE_PX / max(shape_hw)), 1, MAX_ENLARGE))


def _style(shape_hw: tuple[int, int], diameters_px: Sequence[float]) -> _Style:
    """Text 1/75 of the longer side, but no taller than a third of a typical white cell, and never below 12 px."""
    wanted = max(shape_hw) / 75
    if diameters_px:
        wanted = min(wanted, float(np.median(diameters_px)) / 3)
    text_px = int(np.clip(round(wanted), 11, 48))
    return _Style(text_px, thick=max(3, round(text_px / 4)), thin=max(1, round(text_px / 8)), hair=max(1, round(text_px / 14)))


def _colour(cell: Cell, result: FieldResult) -> Colour:
    return CLASS_COLOURS[result.classes.index(cell.label) % len(CLASS_COLOURS)] if cell.label else WHITE_CELL_COLOUR


def _width(cell: Cell, result: FieldResult, style: _Style) -> int:
    return style.thick if cell.label and cell.label == result.classes[0] else max(2, style.thick // 2)


def _draw_others(canvas: Image, result: FieldResult, factor: float, style: _Style) -> None:
    layer = canvas.copy()
    for row in np.flatnonzero(~result.is_white):
        name = result.detector_classes[result.detections.labels[row]]
        colour = OTHER_COLOURS.get(name, GREY)
        x0, y0, x1, y1 = _corners(result.detections.boxes[row] * factor, canvas.shape[:2])
        width = style.hair if name == "RBC" else style.thin
        cv2.rectangle(layer, (x0, y0), (x1, y1), colour, width)
    cv2.addWeighted(layer, 0.6, canvas, 0.4, 0, dst=canvas)


def _draw_box(canvas: Image, corners: tuple[int, int, int, int], colour: Colour, width: int, *, dash: int | None) -> None:
    """A coloured frame, dashed or not, on a paper-white one that keeps it visible on any stain."""
    x0, y0, x1, y1 = corners
    sides = (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0)))
    cv2.rectangle(canvas, (x0, y0), (x1, y1), PAPER, width + 2, cv2.LINE_AA)
    for start, end in sides:
        for a, b in ((start, end),) if dash is None else _dashes(start, end, dash):
            cv2.line(canvas, a, b, colour, width, cv2.LINE_AA)


def _dashes(start: tuple[int, int], end: tuple[int, int], dash: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    n = max(1, round(length / (2 * max(dash, 4))))
    at = np.linspace(start, end, 2 * n + 1)
    return [((int(a[0]), int(a[1])), (int(b[0]), int(b[1]))) for a, b in zip(at[:-1:2], at[1::2], strict=True)]


def _place_labels(
    cells: Sequence[Cell], result: FieldResult, factor: float, style: _Style, shape_hw: tuple[int, int]
) -> tuple[_Label, ...]:
    """The longest form of label that suits nearly all cells; the few that would collide get a shorter one."""
    colours = [_colour(c, result) for c in cells]
    cell_boxes = [c.box * factor for c in cells]
    placed: tuple[_Label, ...] = ()
    for first in range(len(FORMS) - 1):
        texts = [tuple(form(c) for form in FORMS[first:]) for c in cells]
        placed = _place(texts, cell_boxes, colours, style, shape_hw)
        if sum(label.text == forms[0] for label, forms in zip(placed, texts, strict=True)) >= SUITS_MOST * len(cells):
            break
    return placed


def _place(
    texts: Sequence[tuple[str, ...]],
    cell_boxes: Sequence[NDArray[np.float32]],
    colours: Sequence[Colour],
    style: _Style,
    shape_hw: tuple[int, int],
) -> tuple[_Label, ...]:
    """Give each cell the first of its texts that covers no other label or cell; if none can, the last one, where it covers least."""
    labels: list[_Label] = []
    for i, (forms, box) in enumerate(zip(texts, cell_boxes, strict=True)):
        taken = [label.place for label in labels]
        others = np.array([*taken, *(b for j, b in enumerate(cell_boxes) if j != i)], np.float32).reshape(-1, 4)
        weights = np.where(np.arange(len(others)) < len(taken), TEXT_ON_TEXT, 1.0)
        for text in forms:
            places = _candidates(box, _text_size(text, style), style, shape_hw)
            costs = [float((weights * _overlap(np.array(p, np.float32), others)).sum()) for p in places]
            best = int(np.argmin(costs))
            if costs[best] == 0 or text == forms[-1]:
                labels.append(_Label(text, colours[i], places[best]))
                break
    return tuple(labels)


def _candidates(
    box: NDArray[np.float32], size_wh: tuple[int, int], style: _Style, shape_hw: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Above, below and beside the cell, then its inner corners; all are moved into the picture."""
    x0, y0, x1, y1 = _corners(box, shape_hw)
    width, height = size_wh
    gap = style.thick
    outside = [
        *((x, y) for y in (y0 - height - gap, y1 + gap) for x in (x0 - gap // 2, x1 + gap // 2 - width)),
        *((x, y) for x in (x1 + gap, x0 - width - gap) for y in (y0, y1 - height)),
    ]
    free = [(x, y) for x, y in outside if 0 <= y <= shape_hw[0] - height and -width / 2 <= x <= shape_hw[1] - width / 2]
    inside = [(x0, y0), (x1 - width, y0), (x0, y1 - height), (x1 - width, y1 - height)]
    moved = [(min(max(x, 0), max(shape_hw[1] - width, 0)), min(max(y, 0), max(shape_hw[0] - height, 0))) for x, y in (free or inside)]
    return [(x, y, x + width, y + height) for x, y in moved]


def _draw_label(canvas: Image, label: _Label, style: _Style) -> None:
    x0, y0, x1, y1 = label.place
    cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), label.colour, cv2.FILLED)
    _text(canvas, label.text, (x0 + style.pad, y1 - style.pad), style.text_px, PAPER)


def _footer(result: FieldResult, cells: Sequence[Cell], width: int, style: _Style) -> Image:
    """Two lines on paper: the field and its ruler; the counts with the colours of the boxes."""
    text_px = int(np.clip(width / 75, 11, 34))
    line, left = round(text_px * 2.1), text_px
    strip = np.full((2 * line + text_px // 2, width, 3), PAPER, np.uint8)
    notice_px = _text_width(NOTICE, text_px)
    _text(strip, NOTICE, (width - notice_px - left, line), text_px, GREY)
    ruler = f"red cell {result.scale.rbc_px:.0f} px ({result.scale.source})" if result.scale.is_known else "scale unknown"
    _text(strip, _fit(f"{result.field.id}  ·  {ruler}", text_px, width - notice_px - 4 * left), (left, line), text_px, INK)
    x = left
    for text, colour in _legend(result, cells):
        if x + _text_width(text, text_px) + 2 * text_px > width:
            break
        corners = (x, 2 * line - text_px, x + text_px, 2 * line)
        if colour is None:
            _draw_box(strip, corners, INK, max(1, text_px // 8), dash=text_px // 4)
        else:
            cv2.rectangle(strip, corners[:2], corners[2:], colour, cv2.FILLED)
        _text(strip, text, (x + round(1.5 * text_px), 2 * line), text_px, INK)
        x += _text_width(text, text_px) + 3 * text_px
    return strip


def _legend(result: FieldResult, cells: Sequence[Cell]) -> list[tuple[str, Colour | None]]:
    """What the boxes mean and how many there are; None stands for the dashed frame."""
    entries: list[tuple[str, Colour | None]] = [
        (f"{name} {sum(c.label == name for c in cells)}", CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i, name in enumerate(result.classes)
    ]
    unlabelled, n_review = sum(not c.label for c in cells), sum(c.needs_review for c in cells)
    if unlabelled or not result.classes:
        entries.append((f"white cells {unlabelled}", WHITE_CELL_COLOUR))
    if n_review and result.classes:
        entries.append((f"to review {n_review}", None))
    white = {result.detector_classes[k] for k in result.detections.labels[result.is_white]}
    others = [name for name in result.detector_classes if name in OTHER_COLOURS and name not in white]
    return entries + [(f"{name} {result.count(name)}", OTHER_COLOURS[name]) for name in others]


def _full_text(cell: Cell) -> str:
    return f"{cell.index}: {_short_text(cell)}"


def _short_text(cell: Cell) -> str:
    mark = "?" if cell.needs_review else ""
    if not cell.label:
        return f"{cell.detected_as}{mark} {_decimals(cell.detection_score)}"
    return f"{cell.label}{mark} {_decimals(float(cell.probabilities.max()))}"


def _number_text(cell: Cell) -> str:
    return f"{cell.index}{'?' if cell.needs_review else ''}"


FORMS = (_full_text, _short_text, _number_text)  # longest first


def _decimals(share: float) -> str:
    """.93; never a rounded-up 1.00 for what is not certain."""
    return "1.0" if share >= 1 else f".{min(int(share * 100 + 0.5), 99):02d}"


def _text(canvas: Image, text: str, corner: tuple[int, int], text_px: int, colour: Colour) -> None:
    """Write text whose capitals are `text_px` high with its baseline starting at `corner`."""
    cv2.putText(canvas, text, corner, FONT, text_px / FONT_CAP_PX, colour, max(1, round(text_px / 14)), cv2.LINE_AA)


def _text_width(text: str, text_px: int) -> int:
    return int(cv2.getTextSize(text, FONT, text_px / FONT_CAP_PX, max(1, round(text_px / 14)))[0][0])


def _text_size(text: str, style: _Style) -> tuple[int, int]:
    """Width and height of a label with its margin, pixels."""
    return _text_width(text, style.text_px) + 2 * style.pad, style.text_px + 2 * style.pad


def _fit(text: str, text_px: int, width: int) -> str:
    """The text, its beginning cut off where it is too wide (the file name is at the end of an id)."""
    if _text_width(text, text_px) <= width:
        return text
    start = next((i for i in range(len(text)) if _text_width("…" + text[i:], text_px) <= width), len(text))
    return "…" + text[start:]


def _corners(box: NDArray[np.float32], shape_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    return max(x0, 0), max(y0, 0), min(x1, shape_hw[1] - 1), min(y1, shape_hw[0] - 1)


def _overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """The area, in square pixels, that a box shares with each of (N, 4) others."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.clip(size, 0, None).prod(axis=1)
