"""What a feature family is: a function over a batch, with a name and a unit for each value that it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smear.types import Image

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]

WIDTH = "crop widths"  # a crop by our contract is 3 red cells wide, so a third of it is about 7.5 µm
AREA = "crop areas"
SHARE = "share"
RATIO = "ratio"
NONE = ""  # a pure number


@dataclass(frozen=True)
class Family:
    """A family of F features, callable on a batch.

    units: name of each feature → its unit, in the order of the values; "" is a pure number.
    source: what is followed. measure: (crops, cells, nuclei) → (N, F), only ever asked for crops with a nucleus if `needs_nucleus`.
    """

    name: str
    about: str
    units: Mapping[str, str]
    source: str
    needs_nucleus: bool
    measure: Callable[[Image, Mask, Mask], Values]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.units)

    def __call__(self, crops: Image, cell: Mask, nucleus: Mask) -> Values:
        """(N, F) float32; rows of NaN where the family needs a nucleus and there is none.

        Args:
            crops: (N, S, S, 3) RGB uint8.
            cell, nucleus: (N, S, S), as of `segment`.
        """
        values = np.full((len(crops), len(self.units)), np.nan, np.float32)
        rows = nucleus.any(axis=(1, 2)) if self.needs_nucleus else np.ones(len(crops), bool)
        if rows.all():
            return np.asarray(self.measure(crops, cell, nucleus), np.float32).reshape(values.shape) if len(crops) else values
        if rows.any():
            values[rows] = self.measure(crops[rows], cell[rows], nucleus[rows])
        return values


def boxed(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around a mask (S, S) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
