"""Results as a YOLO folder: `images/train/`, `labels/train/`, `data.yaml`, ready for `python -m datasets.yolo`.

Format: ultralytics detection sets, flat as most tools want them (`a/one` → `a__one`). It has room for a class and a box: scores,
probabilities and doubts stay behind.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from smear import annotations
from smear.exports.folder import Item
from smear.exports.marks import Batch, Sheet, flat_names
from smear.types import Detections

SPLIT = "train"  # of a set that nobody has split yet


def write(batch: Batch) -> Iterator[Item]:
    """One label file a field, empty when nothing was found, each picture, and `data.yaml`.

    Raises:
        AnnotationError: a box is empty at the format's precision.
    """
    labels = list(dict.fromkeys(name for sheet in batch.sheets for name in sheet.result.classes))
    kinds = {"white_classes": labels} if labels else {}
    yield "data.yaml", annotations.data_yaml_text(batch.classes, [SPLIT], **kinds).encode()
    flat = flat_names([sheet.stem for sheet in batch.sheets])
    for sheet in batch.sheets:
        name = flat[sheet.stem]
        text = annotations.labels_text(truth_of(sheet, batch.classes), sheet.result.shape_hw, name=sheet.result.field.id)
        yield f"labels/{SPLIT}/{name}.txt", text.encode()
        yield f"images/{SPLIT}/{name}{PurePosixPath(sheet.image).suffix}", sheet.result


def truth_of(sheet: Sheet, classes: tuple[str, ...]) -> Detections:
    """The marks of a field as if they were truth: boxes (N, 4), labels that index `classes`, scores 1."""
    corners = np.array([m.box for m in sheet.marks], np.float32).reshape(-1, 4)
    labels = np.array([classes.index(m.label) for m in sheet.marks], np.int64)
    return Detections(corners, np.ones(len(sheet.marks), np.float32), labels)
