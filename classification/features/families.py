"""All feature families by name, and any of them over a batch of crops: one column a feature, one row a crop, warnings where it failed."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from classification.features.colour import COLOUR, STATISTICS
from classification.features.contour import CONTOUR
from classification.features.dimension import HAUSDORFF
from classification.features.family import Family, Mask, Values
from classification.features.glcm import GLCM
from classification.features.lbp import LBP
from classification.features.segment import segment
from classification.features.shape import CELL, NUCLEUS
from classification.features.whole import DFT, HISTOGRAM, RAW_PIXELS
from smear.errors import ConfigError
from smear.line import ahead
from smear.types import Image

_ALL = (NUCLEUS, CELL, HAUSDORFF, CONTOUR, STATISTICS, GLCM, LBP, COLOUR, HISTOGRAM, DFT, RAW_PIXELS)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
SETS: Mapping[str, tuple[str, ...]] = {  # a name that stands for several families
    "texture": ("statistics", "glcm", "lbp"),
    "all": tuple(FAMILIES),
}
HANDCRAFTED = tuple(name for name in FAMILIES if name != "raw_pixels")

NO_CELL = "no cell found, its features are NaN"
NO_NUCLEUS = "no nucleus found, the features that need one are NaN"
CUT = "cell cut by the border of the crop"
CHUNK = 32  # crops that are measured at once: more do not fit the caches


@dataclass(frozen=True)
class Features:
    """N crops by F features: names (F,), values (N, F) float32, and for each crop what could not be measured or trusted."""

    names: tuple[str, ...]
    values: Values
    warnings: tuple[tuple[str, ...], ...]


def choose(names: str | Sequence[str]) -> tuple[Family, ...]:
    """The families of these names ("a,b", or a sequence; sets of `SETS` too), each once, in the order of `FAMILIES`.

    Raises:
        ConfigError: no name, or an unknown one.
    """
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    known = [*FAMILIES, *SETS]
    for name in wanted or [""]:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"families: must be some of {', '.join(known)}, got {name!r}{hint}")
    chosen = {part for name in wanted for part in SETS.get(name, (name,))}
    return tuple(family for name, family in FAMILIES.items() if name in chosen)


def feature_names(families: str | Sequence[str] = HANDCRAFTED) -> tuple[str, ...]:
    """The names of the columns that `compute` gives for these families; raises as `choose`."""
    return tuple(name for family in choose(families) for name in family.names)


def compute(crops: Image, families: str | Sequence[str] = HANDCRAFTED, *, threads: int = 0) -> Features:
    """Measure crops (N, S, S, 3) RGB uint8, N ≥ 0.

    A crop without a cell or nucleus has NaN in the families that need one, and a warning; it never raises.

    Args:
        threads: how many work side by side; 0: none but the caller's. The values are the same.

    Raises:
        ConfigError: an unknown family.
        MissingExtra: scikit-image is not installed and 'lbp' is asked for.
        ValueError: the crops are not square RGB uint8.
    """
    chosen = choose(families)
    if crops.ndim != 4 or crops.shape[1] != crops.shape[2] or crops.shape[3] != 3 or crops.dtype != np.uint8:
        raise ValueError(f"crops must be (N, S, S, 3) uint8, got {crops.shape} {crops.dtype}")
    parts = [crops[i : i + CHUNK] for i in range(0, len(crops), CHUNK)]
    done = list(ahead(lambda part: _measure(part, chosen), parts, threads=threads))
    names = tuple(name for family in chosen for name in family.names)
    values = np.concatenate([np.zeros((0, len(names)), np.float32), *(found for found, _ in done)])
    return Features(names, values, tuple(row for _, rows in done for row in rows))


def _measure(crops: Image, chosen: Sequence[Family]) -> tuple[Values, list[tuple[str, ...]]]:
    if not any(family.needs_nucleus for family in chosen):
        nothing = np.zeros(crops.shape[:3], bool)
        return np.concatenate([family(crops, nothing, nothing) for family in chosen], axis=1), [()] * len(crops)
    cell, nucleus = segment(crops)
    values = np.concatenate([family(crops, cell, nucleus) for family in chosen], axis=1)
    cut = np.concatenate([cell[:, [0, -1]], cell[:, :, [0, -1]].transpose(0, 2, 1)], axis=1)  # (N, 4, S)
    return values, [_warnings(*each) for each in zip(cell, nucleus, cut, strict=True)]


def _warnings(cell: Mask, nucleus: Mask, border: Mask) -> tuple[str, ...]:
    if not cell.any():
        return (NO_CELL,)
    told = ((NO_NUCLEUS, not nucleus.any()), (CUT, border.any()))
    return tuple(text for text, holds in told if holds)
