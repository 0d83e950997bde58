"""Pictures of the errors of an evaluation: each cell among its neighbours, framed in the colours of the annotated fields."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from smear.draw import CLASS_COLOURS, INK, WHITE_CELL_COLOUR
from smear.draw_labels import PAPER, Colour
from smear.errors import ImageError
from smear.images import encode, read_image
from smear.report.gallery import ErrorItem, choose_errors
from smear.report.views import look
from smear.types import Field, FieldResult, Image, Outcome

VIEW_PX = 320
VIEW_WIDTH = 2.4  # boxes across a picture: the cell and what is beside it
QUALITY = 82  # JPEG; about 15 kB a picture
FRAME_PX = 2

Read = Callable[[Field], Image]


def picture_errors(errors: Sequence[Mapping[str, Any]], outcomes: Iterable[Outcome], *, read: Read | None = None) -> list[ErrorItem]:
    """The errors that the page shows, with their pictures; those of a field that cannot be read are left out.

    Args:
        errors: `metrics["errors"]`: `field`, `owner`, `truth`, `label`, `p`, `score`, `box` and perhaps `true_box` in pixels of the field.
        outcomes: those of the run; each field is decoded once, by `read` (default: from its file).
    """
    read = read or (lambda field: read_image(field.path, page=field.page))
    results = {o.field.id: o for o in outcomes if isinstance(o, FieldResult)}
    chosen = [e for e in choose_errors(errors) if e["field"] in results]
    pictures: dict[int, bytes] = {}
    for name in sorted({e["field"] for e in chosen}):
        try:
            image = read(results[name].field)
        except ImageError:  # it was read before: taken away since
            continue
        for i, error in enumerate(chosen):
            if error["field"] == name:
                pictures[i] = encode(error_picture(image, error, results[name].classes), ".jpg", quality=QUALITY)
    return [_item(error, pictures[i]) for i, error in enumerate(chosen) if i in pictures]


def error_picture(image: Image, error: Mapping[str, Any], classes: Sequence[str]) -> Image:
    """(VIEW_PX, VIEW_PX, 3) uint8: what was found in the colour of its label, the truth, where it is elsewhere, dashed in ink.

    A missed cell has nothing found: its frame is the truth.
    """
    found = None if error.get("score") is None else np.array(error["box"], np.float32)
    truth = error.get("true_box") if found is not None else error["box"]
    true_box = None if truth is None else np.array(truth, np.float32)
    shown = [box for box in (found, true_box) if box is not None]
    around = np.concatenate([np.min(shown, axis=0)[:2], np.max(shown, axis=0)[2:]])
    view = look(image, around, VIEW_WIDTH * float(max(around[2:] - around[:2])), VIEW_PX)
    for box, colour, dashed in ((true_box, INK, True), (found, _colour(error.get("label"), classes), False)):
        if box is not None:
            _frame(view.picture, view.place(box), colour, dashed=dashed)
    return view.picture


def _colour(label: str | None, classes: Sequence[str]) -> Colour:
    return CLASS_COLOURS[classes.index(label) % len(CLASS_COLOURS)] if label in classes else WHITE_CELL_COLOUR


def _frame(view: Image, box: np.ndarray, colour: Colour, *, dashed: bool) -> None:
    """A frame on a paper-white one, which keeps it visible on any stain."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    cv2.rectangle(view, (x0, y0), (x1, y1), PAPER, FRAME_PX + 2, cv2.LINE_AA)
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for start, end in pairwise(corners):
        n = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / 14)) if dashed else 1
        at = np.linspace(start, end, 2 * n).round().astype(int)
        for a, b in zip(at[::2], at[1::2], strict=True):
            cv2.line(view, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), colour, FRAME_PX, cv2.LINE_AA)


def _item(error: Mapping[str, Any], image: bytes) -> ErrorItem:
    return ErrorItem(error["owner"], error["field"], error["truth"], error["label"], error["p"], error["score"], image)
