"""The decoded crops of a training: in memory as far as a share of what is free allows, the others read again when they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.crops import CropTable, each_crop, read_crop, resize_crop
from smear.line import ahead, n_cores
from smear.memory import free_bytes
from smear.types import Image

MOST_SHARE = 0.4  # of the free memory, for the crops at one size


@dataclass(frozen=True)
class Pictures:
    """N crops by number, (S, S, 3) RGB uint8 each: `kept` (K, S, S, 3) of them in memory, K ≤ N.

    size: S, pixels; 0: none was chosen yet (`of_files`), ask for one by `at`.
    place (N,) int64: where a crop lies in `kept`; -1: it is read from its file each time.
    """

    paths: tuple[Path, ...]
    size: int
    kept: Image
    place: NDArray[np.int64]

    @classmethod
    def of(cls, images: Image) -> "Pictures":
        """(N, S, S, 3) uint8 that are in memory already."""
        return cls((Path(),) * len(images), images.shape[1], images, np.arange(len(images)))

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> "Pictures":
        """Files that nobody has read yet."""
        return cls(tuple(paths), 0, np.zeros((0, 0, 0, 3), np.uint8), np.full(len(paths), -1))

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, which: slice | NDArray[np.int64] | Sequence[int]) -> Image:
        """(M, S, S, 3) uint8, a new array, in the order asked for.

        Raises:
            ImageError: a file has gone or changed into something that is no image.
        """
        rows = np.arange(len(self))[which]
        places = self.place[rows]
        if (places >= 0).all():
            return self.kept[places]
        found = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        found[places >= 0] = self.kept[places[places >= 0]]
        for i in np.flatnonzero(places < 0):
            found[i] = read_crop(self.paths[rows[i]], size=self.size)
        return found

    def at(self, size: int, *, share: float = MOST_SHARE) -> "Pictures":
        """The same crops at (size, size, 3), made from the files where there are some, and kept in memory as far as `share` of it allows.

        What stays in files is read when it is asked for. A size that these have already returns them as they are.

        Raises:
            ImageError, AnnotationError: a file that was read now is missing, is no image, or not square.
        """
        if size == self.size:
            return self
        free = free_bytes()
        fitting = len(self) if free is None else min(len(self), int(free * share) // (size * size * 3))
        unread = [i for i, path in enumerate(self.paths) if path == Path()]  # they exist in memory alone
        rows = [*unread, *(i for i in range(len(self)) if self.paths[i] != Path())][: max(fitting, len(unread))]
        kept, place = np.empty((len(rows), size, size, 3), np.uint8), np.full(len(self), -1)
        place[rows] = np.arange(len(rows))
        for i, image in enumerate(ahead(partial(self._resized, size=size), rows, threads=n_cores())):
            kept[i] = image
        return Pictures(self.paths, size, kept, place)

    def _resized(self, row: int, size: int) -> Image:
        path = self.paths[row]
        return read_crop(path, size=size) if path != Path() else resize_crop(self.kept[self.place[row]], size=size)

    def kept_share(self, rows: NDArray[np.int64]) -> float:
        """The share of these crops, at least one, that is in memory."""
        return float((self.place[rows] >= 0).mean())

    def part(self, rows: NDArray[np.int64]) -> "Pictures":
        """Some of the crops, in that order; memory is shared."""
        return replace(self, paths=tuple(self.paths[i] for i in rows), place=self.place[rows])


def load_pictures(table: CropTable, *, size: int, wanted: NDArray[np.int64], most_bytes: int | None) -> Pictures:
    """Decode every crop once, check it, and keep those of `wanted` that fit, the first ones first.

    Args:
        table: N crops.
        size: their side, pixels.
        wanted: rows that will be drawn again; the others are only checked.
        most_bytes: what the kept ones may take together; None: all that is needed.

    Raises:
        ImageError, AnnotationError: as `classification.crops.each_crop`.
    """
    fitting = len(wanted) if most_bytes is None else min(len(wanted), most_bytes // (size * size * 3))
    place = np.full(len(table), -1, np.int64)
    place[wanted[:fitting]] = np.arange(fitting)
    kept = np.empty((fitting, size, size, 3), np.uint8)
    for at, image in zip(place, each_crop(table, size=size), strict=True):
        if at >= 0:
            kept[at] = image
    return Pictures(table.paths, size, kept, place)
