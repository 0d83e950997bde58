"""The labels of an annotated field: what they say, how they are written, and where they stand so that they hide as little as can be."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Cell, Image

Colour = tuple[int, int, int]
PAPER = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAP_PX = 22.0  # height of a capital at fontScale 1
SUITS_MOST = 0.85  # a form of label is used when this share of the cells has room for it
TEXT_ON_TEXT = 3.0  # covering a label is this much worse than covering a cell


@dataclass(frozen=True)
class Style:
    """Line widths and text height of one picture, pixels."""

    text_px: int
    thick: int
    thin: int
    hair: int

    @property
    def pad(self) -> int:
        return max(2, self.text_px // 3)


@dataclass(frozen=True)
class Label:
    text: str
    colour: Colour
    place: tuple[int, int, int, int]  # x0 y0 x1 y1 of the label


def place_labels(
    cells: Sequence[Cell], colours: Sequence[Colour], factor: float, style: Style, shape_hw: tuple[int, int]
) -> tuple[Label, ...]:
    """The longest form of label that suits nearly all cells; the few that would collide get a shorter one.

    Args:
        colours: of each cell. factor: the picture's pixels for one of the field. shape_hw: of the picture.
    """
    cell_boxes = [c.box * factor for c in cells]
    placed: tuple[Label, ...] = ()
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
    style: Style,
    shape_hw: tuple[int, int],
) -> tuple[Label, ...]:
    """Give each cell the first of its texts that covers no other label or cell; if none can, the last one, where it covers least."""
    labels: list[Label] = []
    for i, (forms, box) in enumerate(zip(texts, cell_boxes, strict=True)):
        taken = [label.place for label in labels]
        others = np.array([*taken, *(b for j, b in enumerate(cell_boxes) if j != i)], np.float32).reshape(-1, 4)
        weights = np.where(np.arange(len(others)) < len(taken), TEXT_ON_TEXT, 1.0)
        for text in forms:
            places = _candidates(box, _text_size(text, style), style, shape_hw)
            costs = [float((weights * _overlap(np.array(p, np.float32), others)).sum()) for p in places]
            best = int(np.argmin(costs))
            if costs[best] == 0 or text == forms[-1]:
                labels.append(Label(text, colours[i], places[best]))
                break
    return tuple(labels)


def _candidates(
    box: NDArray[np.float32], size_wh: tuple[int, int], style: Style, shape_hw: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Above, below and beside the cell, then its inner corners; all are moved into the picture."""
    x0, y0, x1, y1 = corners_of(box, shape_hw)
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


def draw_label(canvas: Image, label: Label, style: Style) -> None:
    x0, y0, x1, y1 = label.place
    cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), label.colour, cv2.FILLED)
    write(canvas, label.text, (x0 + style.pad, y1 - style.pad), style.text_px, PAPER)


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


def write(canvas: Image, text: str, corner: tuple[int, int], text_px: int, colour: Colour) -> None:
    """Write text whose capitals are `text_px` high with its baseline starting at `corner`."""
    cv2.putText(canvas, text, corner, FONT, text_px / FONT_CAP_PX, colour, max(1, round(text_px / 14)), cv2.LINE_AA)


def text_width(text: str, text_px: int) -> int:
    return int(cv2.getTextSize(text, FONT, text_px / FONT_CAP_PX, max(1, round(text_px / 14)))[0][0])


def _text_size(text: str, style: Style) -> tuple[int, int]:
    """Width and height of a label with its margin, pixels."""
    return text_width(text, style.text_px) + 2 * style.pad, style.text_px + 2 * style.pad


def fit(text: str, text_px: int, width: int) -> str:
    """The text, its beginning cut off where it is too wide (the file name is at the end of an id)."""
    if text_width(text, text_px) <= width:
        return text
    start = next((i for i in range(len(text)) if text_width("…" + text[i:], text_px) <= width), len(text))
    return "…" + text[start:]


def corners_of(box: NDArray[np.float32], shape_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    return max(x0, 0), max(y0, 0), min(x1, shape_hw[1] - 1), min(y1, shape_hw[0] - 1)


def _overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """The area, in square pixels, that a box shares with each of (N, 4) others."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.clip(size, 0, None).prod(axis=1)
