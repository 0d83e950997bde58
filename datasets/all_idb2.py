"""ALL-IDB2 (on request from its owners): one centred cell a crop; 1 is a blast (ALL), 0 is none (HEM).

Source form: `ImXXX_Y.tif`, about 257×257 px, 130 of each label; about 30 of the "0" crops show platelets, not white cells. Every crop
was cut from a field of ALL-IDB1, and the numbers do not tell which. With `--all-idb1` the field is found by matching; it goes into the
`field` column (with `field_x`, `field_y`: top left corner, pixels, and `match`: correlation) and crops of one field stay in one split.
Without it `field` is empty, all crops are `test`, and the manifest says that no split by field is possible. Either way: never
train on the one set and test on the other.

The crops are kept as they are. With `--rbc-px` (red-cell diameter on the fields) the crop contract is physical, else it is unknown (null).

Source: Donida Labati, Piuri & Scotti, "ALL-IDB: the acute lymphoblastic leukemia image database for image processing", ICIP 2011.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import convert
from datasets.all_idb1 import FIELD_LABEL, find_files
from datasets.convert import CropRecord
from datasets.groups import split_groups
from datasets.locate import Place, locate_crops
from smear import images
from smear.errors import AnnotationError
from smear.models import CropContract

ABOUT = {
    "name": "all-idb2",
    "source": "https://homes.di.unimi.it/scotti/all/",
    "licence": "on request from its owners; not redistributable",
}
NO_FIELDS = (
    "the fields are unknown (--all-idb1 not given): a split by field is impossible, all crops are test, "
    "and the set must not be mixed with ALL-IDB1"
)
WITH_FIELDS = "cut from ALL-IDB1: never train on the one and test on the other"


def prepare(arguments: argparse.Namespace) -> Path:
    crops = find_files(convert.source_folder(arguments.source))
    places: dict[Path, Place] = {}
    if arguments.all_idb1 is not None:
        fields = find_files(convert.source_folder(arguments.all_idb1))
        places = locate_crops(crops, fields, progress=not arguments.quiet)
    splits = split_by_field(crops, places, seed=arguments.seed) if places else dict.fromkeys(crops, "test")
    contract = None
    if arguments.rbc_px is not None:
        if not arguments.rbc_px > 0:
            raise AnnotationError(f"--rbc-px: must be above 0, got {arguments.rbc_px:g}")
        sides = Counter(max(images.read_image(path).shape[:2]) for path in crops)
        contract = CropContract(unit="rbc", width=round(sides.most_common(1)[0][0] / arguments.rbc_px, 3), background="kept")
    about: dict[str, Any] = {**ABOUT, "rbc_px": arguments.rbc_px, "seed": arguments.seed, "notes": _notes(crops, places)}
    about["leakage"] = WITH_FIELDS if places else NO_FIELDS
    return convert.write_crops(
        _records(crops, places, splits), arguments.out, crop=contract, about=about, total=len(crops), progress=not arguments.quiet
    )


def split_by_field(crops: Sequence[Path], places: Mapping[Path, Place], *, seed: int) -> dict[Path, str]:
    """One split a field, labels in proportion; a crop whose field was not found is `test`, where it can teach nothing."""
    known = [path for path in crops if path in places]
    chosen = split_groups([places[path].field for path in known], [_label(path) for path in known], seed=seed)
    return {path: chosen[places[path].field] if path in places else "test" for path in crops}


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("all_idb2", __doc__)
    made.add_argument("--all-idb1", type=Path, metavar="DIR", help="the ALL-IDB1 set as its owners give it, to find the field of each crop")
    made.add_argument("--rbc-px", type=float, metavar="N", help="red-cell diameter on the fields, pixels; unknown if not given")
    made.add_argument("--seed", type=int, default=0, help="of the split by field (default 0)")
    return convert.run(made, argv, prepare)


def _records(crops: Sequence[Path], places: Mapping[Path, Place], splits: Mapping[Path, str]) -> Iterator[CropRecord]:
    for path in crops:
        place = places.get(path)
        found = {"field_x": str(place.x), "field_y": str(place.y), "match": f"{place.correlation:.3f}"} if place else {}
        yield CropRecord(
            image=images.read_image(path),
            name=path.stem,
            label=_label(path),
            patient=None,
            slide=None,
            field=place.field.name if place else None,
            split=splits[path],
            extra={"source_set": ABOUT["name"], **found},
        )


def _label(path: Path) -> str:
    return FIELD_LABEL[path.stem[-1]]


def _notes(crops: Sequence[Path], places: Mapping[Path, Place]) -> dict[str, list[str]]:
    if not places:
        return {}
    lost = [path.name for path in crops if path not in places]
    odd = [path.name for path, place in places.items() if _label(path) == "ALL" and _label(place.field) == "HEM"]
    notes = {"no field matches; put into test": lost, "a blast, found in a field named as free of blasts": odd}
    return {note: files for note, files in notes.items() if files}


if __name__ == "__main__":
    raise SystemExit(main())
