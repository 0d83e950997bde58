"""Taleqani hospital ALL set (Kaggle mehradaria/leukemia): fields of a whole-image class, cut into one crop a white cell.

Source form: folders Benign (haematogones, HEM), Early, Pre and Pro (ALL), 3256 JPEG of 224×224 px, numbered; 89 patients, but no patient
ids and no boxes. The detector finds the white cells, and each is labelled by its field: a weak label, as not every cell of such a field
is a blast.

What the fields themselves say, measured on all 3256 (the manifest holds the like for your copy):
* Class follows stain. Eight clusters by colour, made without labels, tell the subtype of 91 % of the fields (adjusted mutual information
  0.70), and ALL from HEM with a balanced accuracy of 0.92. Only two clusters are mixed: 209 HEM with 181 ALL fields, 83 with 27.
* File numbers interleave slides. The median colour distance of fields in Benign is 1.6 between numbers 1, 2, 4 or 5 apart, but 0.74 for 3
  and 0.78 for 6 apart; in Early 0.51 for 1 and 3 apart, 0.32 for 2. `pseudo_slides` parts the streams and cuts them where their
  colours change: 96 pseudo-slides (20 Benign, 24 Early, 23 Pre, 29 Pro); the same fields in shuffled order give no change point.
* Copies, which `pseudo_slides` does not look at, agree with it: of 40 pairs of equal files and 86 of near copies 121 lie within one
  pseudo-slide; of 143 pairs of near neighbours that overlap by a shift, 142. The other pairs show that some slides return later in
  the numbers: pseudo-slides that share a copy are merged, which leaves 91; a return without a copy stays unseen.
* A scale bar is burnt into the lower right corner, in a form that goes with the slide (the commonest form of a pseudo-slide is right
  for 85 % of its fields, of a random group of that size for 64 %) and with the class (all of Pro have one form): crops that touch it
  are left out.

`slide` is the pseudo-slide, an estimate; `patient` stays empty; `group` joins near-duplicate fields; `stain` is the stain cluster. Splits
keep slides whole and share out subtypes. Select models by leaving whole stains out, never by a random split.

Source: Ghaderzadeh et al., Int. J. Intell. Syst. 37 (2022) 5113, doi 10.1002/int.22753.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import convert, finished
from datasets.bars import track
from datasets.convert import CropRecord
from datasets.taleqani_fields import LABEL_OF, FieldFile, Grouping, find_fields, group_fields, numbers
from smear import annotations, boxes, images
from smear.audit import stain
from smear.audit.twins import find_twins
from smear.crops import crop
from smear.errors import AnnotationError
from smear.models import CropContract, open_bundle
from smear.types import Detections, Image, Scale

FindCells = Callable[[Image], tuple[Detections, Scale]]

ABOUT = {
    "name": "taleqani",
    "source": "https://www.kaggle.com/datasets/mehradaria/leukemia",
    "licence": "public, terms not checked: research use only",
    "patients": "unknown; slide is a pseudo-slide estimated from colours and file numbers",
    "labels_from": "each cell carries the label of its field",
    "limits": [
        "Class goes with stain: eight clusters of colour, made without labels, tell ALL from HEM with a balanced accuracy of 0.92.",
        "Not every cell of an ALL field is a blast.",
    ],
}
CONTRACT = CropContract(unit="rbc", width=3.0, background="kept")
SCALE_BAR = (190 / 224, 192 / 224)  # x, y of its corner, relative; it reaches to the lower right corner of the field
N_STAINS = 8


def cut_cells(
    image: Image, cells: Detections, *, rbc_px: float, contract: CropContract = CONTRACT
) -> tuple[list[tuple[int, Image, str]], int]:
    """One native-resolution crop a white cell, and how many were left out because the crop would show the scale bar.

    Args:
        cells: white cells in field pixels. rbc_px: red-cell diameter, pixels of this field.

    Returns:
        Rows (index into `cells`, crop (S, S, 3) with S = width × rbc_px, warnings joined by "; ").
    """
    height, width = image.shape[:2]
    side = round(contract.width * rbc_px)
    reach = boxes.centres(cells.boxes) + side / 2  # (N, 2) right and lower end of the crop
    under_bar = (reach > np.array([SCALE_BAR[0] * width, SCALE_BAR[1] * height])).all(axis=1)
    rows = []
    for i in np.flatnonzero(~under_bar):
        view, warnings = crop(image, cells.boxes[i], contract, rbc_px=rbc_px, out_px=side)
        rows.append((int(i), view, "; ".join(warnings)))
    return rows, int(under_bar.sum())


def slide_rulers(scales: Sequence[Scale], slides: Sequence[str]) -> dict[str, float]:
    """The red-cell diameter of each slide: the median of its fields, pixels; of all fields where none of a slide could be measured.

    Raises:
        AnnotationError: no field at all could be measured.
    """
    known = [(slide, scale.rbc_px) for slide, scale in zip(slides, scales, strict=True) if scale.is_known]
    if not known:
        raise AnnotationError("no field has red cells that the detector can measure; give --rbc-px (about 14 for this set)")
    whole = float(np.median([px for _, px in known]))
    return {slide: float(np.median([px for s, px in known if s == slide] or [whole])) for slide in set(slides)}


def records(
    fields: Sequence[FieldFile], grouping: Grouping, found: Sequence[Detections], rulers: Mapping[str, float], notes: dict[str, list[str]]
) -> Iterator[CropRecord]:
    """One record a cell; fields without a cell and cells under the scale bar are added to `notes` by field."""
    for i, field in enumerate(fields):
        rbc_px = rulers[grouping.slides[i]]
        cut, n_under_bar = cut_cells(images.read_image(field.path), found[i], rbc_px=rbc_px)
        if n_under_bar:
            notes.setdefault("cell left out, its crop would show the scale bar", []).extend([field.id] * n_under_bar)
        if not cut:
            notes.setdefault("field without a usable white cell", []).append(field.id)
        for cell, view, warnings in cut:
            extra = {
                "subtype": field.folder.lower(),
                "stain": grouping.stains[i],
                "group": grouping.groups[i],
                "detection_score": f"{found[i].scores[cell]:.4f}",
                "source_set": ABOUT["name"],
                "rbc_px": f"{rbc_px:.2f}",
                "warnings": warnings,
            }
            yield CropRecord(
                view, f"{field.id}_{cell:02d}", LABEL_OF[field.folder], None, grouping.slides[i], field.id, grouping.splits[i], extra
            )


def prepare(arguments: argparse.Namespace, *, find_cells: FindCells | None = None) -> Path:
    """Detect first, then cut: the ruler of a slide needs all its fields. `find_cells` replaces the detector, for tests."""
    if arguments.rbc_px is not None and not arguments.rbc_px > 0:
        raise AnnotationError(f"--rbc-px: must be above 0, got {arguments.rbc_px:g}")
    fields = find_fields(convert.source_folder(arguments.source, *LABEL_OF))
    card = open_bundle(arguments.detector).card if find_cells is None else None
    inputs = finished.inputs_digest(
        fields={field.id: annotations.sha256(field.path) for field in fields},
        detector=card.files if card else "given",
        options=(arguments.rbc_px, arguments.seed, arguments.stains, CONTRACT.model_dump(), SCALE_BAR),
    )
    if finished.is_finished(arguments.out, inputs):
        return Path(arguments.out / "crops.csv")
    quiet = arguments.quiet
    features = np.stack([stain.stain_features(images.read_image(field.path)) for field in track(fields, "stain", shown=not quiet)])
    twins = [(twin.a, twin.b) for twin in find_twins([field.path for field in fields], watch=partial(track, shown=not quiet))]
    grouping = group_fields(fields, features, twins, n_stains=arguments.stains, seed=arguments.seed)
    if find_cells is None:
        find_cells = _detector(arguments)
    seen = [find_cells(images.read_image(field.path)) for field in track(fields, "detect", shown=not quiet)]
    found, scales = [cells for cells, _ in seen], [scale for _, scale in seen]
    rulers = slide_rulers(scales, grouping.slides) if arguments.rbc_px is None else dict.fromkeys(grouping.slides, float(arguments.rbc_px))
    notes: dict[str, list[str]] = {}
    about: dict[str, Any] = {**ABOUT, "seed": arguments.seed, "inputs_sha256": inputs, "notes": notes, **numbers(fields, grouping, twins)}
    about["rbc_px"] = round(float(np.median([rulers[slide] for slide in grouping.slides])), 2)
    about["detector"] = {"name": card.name, "files": card.files} if card else None
    total = sum(map(len, found))
    return convert.write_crops(
        records(fields, grouping, found, rulers, notes), arguments.out, crop=CONTRACT, about=about, total=total, progress=not quiet
    )


def main(argv: Sequence[str] | None = None) -> int:
    made = convert.parser("taleqani", __doc__)
    made.add_argument(
        "--detector", type=Path, required=True, metavar="BUNDLE", help="folder of a detector bundle, such as models/wbc-yolov8n"
    )
    made.add_argument("--rbc-px", type=float, metavar="N", help="red-cell diameter, pixels; measured slide by slide if not given")
    made.add_argument("--stains", type=int, default=N_STAINS, metavar="K", help=f"number of stain clusters (default {N_STAINS})")
    made.add_argument("--seed", type=int, default=0, help="of the clusters and the split (default 0)")
    made.add_argument("--device", default="auto", help="of the detector (default auto)")
    return convert.run(made, argv, prepare)


def _detector(arguments: argparse.Namespace) -> FindCells:
    from smear.build import build_cell_finder

    return build_cell_finder(arguments.detector, device=arguments.device, rbc_px=arguments.rbc_px)


if __name__ == "__main__":
    raise SystemExit(main())
