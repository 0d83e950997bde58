"""The annotated copy of a field: boxes, labels and probabilities that stay legible at any magnification.

Kinds differ by colour (Okabe and Ito's palette, safe for colour-blind readers) and by line: the first class is drawn thick, the others
thinner, red cells and platelets hair-thin; a cell that needs a review is dashed and carries a question mark.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from smear import boxes
from smear.draw_labels import PAPER, Colour, Style, corners_of, draw_label, fit, place_labels, text_width, write
from smear.types import Cell, FieldResult, Image

VERMILLION, BLUE, GREEN, ORANGE, PURPLE = (213, 94, 0), (0, 114, 178), (0, 158, 115), (230, 159, 0), (204, 121, 167)
GREY, INK = (110, 110, 110), (34, 34, 34)
CLASS_COLOURS = (VERMILLION, BLUE, PURPLE, ORANGE)  # in the order of the classifier's classes
OTHER_COLOURS = {"RBC": GREY, "Platelets": ORANGE}
WHITE_CELL_COLOUR = GREEN  # a white cell without a label
READABLE_SIDE_PX, MAX_ENLARGE = 1000, 4  # smaller fields are enlarged by a whole factor, so that text beside 20-px cells can be read
MOST_LABELS = 500  # of an overview: more would hide the cells, and placing them takes time by their square
NOTICE = "research use only"


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


def _draw_cells(canvas: Image, result: FieldResult, factor: float, style: Style) -> Image:
    """Frames and labels of the white cells, on the canvas, and the canvas with the strip below."""
    cells = tuple(result.cells())
    for cell in sorted(cells, key=lambda c: c.needs_review):
        width, dash = _width(cell, result, style), 2 * style.text_px // 3 if cell.needs_review else None
        _draw_box(canvas, corners_of(cell.box * factor, canvas.shape[:2]), _colour(cell, result), width, dash=dash)
    colours = [_colour(cell, result) for cell in cells]
    for label in place_labels(cells, colours, factor, style, canvas.shape[:2]) if len(cells) <= MOST_LABELS else ():
        draw_label(canvas, label, style)
    return np.vstack([canvas, _footer(result, cells, canvas.shape[1], style)])


def _style_of(result: FieldResult, factor: float, shape_hw: tuple[int, int]) -> Style:
    return _style(shape_hw, [factor * float(d) for d in boxes.diameters(result.detections.boxes[result.is_white])])


def enlargement(shape_hw: tuple[int, int]) -> int:
    """The whole factor by which the annotated copy of a field of this size is enlarged."""
    return int(np.clip(round(READABLE_SIDE_PX / max(shape_hw)), 1, MAX_ENLARGE))


def _style(shape_hw: tuple[int, int], diameters_px: Sequence[float]) -> Style:
    """Text 1/75 of the longer side, but no taller than a third of a typical white cell, and never below 12 px."""
    wanted = max(shape_hw) / 75
    if diameters_px:
        wanted = min(wanted, float(np.median(diameters_px)) / 3)
    text_px = int(np.clip(round(wanted), 11, 48))
    return Style(text_px, thick=max(3, round(text_px / 4)), thin=max(1, round(text_px / 8)), hair=max(1, round(text_px / 14)))


def _colour(cell: Cell, result: FieldResult) -> Colour:
    return CLASS_COLOURS[result.classes.index(cell.label) % len(CLASS_COLOURS)] if cell.label else WHITE_CELL_COLOUR


def _width(cell: Cell, result: FieldResult, style: Style) -> int:
    return style.thick if cell.label and cell.label == result.classes[0] else max(2, style.thick // 2)


def _draw_others(canvas: Image, result: FieldResult, factor: float, style: Style) -> None:
    layer = canvas.copy()
    for row in np.flatnonzero(~result.is_white):
        name = result.detector_classes[result.detections.labels[row]]
        colour = OTHER_COLOURS.get(name, GREY)
        x0, y0, x1, y1 = corners_of(result.detections.boxes[row] * factor, canvas.shape[:2])
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


def _footer(result: FieldResult, cells: Sequence[Cell], width: int, style: Style) -> Image:
    """Two lines on paper: the field and its ruler; the counts with the colours of the boxes."""
    text_px = int(np.clip(width / 75, 11, 34))
    line, left = round(text_px * 2.1), text_px
    strip = np.full((2 * line + text_px // 2, width, 3), PAPER, np.uint8)
    notice_px = text_width(NOTICE, text_px)
    write(strip, NOTICE, (width - notice_px - left, line), text_px, GREY)
    ruler = f"red cell {result.scale.rbc_px:.0f} px ({result.scale.source})" if result.scale.is_known else "scale unknown"
    write(strip, fit(f"{result.field.id}  ·  {ruler}", text_px, width - notice_px - 4 * left), (left, line), text_px, INK)
    x = left
    for text, colour in _legend(result, cells):
        if x + text_width(text, text_px) + 2 * text_px > width:
            break
        corners = (x, 2 * line - text_px, x + text_px, 2 * line)
        if colour is None:
            _draw_box(strip, corners, INK, max(1, text_px // 8), dash=text_px // 4)
        else:
            cv2.rectangle(strip, corners[:2], corners[2:], colour, cv2.FILLED)
        write(strip, text, (x + round(1.5 * text_px), 2 * line), text_px, INK)
        x += text_width(text, text_px) + 3 * text_px
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
