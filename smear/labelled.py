"""Fields with their truth, as a prepared set holds them."""

from dataclasses import dataclass

from smear import annotations
from smear.annotations import DataSet
from smear.images import header, read_bytes
from smear.types import Detections, Field


@dataclass(frozen=True)
class Labelled:
    """Fields with their truth; `classes` name the labels, some of them kinds of white cells, some regions that nobody labelled."""

    fields: tuple[Field, ...]
    truths: tuple[Detections, ...]
    classes: tuple[str, ...]
    white_classes: tuple[str, ...] = ()
    ignored_classes: tuple[str, ...] = ()


def read_labelled(data: DataSet, split: str) -> Labelled:
    """The fields and truth of a split; slide and patient come from the manifest when there is one. No image is decoded.

    Raises:
        AnnotationError, ImageError: a label file or image is wrong; an evaluation has no use for a part of the truth.
    """
    manifest = annotations.read_manifest(data.root) or {}
    known = {entry["file"]: entry for entry in manifest.get("files", [])}
    fields, truths = [], []
    for path in data.images(split):
        name = path.relative_to(data.root).as_posix() if path.is_relative_to(data.root) else path.name
        entry = known.get(name, {})
        fields.append(Field(name, path, slide=entry.get("slide") or "", patient=entry.get("patient")))
        shape_hw = header(read_bytes(fields[-1]), name=str(path)).shape_hw
        truths.append(annotations.read_labels(annotations.label_path(path), shape_hw, len(data.classes)))
    return Labelled(tuple(fields), tuple(truths), data.classes, data.white_classes, data.ignored_classes)
