"""Results as COCO: `annotations/instances_default.json` and `images/`, as pycocotools, FiftyOne and CVAT read them.

Format: Lin et al. 2014, https://cocodataset.org/#format-data. `score` is the detector's; what COCO has no place for stands in
`attributes`, as CVAT writes them.
"""

import json
from collections.abc import Iterator
from typing import Any

from smear import __version__
from smear.exports.folder import Item
from smear.exports.marks import DIGITS, Batch, Mark, white_classes
from smear.report.summary import NOTICE


def write(batch: Batch) -> Iterator[Item]:
    """The annotation file, and each picture below `images/`."""
    text = json.dumps(document(batch), ensure_ascii=False, allow_nan=False) + "\n"
    yield "annotations/instances_default.json", text.encode()
    for sheet in batch.sheets:
        yield f"images/{sheet.image}", sheet.result


def document(batch: Batch) -> dict[str, Any]:
    """The COCO file: ids count from 1; a class of the classifier has the white cell's class as `supercategory`."""
    white = white_classes(batch)
    labels = {name for sheet in batch.sheets for name in sheet.result.classes}
    heading = white[0] if len(white) == 1 else ""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sheet in batch.sheets:
        field, (height, width) = sheet.result.field, sheet.result.shape_hw
        number = len(images) + 1
        images.append({"id": number, "file_name": sheet.image, "height": height, "width": width, "field": field.id, "slide": field.slide})
        for mark in sheet.marks:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(mark, batch.classes)})
    return {
        "info": {"description": f"leukofield results. {NOTICE}", "version": __version__, "failed": [f.field.id for f in batch.failures]},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n, "supercategory": heading if n in labels else ""} for i, n in enumerate(batch.classes, 1)],
    }


def _annotation(mark: Mark, classes: tuple[str, ...]) -> dict[str, Any]:
    x0, y0, x1, y1 = mark.box
    width, height = round(x1 - x0, DIGITS), round(y1 - y0, DIGITS)
    attributes: dict[str, Any] = {"detected_as": mark.detected_as}
    if mark.cell is not None:
        known = {k: v for k, v in mark.numbers().items() if k != "score"}
        attributes |= {**known, "needs_review": mark.needs_review, "warnings": "; ".join(mark.warnings)}
    return {
        "category_id": classes.index(mark.label) + 1,
        "bbox": [x0, y0, width, height],
        "area": round(width * height, DIGITS),
        "segmentation": [],
        "iscrowd": 0,
        "score": mark.score,
        "attributes": attributes,
    }
