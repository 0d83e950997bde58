"""The fields that are timed: painted once by a seed, of two sizes and with a known number of white cells, kept as ordinary JPEG files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.paint.field import PaintedField, paint_field
from datasets.paint.places import arrange
from datasets.paint.style import SlideStyle, draw_style
from smear.images import encode
from smear.scale import RED_CELL_UM
from smear.types import Field

RBC_PX = 75.0
UM_PER_PX = RED_CELL_UM / RBC_PX  # what a user who knows the microscope would give
JPEG_QUALITY = 90  # colours at half resolution (4:2:0), as cameras write
SEED = 20
TRIES = 1000  # arrangements looked at for one with the wanted number of white cells


@dataclass(frozen=True)
class Kind:
    """One kind of field: its size, how many white cells are painted, how many different fields, and how many a round of ours takes."""

    name: str
    shape_hw: tuple[int, int]
    n_white: int
    n_fields: int
    n_timed: int


FULL = (
    Kind("640x480-1", (480, 640), 1, 12, 96),
    Kind("2592x1944-4", (1944, 2592), 4, 2, 8),
    Kind("2592x1944-12", (1944, 2592), 12, 2, 8),
    Kind("2592x1944-60", (1944, 2592), 60, 2, 8),
)
QUICK = (Kind("quick-960x720-2", (720, 960), 2, 2, 4),)


def painted(kind: Kind, root: Path, *, seed: int = SEED) -> tuple[Field, ...]:
    """The fields of a kind, below `root`; painted when they are not there yet, by this seed.

    Raises:
        RuntimeError: no arrangement of so many white cells was found; the kind asks for too much on too little room.
    """
    folder = root / kind.name
    about = {
        "shape_hw": list(kind.shape_hw),
        "n_white": kind.n_white,
        "n_fields": kind.n_fields,
        "seed": seed,
        "rbc_px": RBC_PX,
        "quality": JPEG_QUALITY,
    }
    if not _is_there(folder, about):
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(kind.n_fields):
            (folder / f"field_{index}.jpg").write_bytes(encode(_paint(kind, seed, index).image, ".jpg", quality=JPEG_QUALITY))
        (folder / "about.json").write_text(json.dumps(about))
    return tuple(Field(id=f"field_{i}.jpg", path=folder / f"field_{i}.jpg") for i in range(kind.n_fields))


def repeated(fields: Sequence[Field], n: int) -> tuple[Field, ...]:
    """n fields: these over and over, each time by another id, so that nothing is known before."""
    return tuple(replace(fields[i % len(fields)], id=f"{i:04d}-{fields[i % len(fields)].id}") for i in range(n))


def _is_there(folder: Path, about: dict) -> bool:
    try:
        return bool(json.loads((folder / "about.json").read_text()) == about)
    except (OSError, ValueError):
        return False


def _paint(kind: Kind, seed: int, index: int) -> PaintedField:
    """A field in which so many white cells have their centre; the white cells are laid first, so laying them alone tells their number."""
    for attempt in range(TRIES):
        key = [seed, kind.n_white, *kind.shape_hw, index, attempt]
        style = _style(np.random.default_rng(key), kind)
        white = arrange(np.random.default_rng([*key, 1]), replace(style, coverage=0, platelet_rate=0), kind.shape_hw, RBC_PX)
        if sum(0 <= p.x < kind.shape_hw[1] and 0 <= p.y < kind.shape_hw[0] for p in white) == kind.n_white:
            return paint_field(np.random.default_rng([*key, 1]), style, shape_hw=kind.shape_hw, rbc_px=RBC_PX)
    raise RuntimeError(f"{kind.name}: no field with {kind.n_white} white cells in {TRIES} tries")


def _style(rng: np.random.Generator, kind: Kind) -> SlideStyle:
    squares = kind.shape_hw[0] * kind.shape_hw[1] / RBC_PX**2
    return replace(draw_style(rng), white_rate=kind.n_white / squares, white_cohesion=0.25, coverage=0.45)
