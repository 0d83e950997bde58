"""Results as a Pascal VOC folder: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/default.txt`.

Format: Everingham et al., the PASCAL VOC development kit, with 0-based, half-open corners as labelling tools write them. VOC keeps all
files in one folder, so a subfolder becomes part of the name (`a/one` → `a__one`). Scores and doubts stand in `attributes`, as CVAT
writes them; other readers pass over it.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from smear.exports.folder import Item
from smear.exports.marks import Batch, Mark, flat_names

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def write(batch: Batch) -> Iterator[Item]:
    """One XML file a field, each picture, and the list of all."""
    flat = flat_names([sheet.stem for sheet in batch.sheets])
    for sheet in batch.sheets:
        name = flat[sheet.stem]
        picture = name + PurePosixPath(sheet.image).suffix
        rows = [(m.box, m.label, _attributes(m)) for m in sheet.marks]
        yield f"Annotations/{name}.xml", document(picture, sheet.result.shape_hw, rows, folder=sheet.result.field.slide)
        yield f"JPEGImages/{picture}", sheet.result
    yield "ImageSets/Main/default.txt", "".join(f"{flat[sheet.stem]}\n" for sheet in batch.sheets).encode()


def document(
    filename: str,
    shape_hw: tuple[int, int],
    rows: Sequence[tuple[Sequence[float], str, Mapping[str, str]]],
    *,
    folder: str = "",
) -> bytes:
    """One annotation file: `rows` are box (x0 y0 x1 y1 pixels, written to 3 decimals), class and attributes of each object."""
    root = ElementTree.Element("annotation")
    if folder:
        ElementTree.SubElement(root, "folder").text = folder
    ElementTree.SubElement(root, "filename").text = filename
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", shape_hw[1]), ("height", shape_hw[0]), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    for box, label, attributes in rows:
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = label
        for tag in ("truncated", "difficult"):
            ElementTree.SubElement(item, tag).text = "0"
        corners = ElementTree.SubElement(item, "bndbox")
        for tag, number in zip(CORNERS, box, strict=True):
            ElementTree.SubElement(corners, tag).text = f"{number:.3f}".rstrip("0").rstrip(".")
        if attributes:
            _add_attributes(ElementTree.SubElement(item, "attributes"), attributes)
    ElementTree.indent(root)
    return (ElementTree.tostring(root, encoding="unicode") + "\n").encode()  # by way of text: straight to bytes is much slower


def _add_attributes(parent: ElementTree.Element, attributes: Mapping[str, str]) -> None:
    for key, text in attributes.items():
        item = ElementTree.SubElement(parent, "attribute")
        ElementTree.SubElement(item, "name").text = key
        ElementTree.SubElement(item, "value").text = text


def _attributes(mark: Mark) -> dict[str, str]:
    numbers = {name: f"{value:g}" for name, value in mark.numbers().items()}
    if mark.cell is None:
        return numbers
    words = {"needs_review": str(mark.needs_review).lower(), "detected_as": mark.detected_as, "warnings": "; ".join(mark.warnings)}
    return {**numbers, **words}
