"""What is measured of the crops: handcrafted features by name, and out of them sizes in pixels and colours in CIE Lab."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.exploration.crops import Crops
from classification.features import choose, feature_names
from classification.features.files import join, measure_files
from smear.audit import stain

NEEDED = ("nucleus_shape", "shape", "colour")  # families that sizes and colours come from
FAMILIES = (*NEEDED, "statistics", "glcm")
SIDE_PX = 224  # that crops are brought to, as `python -m classification.features` does
SIZES = ("crop_side_px", "cell_diameter_px", "nucleus_diameter_px", "cell_area_px", "nucleus_area_px", "nucleus_to_cell_area")
CHANNELS = ("L", "a", "b")

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """N crops by F features, NaN where a crop has no nucleus; `sizes` (of `SIZES`) and `cell`, `ground` (of `CHANNELS`) are (N,) each.

    ground: the brightest third of the crop's grey levels (Otsu), which is glass unless the cell was cut out.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    values: NDArray[np.float64]
    sizes: dict[str, Column]
    cell: dict[str, Column]
    ground: dict[str, Column]
    notes: tuple[str, ...]

    @property
    def known(self) -> NDArray[np.int64]:
        """The rows of which all was measured."""
        return np.flatnonzero(np.isfinite(self.values).all(axis=1))


def measure(
    crops: Crops,
    families: Sequence[str] = FAMILIES,
    *,
    size: int = SIDE_PX,
    workers: int = 0,
    watch: Callable[..., Iterable[Any]] = lambda parts, what, n: parts,
) -> Numbers:
    """Measure every crop; `NEEDED` families always.

    Raises:
        ConfigError: an unknown family. MissingExtra: a package that a family needs is not installed.
    """
    wanted = tuple(family.name for family in choose([*NEEDED, *families]))
    names = feature_names(wanted)
    paths = crops.table.paths
    found = join(watch(measure_files(paths, wanted, size=size, workers=workers), "features", -(-len(paths) // 64)), names)
    values = np.where(np.isfinite(found.values), found.values, np.nan).astype(np.float64)
    told: list[str] = [text for row in found.warnings for text in row]
    notes = [f"{told.count(text)} of {len(crops)} crops: {text}" for text in sorted(set(told))]

    def of(name: str) -> Column:
        return np.asarray(values[:, names.index(name)])

    sides = crops.sides_px
    sizes = {
        "crop_side_px": sides,
        "cell_diameter_px": of("cell_equivalent_diameter") * sides,
        "nucleus_diameter_px": of("nucleus_equivalent_diameter") * sides,
        "cell_area_px": of("cell_area") * sides**2,
        "nucleus_area_px": of("nucleus_area") * sides**2,
        "nucleus_to_cell_area": of("nucleus_to_cell_area"),
    }
    cell = _lab(*(of(f"cell_{name}_mean") for name in ("lightness", "a", "b")))
    ground = _lab(*(crops.colours[:, stain.FEATURES.index(f"background_{channel}")] for channel in CHANNELS))
    return Numbers(names, wanted, values, sizes, cell, ground, tuple(notes))


def _lab(lightness: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> dict[str, Column]:
    """From OpenCV's 8-bit scale to L in 0..100, a and b around 0."""
    scaled = (lightness.astype(np.float64) * 100 / 255, a.astype(np.float64) - 128, b.astype(np.float64) - 128)
    return dict(zip(CHANNELS, scaled, strict=True))
