"""Results as LabelMe files: `<field>.json` beside its picture, to be opened as a folder, corrected, and read by `datasets.labelme`.

Format: what LabelMe's own reader (labelme/_label_file.py) asks for. It keeps keys that it does not know, so scores and probabilities
outlive a correction; doubts are flags, and `description` tells them in words.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from smear.exports.folder import Item
from smear.exports.marks import Batch, Mark

VERSION = "6.3.1"  # the release whose reader this was tried with


def write(batch: Batch) -> Iterator[Item]:
    """Each picture and its file; a field without cells has a file too: it was looked at."""
    for sheet in batch.sheets:
        field = sheet.result.field
        made = document(PurePosixPath(sheet.image).name, sheet.result.shape_hw, [_shape(m) for m in sheet.marks])
        made |= {"field": field.id, "slide": field.slide}
        yield f"{sheet.stem}.json", (json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        yield sheet.image, sheet.result


def document(image: str, shape_hw: tuple[int, int], shapes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One LabelMe file; `image` is relative to it."""
    return {
        "version": VERSION,
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": None,
        "imageHeight": shape_hw[0],
        "imageWidth": shape_hw[1],
    }


def rectangle(label: str, box: Sequence[float]) -> dict[str, Any]:
    """One shape: a rectangle by two opposite corners."""
    points = [[box[0], box[1]], [box[2], box[3]]]
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": "rectangle", "flags": {}, "mask": None}


def _shape(mark: Mark) -> dict[str, Any]:
    made = {**rectangle(mark.label, mark.box), "score": mark.score}
    if mark.cell is None:
        return made
    words = [f"cell {mark.cell}", *(f"{name} {p:.2f}" for name, p in mark.probabilities), f"{mark.detected_as} {mark.score:.2f}"]
    more = {k: v for k, v in mark.numbers().items() if k not in ("score", "needs_review")}
    return {
        **made,
        "description": "; ".join([*words, *mark.warnings]),
        "flags": {"needs_review": mark.needs_review},
        "attributes": {**more, "detected_as": mark.detected_as, "warnings": list(mark.warnings)},
    }
