"""TXL-PBC (lugan113/TXL-PBC_Dataset, MIT): 1440 images of four sets, re-annotated, YOLO, train, val and test given.

Known about it: the labels were pre-drawn by a YOLOv8n, so scores flatter YOLO; about 1000 images are near single-cell crops with a
centred white cell; the 640×480 part is copied from BCCD and the 416×416 part is recoloured, flipped BCCD, across the splits of
both: compose it with BCCD by `datasets.compose`, which keeps the twins of every val and test image out of training.
The origin of each image, told by its size, stands in the manifest as `slide`: it groups images of one laboratory, not of one slide.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import convert, yolo
from datasets.convert import Record
from smear import annotations
from smear.errors import AnnotationError

CLASSES = ("WBC", "RBC", "Platelets")
ABOUT = {
    "name": "txl-pbc",
    "source": "https://github.com/lugan113/TXL-PBC_Dataset",
    "licence": "MIT",
    "slide_is": "the laboratory that an image is from, told by its size; no slide is known",
    "labels_from": "boxes pre-drawn by a YOLOv8n and corrected by people, says its source",
    "limits": [
        "Labels were pre-drawn by a YOLOv8n: scores flatter YOLO.",
        "About 1000 images are near single-cell crops with a centred white cell.",
        "The 640×480 part is BCCD, the 416×416 part recoloured and flipped BCCD, across the splits of both.",
    ],
}
ORIGINS = {(480, 640): "bccd", (416, 416): "bcd", (575, 575): "raabin-wbc"}  # (height, width) → origin; the rest is about 360×363
OTHER_ORIGIN = "pbc-barcelona"


def read_records(source: Path) -> Iterator[Record]:
    prepared = annotations.read_data_yaml(source / "data.yaml")
    if prepared.classes != CLASSES:
        raise AnnotationError(f"{source / 'data.yaml'}: names: expected {CLASSES}, got {prepared.classes}")
    return yolo.read_records(prepared, slide_of=lambda shape_hw: ORIGINS.get(shape_hw, OTHER_ORIGIN))


def prepare(arguments: argparse.Namespace) -> Path:
    source = convert.source_folder(arguments.source, "data.yaml", "images", "labels")
    n_images = sum(1 for p in (source / "images").rglob("*") if p.suffix.lower() in annotations.IMAGE_SUFFIXES)
    records = read_records(source)
    return convert.write_yolo(records, arguments.out, classes=CLASSES, about=ABOUT, total=n_images, progress=not arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    return convert.run(convert.parser("txl_pbc", __doc__), argv, prepare)


if __name__ == "__main__":
    raise SystemExit(main())
