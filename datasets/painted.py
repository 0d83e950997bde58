"""Paint labelled smear fields by code, slide by slide: the offline default for demos, tests and notebooks; never clinical data.

Whole fields as a 100x oil objective shows them under Wright, Giemsa or Leishman stain: biconcave red cells that touch, overlap and are cut
by the border, platelets, white cells, now and then a smudged nucleus (not labelled) and stain precipitate. Boxes are the tight
boxes of the painted masks, clipped to the field; a cell of which less than 30 % can be seen is not labelled.

What tells the classes apart is morphology alone, in red-cell diameters, and no single feature suffices:

* ALL (lymphoblast): larger (median 1.7, 1.35 to 2.25); the nucleus fills 76 to 95 % of the cell; fine, open chromatin; none to three
  nucleoli; an irregular, in 40 % cleft nuclear outline; a thin rim of basophilic cytoplasm, sometimes with vacuoles.
* HEM (normal white cell): mostly the small mature lymphocyte (median 1.3, 1.02 to 1.75; nucleus 64 to 92 %; clumped, dense chromatin;
  smooth round outline; no nucleoli); also segmented neutrophils, monocytes, eosinophils and basophils, as large as blasts.

Stain, white balance, illumination, focus, noise and JPEG quality are drawn per slide, with every slide mixing both classes; the mean
colour of each white cell is set to its slide's, whatever its class. So colour says nothing about the class.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets import convert
from datasets.convert import SPLITS, Record, write_yolo
from datasets.paint.field import CLASSES, CLASSES_WBC, PaintedField, paint_field
from datasets.paint.style import SlideStyle, draw_style
from smear.errors import ConfigError

__all__ = ["CLASSES", "CLASSES_WBC", "PaintedField", "SlideStyle", "draw_style", "main", "paint_field", "paint_set", "split_slides"]

CLASS_SETS = {"cells": CLASSES, "wbc": CLASSES_WBC}
FIELDS_PER_SLIDE = 4  # when --slides is not given
RBC_PX_RANGE = (30.0, 90.0)  # drawn per slide, log-uniform, when --rbc-px is not given
SPLIT_SHARES = (0.70, 0.15, 0.15)  # of the slides, in the order of SPLITS
MAX_SIDE_PX = 20_000


def split_slides(n_slides: int) -> tuple[str, ...]:
    """The split of each of N slides, about 70/15/15; from three slides on no split is empty, and two slides are train and test."""
    if n_slides < 3:
        return ("train", "test")[:n_slides]
    n_held = [max(1, round(share * n_slides)) for share in SPLIT_SHARES[1:]]
    counts = (n_slides - sum(n_held), *n_held)
    return tuple(split for split, n in zip(SPLITS, counts, strict=True) for _ in range(n))


def paint_set(
    *,
    n_fields: int,
    n_slides: int,
    seed: int,
    shape_hw: tuple[int, int],
    rbc_px: float | None = None,
    classes: Sequence[str] = CLASSES,
    blank_share: float = 0.05,
) -> Iterator[Record]:
    """Paint a set field by field; field i lies on slide i mod n_slides, and depends on the seed, its slide and its number alone.

    Args:
        rbc_px: red-cell diameter in pixels, or None to draw one per slide.
        blank_share: chance in [0, 1] that a field holds no cell at all.
    """
    splits = split_slides(n_slides)
    for index in range(n_fields):
        slide = index % n_slides
        slide_rng = np.random.default_rng([seed, 0, slide])
        style = draw_style(slide_rng)
        drawn = round(float(np.exp(slide_rng.uniform(*np.log(RBC_PX_RANGE)))), 1)
        ruler = drawn if rbc_px is None else rbc_px
        rng = np.random.default_rng([seed, 1, index])
        blank = bool(rng.random() < blank_share)
        field = paint_field(rng, style, shape_hw=shape_hw, rbc_px=ruler, classes=classes, blank=blank)
        name = f"slide_{slide:04d}/field_{index:05d}"
        yield Record(None, field.image, name, splits[slide], field.truth, slide=f"painted-{seed}-{slide:04d}", rbc_px=ruler)


def main(argv: Sequence[str] | None = None) -> int:
    return convert.run(_parser(), argv, _write)


def _write(arguments: argparse.Namespace) -> Path:
    n_fields, shape_hw = arguments.fields, _shape(arguments.size)
    n_slides = arguments.slides if arguments.slides is not None else max(1, -(-n_fields // FIELDS_PER_SLIDE))
    _check(n_fields >= 1, "--fields", "at least 1", n_fields)
    _check(1 <= n_slides <= n_fields, "--slides", f"in 1 to --fields ({n_fields})", n_slides)
    _check(arguments.seed >= 0, "--seed", "at least 0", arguments.seed)
    _check(arguments.rbc_px is None or 8 <= arguments.rbc_px <= 300, "--rbc-px", "in 8 to 300", arguments.rbc_px)
    _check(0 <= arguments.blank_share <= 1, "--blank-share", "in 0 to 1", arguments.blank_share)
    classes = CLASS_SETS[arguments.classes]
    records = paint_set(
        n_fields=n_fields, n_slides=n_slides, seed=arguments.seed, shape_hw=shape_hw, rbc_px=arguments.rbc_px, classes=classes,
        blank_share=arguments.blank_share,
    )  # fmt: skip
    about = {
        "name": "painted",
        "source": f"datasets.painted --fields {n_fields} --slides {n_slides} --seed {arguments.seed} --size {arguments.size}",
        "licence": "CC0-1.0",
        "painted": True,
        "note": "painted by code; never clinical data",
    }
    return write_yolo(records, arguments.out, classes=classes, about=about, total=n_fields, progress=not arguments.quiet, painted=True)


def _shape(size: str) -> tuple[int, int]:
    width, _, height = size.lower().partition("x")
    sides = (int(height), int(width)) if width.isdigit() and height.isdigit() else (0, 0)
    _check(all(32 <= side <= MAX_SIDE_PX for side in sides), "--size", f"WIDTHxHEIGHT, each in 32 to {MAX_SIDE_PX}", size)
    return sides


def _check(holds: bool, flag: str, wanted: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{flag}: must be {wanted}, got {got!r}")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m datasets.painted", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--fields", type=int, required=True, metavar="N", help="how many fields")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default 0)")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the set goes")
    made.add_argument("--size", default="1280x960", metavar="WxH", help="of each field, pixels (default 1280x960)")
    made.add_argument("--rbc-px", type=float, metavar="PX", help="red-cell diameter, pixels (default: drawn per slide, 30 to 90)")
    made.add_argument("--slides", type=int, metavar="K", help=f"how many slides share the fields (default: one per {FIELDS_PER_SLIDE})")
    made.add_argument(
        "--classes", choices=sorted(CLASS_SETS), default="cells", help="cells: ALL, HEM, RBC, Platelets; wbc: WBC, RBC, Platelets"
    )
    made.add_argument("--blank-share", type=float, default=0.05, metavar="P", help="share of fields without any cell (default 0.05)")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return made


if __name__ == "__main__":
    sys.exit(main())
