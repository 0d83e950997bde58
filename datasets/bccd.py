"""BCCD (Shenggan/BCCD_Dataset, MIT): 364 smear fields of one laboratory, VOC XML, with its own train, val and test lists.

Known about it: red cells at the border are often unlabelled; some XML is indented differently; two boxes are empty (dropped, and
noted in the manifest). Patients and slides are unknown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets import convert, voc

CLASSES = ("WBC", "RBC", "Platelets")
ABOUT = {
    "name": "bccd",
    "source": "https://github.com/Shenggan/BCCD_Dataset",
    "licence": "MIT",
    "limits": ["One laboratory.", "Red cells at the border are often unlabelled."],
}


def prepare(arguments: argparse.Namespace) -> Path:
    source = convert.source_folder(arguments.source, "Annotations", "JPEGImages", "ImageSets")
    n_images = len(voc.read_lists(source))
    records = voc.read_records(source, CLASSES)
    return convert.write_yolo(records, arguments.out, classes=CLASSES, about=ABOUT, total=n_images, progress=not arguments.quiet)


def main(argv: Sequence[str] | None = None) -> int:
    return convert.run(convert.parser("bccd", __doc__), argv, prepare)


if __name__ == "__main__":
    raise SystemExit(main())
