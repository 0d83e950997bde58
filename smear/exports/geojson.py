"""Results as GeoJSON for QuPath: one file a field, to be imported into the image that is open there.

Format: RFC 7946 in pixels of the full-size image, origin top-left, with the properties of QuPath 0.4 and later (QuPathTypeAdapters):
`objectType`, `classification` {name, color}, `measurements` (numbers), `metadata` (text). The file also names its image and size,
which QuPath passes over and `datasets.geojson` reads.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from smear.draw import CLASS_COLOURS, GREY, OTHER_COLOURS, WHITE_CELL_COLOUR
from smear.draw_labels import Colour
from smear.exports.folder import Item
from smear.exports.marks import Batch, Mark, Sheet

SPACE = uuid.UUID("5d3c5d0e-6f0c-5f39-9a53-3c1d4e0f7a11")  # QuPath wants a UUID a object; the same result gives the same ones


def write(batch: Batch) -> Iterator[Item]:
    """One `<field>.geojson` for each field; QuPath opens the user's own images, so none is written."""
    for sheet in batch.sheets:
        text = json.dumps(document(sheet), ensure_ascii=False, allow_nan=False) + "\n"
        yield f"{sheet.stem}.geojson", text.encode()


def document(sheet: Sheet) -> dict[str, Any]:
    """A FeatureCollection with a closed rectangle for each mark."""
    result = sheet.result
    return {
        "type": "FeatureCollection",
        "image": result.field.id,
        "imageHeight": result.shape_hw[0],
        "imageWidth": result.shape_hw[1],
        "features": [_feature(mark, f"{result.field.id}\n{row}", _colour(mark, sheet)) for row, mark in enumerate(sheet.marks)],
    }


def ring(box: tuple[float, float, float, float]) -> list[list[float]]:
    """The five corners of a closed rectangle, counter-clockwise with y upwards as RFC 7946 asks."""
    x0, y0, x1, y1 = box
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def _feature(mark: Mark, identity: str, colour: Colour) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "objectType": "detection",
        "classification": {"name": mark.label, "color": list(colour)},
        "measurements": mark.numbers(),
    }
    if mark.cell is not None:
        warned = {"warnings": "; ".join(mark.warnings)} if mark.warnings else {}
        properties |= {"name": f"cell {mark.cell}", "metadata": {"detected_as": mark.detected_as, **warned}}
    geometry = {"type": "Polygon", "coordinates": [ring(mark.box)]}
    return {"type": "Feature", "id": str(uuid.uuid5(SPACE, identity)), "geometry": geometry, "properties": properties}


def _colour(mark: Mark, sheet: Sheet) -> Colour:
    """The colour that the annotated field has for it."""
    if mark.cell is None:
        return OTHER_COLOURS.get(mark.label, GREY)
    if not mark.probabilities:
        return WHITE_CELL_COLOUR
    return CLASS_COLOURS[sheet.result.classes.index(mark.label) % len(CLASS_COLOURS)]
