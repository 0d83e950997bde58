"""The crops that are explored: each read once for its size, its fingerprint and the colours around its cell; with groups and stains."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.compare_data import draw, file_names, in_order
from classification.crops import CropTable, label_names, read_checked, read_crops
from classification.exploration import STAINS
from classification.readable import Watch, look_at
from smear.audit import stain, twins
from smear.errors import AnnotationError

AROUND = [i for i, name in enumerate(stain.FEATURES) if not name.startswith("nuclei")]  # the nucleus is the cell's own, not its stain's


@dataclass(frozen=True)
class Look:
    """What is seen of one crop: its side, its fingerprint for the finder of twins, and `stain.FEATURES` (F,) float32."""

    side_px: int
    print: twins.Look
    colours: NDArray[np.float32]


@dataclass(frozen=True)
class Crops:
    """N ≥ 1 crops that can be read.

    groups (N,) str, of kind `unit`: crops of one are not independent. stains (N,) str; made_stains: they are clusters made here.
    dropped: one entry a crop that was left out, `file` and `error`.
    """

    table: CropTable
    looks: tuple[Look, ...]
    groups: NDArray[np.str_]
    unit: str
    stains: NDArray[np.str_]
    made_stains: bool
    dropped: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def files(self) -> list[str]:
        return file_names(self.table)

    @cached_property
    def labels(self) -> list[str]:
        return [self.table.classes[i] for i in self.table.labels]

    @cached_property
    def sources(self) -> NDArray[np.str_]:
        return self.table.column("source")

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        return self.table.column("split")

    @property
    def sides_px(self) -> NDArray[np.float64]:
        return np.array([look.side_px for look in self.looks], np.float64)

    @property
    def colours(self) -> NDArray[np.float32]:
        """(N, F) in the order of `stain.FEATURES`."""
        return np.stack([look.colours for look in self.looks])


def read_all(
    data: Sequence[Path],
    *,
    label_column: str = "label",
    group: str | None = None,
    max_cells: int | None = None,
    n_stains: int = STAINS,
    seed: int = 0,
    watch: Watch = lambda crops, n: crops,
) -> Crops:
    """Read tables and decode every crop once; one class alone will do.

    Args:
        group, max_cells: see `draw`. n_stains: clusters where the tables do not say the stain.

    Raises:
        AnnotationError: a table is malformed or holds no crops, or none can be read.
        ConfigError: there is no such column, or nothing in it.
    """
    where = ", ".join(map(str, data))
    table = read_crops(data, in_order(label_names(data, label_column) - {""}), label_column=label_column)
    if not len(table):
        raise AnnotationError(f"{where}: holds no crops")
    drawn = draw(table, group, max_cells=max_cells, seed=seed)
    found = look_at(drawn.table, look, where=where, watch=watch)
    stains, made = _stains(found.table, found.looks, n_stains, seed)
    told = (*drawn.warnings, *found.warnings)
    return Crops(found.table, found.looks, drawn.groups[found.rows], drawn.unit, stains, made, found.dropped, told)


def look(path: Path) -> Look:
    """Raises ImageError or AnnotationError, as `read_checked`."""
    image, _ = read_checked(path)
    return Look(image.shape[0], twins.look(image), stain.stain_features(image))


def _stains(table: CropTable, looks: Sequence[Look], n_stains: int, seed: int) -> tuple[NDArray[np.str_], bool]:
    """(N,) the `stain` of the tables, behind its source if there are several; clusters of colour where any crop has none."""
    told, sources = table.column("stain"), table.column("source")
    if (told != "").all():
        several = len(set(sources.tolist())) > 1
        return np.array([f"{s}/{name}" if several else name for s, name in zip(sources, told, strict=True)], np.str_), False
    clusters = stain.stain_clusters(np.stack([each.colours for each in looks])[:, AROUND], n_clusters=n_stains, seed=seed)
    return np.array([f"colour {i}" for i in clusters], np.str_), True
