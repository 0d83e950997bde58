"""Windows of a TIFF too large to decode whole: a stitched region of a slide, read tile by tile."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from smear.errors import ImageError
from smear.images import DAMAGED, MAX_PIXELS, decode, one_line
from smear.types import Field, Image

MAX_REGION_PIXELS = 2**32  # 65,536 × 65,536: at 4 s a 10 megapixels a region would take half an hour for every gigapixel
MAX_SEGMENT_PIXELS = 2**25  # of one tile or strip as decoded: 0.1 GB of RGB
MAX_SEGMENT_BYTES = 4 * MAX_SEGMENT_PIXELS  # of one tile or strip as stored; more is not its pixels
CACHE_BYTES = 3 * 2**26  # of decoded tiles or strips that are kept, since windows overlap
EMPTY_LEVEL = 255  # a tile that the scanner left out is paper
_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _PLANES = 256, 257, 258, 262, 274, 284
_STRIPS = (278, 273, 279)  # rows per strip, offsets, byte counts
_TILES = (323, 324, 325)  # tile height, offsets, byte counts
_TILE_WIDTH = 322
_KEPT = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530)  # all that decoding a segment depends on: bits, compression, …


@dataclass(frozen=True)
class _Layout:
    """Where the pixels lie in the file; segments are tiles or strips, in reading order."""

    shape_hw: tuple[int, int]
    segment_hw: tuple[int, int]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    byte_order: bytes
    tags: dict[int, Any]
    types: dict[int, int]
    is_tiled: bool

    @property
    def n_columns(self) -> int:
        return -(-self.shape_hw[1] // self.segment_hw[1])


class Region:
    """One page of a TIFF, of which windows are decoded when they are asked for; safe to use by several threads at once.

    Made by `open_region`. Each tile or strip is decoded by `images.decode`, as a small TIFF of its own, so that pixels are those
    of an ordinary field.
    """

    def __init__(self, path: Path, name: str, layout: _Layout) -> None:
        self.name, self.shape_hw = name, layout.shape_hw
        self._path, self._layout = path, layout
        self._decoded: OrderedDict[int, Image] = OrderedDict()
        self._lock = Lock()

    @property
    def n_empty(self) -> int:
        """Tiles that the scanner left out."""
        return int((self._layout.counts == 0).sum())

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Image:
        """The window [y0, y1) × [x0, x1), which must lie in the region, as a new array.

        Raises:
            ImageError: a tile is damaged, or the file has changed since it was opened.
        """
        height, width = self.shape_hw
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise ValueError(f"{self.name}: the window {(y0, y1, x0, x1)} does not lie in {self.shape_hw}")
        window = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        side_y, side_x = self._layout.segment_hw
        for row in range(y0 // side_y, -(-y1 // side_y)):
            for column in range(x0 // side_x, -(-x1 // side_x)):
                top, left = row * side_y, column * side_x
                ya, yb, xa, xb = max(y0, top), min(y1, top + side_y), max(x0, left), min(x1, left + side_x)
                segment = self._segment(row * self._layout.n_columns + column)
                window[ya - y0 : yb - y0, xa - x0 : xb - x0] = segment[ya - top : yb - top, xa - left : xb - left]
        return window

    def around(self, box: NDArray[np.float32], margin_px: float) -> tuple[Image, tuple[int, int]]:
        """The part of the region within a margin of a box (4,) x0 y0 x1 y1, and the place x, y of its corner."""
        height, width = self.shape_hw
        x0, y0 = (int(np.clip(np.floor(v - margin_px), 0, most - 1)) for v, most in zip(box[:2], (width, height), strict=True))
        x1, y1 = (int(np.clip(np.ceil(v + margin_px), 1, most)) for v, most in zip(box[2:], (width, height), strict=True))
        return self.read(y0, max(y1, y0 + 1), x0, max(x1, x0 + 1)), (x0, y0)

    def reduced(self, longest_px: int) -> Image:
        """The whole region with areas averaged by a whole factor, its longer side at most `longest_px`."""
        height, width = self.shape_hw
        step = max(1, -(-max(height, width) // longest_px))
        side = step * max(1, 1024 // step)
        small = np.empty((-(-height // step), -(-width // step), 3), np.uint8)
        for y0 in range(0, height, side):
            for x0 in range(0, width, side):
                part = self.read(y0, min(y0 + side, height), x0, min(x0 + side, width))
                size = -(-part.shape[0] // step), -(-part.shape[1] // step)
                place = small[y0 // step : y0 // step + size[0], x0 // step : x0 // step + size[1]]
                place[:] = cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA)
        return small

    def content(self) -> Iterator[bytes]:
        """The bytes of the file, a few megabytes at a time.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                while part := file.read(2**22):
                    yield part
        except OSError as error:
            raise ImageError(f"{self.name}: cannot read it ({error.strerror})") from error

    def _segment(self, index: int) -> Image:
        with self._lock:
            known = self._decoded.get(index)
            if known is not None:
                self._decoded.move_to_end(index)
                return known
        fresh = self._decode(index)
        with self._lock:
            self._decoded[index] = fresh
            while len(self._decoded) > max(2, CACHE_BYTES // fresh.nbytes):
                self._decoded.popitem(last=False)
        return fresh

    def _decode(self, index: int) -> Image:
        layout = self._layout
        height, width = layout.segment_hw
        if not layout.is_tiled:
            height = min(height, layout.shape_hw[0] - index * height)  # the last strip is shorter
        if layout.counts[index] == 0:
            return np.full((height, width, 3), EMPTY_LEVEL, np.uint8)
        kind = "tile" if layout.is_tiled else "strip"
        alone = _alone(layout, (height, width), self._stored(index))
        return decode(alone, name=f"{self.name}: {kind} {index}", max_pixels=MAX_SEGMENT_PIXELS)

    def _stored(self, index: int) -> bytes:
        offset, count = int(self._layout.offsets[index]), int(self._layout.counts[index])
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                data = file.read(count)
        except OSError as error:
            raise ImageError(f"{self.name}: cannot read it ({error.strerror})") from error
        if len(data) < count:
            raise ImageError(f"{self.name}: damaged or truncated image (it has become shorter); copy it again")
        return data


def is_region(field: Field, *, above_pixels: int = MAX_PIXELS) -> bool:
    """Whether a field is a TIFF of more pixels than are decoded whole; False where that cannot be known, which a reader will report."""
    if field.path is None or field.path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with field.path.open("rb") as file:
            if not file.read(4).startswith(_SIGNATURES):
                return False
            file.seek(0)
            image = TiffImageFile(file)
            image.seek(field.page)
            return image.width * image.height > above_pixels
    except (*DAMAGED, EOFError):
        return False


def open_region(path: Path, *, name: str, page: int = 0, max_pixels: int = MAX_REGION_PIXELS) -> Region:
    """Open a tiled TIFF or BigTIFF, or one in strips of moderate size, 8 bits a channel; only its tags are read.

    Args:
        name: what to call it in errors. page: from 0.

    Raises:
        ImageError: not such a file, damaged, truncated, more than `max_pixels`, or tiles larger than `MAX_SEGMENT_PIXELS`.
    """
    try:
        n_bytes = os.stat(path).st_size
        with path.open("rb") as file:
            image = TiffImageFile(file)
            image.seek(page)
            tags, order = image.tag_v2, image.tag_v2.prefix
            layout = _layout(tags, order, name, max_pixels)
    except EOFError as error:
        raise ImageError(f"{name}: has no page {page + 1}") from error
    except DAMAGED as error:
        raise ImageError(f"{name}: not a readable image ({one_line(error)}); copy it again") from error
    if ((layout.offsets < 0) | (layout.counts < 0) | (layout.offsets + layout.counts > n_bytes)).any():
        raise ImageError(f"{name}: damaged or truncated image (tiles lie beyond its end); copy it again")
    return Region(path, name, layout)


def _layout(tags: ImageFileDirectory_v2, byte_order: bytes, name: str, max_pixels: int) -> _Layout:
    height, width = int(tags[_HEIGHT]), int(tags[_WIDTH])
    size = f"{width}×{height} pixels"
    if height * width > max_pixels:
        raise ImageError(f"{name}: {size} is more than the limit of {max_pixels}; cut the image into regions")
    is_tiled = _TILE_WIDTH in tags
    high, offsets, counts = _TILES if is_tiled else _STRIPS
    segment_hw = (int(tags[high]), int(tags[_TILE_WIDTH])) if is_tiled else (min(int(tags.get(high, height)), height), width)
    if min(height, width, *segment_hw) < 1:
        raise ImageError(f"{name}: not a readable image ({size})")
    if segment_hw[0] * segment_hw[1] > MAX_SEGMENT_PIXELS:
        raise ImageError(f"{name}: {size} in pieces of {segment_hw[1]}×{segment_hw[0]}; save it as a TIFF with tiles of 512×512")
    _refuse_unusual(tags, name)
    layout = _Layout(
        (height, width), segment_hw, np.array(tags[offsets], np.int64).reshape(-1), np.array(tags[counts], np.int64).reshape(-1),
        byte_order, {k: tags[k] for k in _KEPT if k in tags}, dict(tags.tagtype), is_tiled,
    )  # fmt: skip
    n = layout.n_columns * -(-height // segment_hw[0])
    if not len(layout.offsets) == len(layout.counts) == n or (layout.counts > MAX_SEGMENT_BYTES).any():
        raise ImageError(f"{name}: damaged image (its tiles do not make up {size}); copy it again")
    return layout


def _refuse_unusual(tags: ImageFileDirectory_v2, name: str) -> None:
    """What an ordinary field may be, and a region may not."""
    bits = np.atleast_1d(tags.get(_BITS, 1))
    if (bits > 8).any():  # how many bits a camera used is seen by the largest value of the whole
        raise ImageError(f"{name}: {bits.max()} bits a channel in a field of this size; convert it to 8 bits")
    if int(tags.get(_PLANES, 1)) != 1:
        raise ImageError(f"{name}: channels stored apart in a field of this size; save it with interleaved channels")
    if int(tags.get(_ORIENTATION, 1)) != 1:
        raise ImageError(f"{name}: turned by its orientation tag in a field of this size; save it upright")


def _alone(layout: _Layout, shape_hw: tuple[int, int], data: bytes) -> bytes:
    """One tile or strip as a TIFF of its own, in a single strip."""
    directory = ImageFileDirectory_v2(prefix=layout.byte_order)
    for tag, value in layout.tags.items():
        directory.tagtype[tag] = layout.types[tag]
        directory[tag] = value
    rows, offset, count = _STRIPS
    for tag, number in ((_HEIGHT, shape_hw[0]), (_WIDTH, shape_hw[1]), (rows, shape_hw[0]), (offset, 0), (count, len(data))):
        directory[tag] = number
    sink = BytesIO()
    directory.save(sink)  # moves the offset behind itself
    return sink.getvalue() + data
