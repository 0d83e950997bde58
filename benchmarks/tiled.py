"""Write a tiled TIFF or BigTIFF tile by tile, so that a region of any size takes the memory of one row of tiles."""

import struct
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow

Image = NDArray[np.uint8]  # RGB (H, W, 3)
JPEG_QUALITY = 90
SHORT, LONG, UNDEFINED, LONG8 = 3, 4, 7, 16
_CODES = {SHORT: "H", LONG: "I", LONG8: "Q", UNDEFINED: "B"}


def jpeg(tile: Image) -> bytes:
    return _as_jpeg(tile)


def jpeg_without_tables(tile: Image) -> bytes:
    """The way scanners store tiles: the tables stand once in the tags, see `write_tiled`."""
    return _as_jpeg(tile, streamtype=2)


def deflate(tile: Image) -> bytes:
    return zlib.compress(tile.tobytes(), 1)


def plain(tile: Image) -> bytes:
    return tile.tobytes()


ENCODERS: dict[str, tuple[Callable[[Image], bytes], int, int]] = {  # name → encoder, TIFF compression, photometric interpretation
    "jpeg": (jpeg, 7, 6),
    "jpeg-tables": (jpeg_without_tables, 7, 6),
    "deflate": (deflate, 8, 2),
    "none": (plain, 1, 2),
}


def write_tiled(
    path: Path, shape_hw: tuple[int, int], bands: Iterable[Image], *, tile_px: int, how: str = "jpeg", big: bool = False
) -> None:
    """Write an RGB image that is given in bands.

    Args:
        bands: (`tile_px` or what is left, W, 3) from top to bottom; a tile that is all white is left out, as scanners do.
        tile_px: side of a tile, a multiple of 16. how: a name in `ENCODERS`. big: BigTIFF.
    """
    encoder, compression, photometric = ENCODERS[how]
    offsets, counts = [], []
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
        for band in bands:
            for x in range(0, shape_hw[1], tile_px):
                part = band[:, x : x + tile_px]
                tile = np.pad(part, ((0, tile_px - part.shape[0]), (0, tile_px - part.shape[1]), (0, 0)), mode="edge")
                data = b"" if (tile == 255).all() else encoder(tile)
                offsets.append(file.tell() if data else 0)
                counts.append(len(data))
                file.write(data)
        place = LONG8 if big else LONG
        tags = {
            256: (LONG, [shape_hw[1]]), 257: (LONG, [shape_hw[0]]), 258: (SHORT, [8, 8, 8]), 259: (SHORT, [compression]),
            262: (SHORT, [photometric]), 277: (SHORT, [3]), 284: (SHORT, [1]), 322: (SHORT, [tile_px]), 323: (SHORT, [tile_px]),
            324: (place, offsets), 325: (place, counts),
        }  # fmt: skip
        if how == "jpeg-tables":
            tags[347] = (UNDEFINED, list(_as_jpeg(np.zeros((16, 16, 3), np.uint8), streamtype=1)))
        if photometric == 6:
            tags[530] = (SHORT, [2, 2])
        _write_directory(file, tags, big)


def _as_jpeg(tile: Image, **options: int) -> bytes:
    sink = BytesIO()
    pillow.fromarray(tile).save(sink, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0", **options)
    return sink.getvalue()


def _write_directory(file: BinaryIO, tags: dict[int, tuple[int, list[int]]], big: bool) -> None:
    """The tags behind the tiles, long values before the directory, and its place into the header."""
    count, number, room = ("Q", "Q", 8) if big else ("H", "I", 4)
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
        if len(data) > room:
            file.write(b"\0" * (-file.tell() % 8))
            at = file.tell()
            file.write(data)
            data = struct.pack(f"<{number}", at)
        entries.append(struct.pack(f"<HH{number}", tag, kind, len(values)) + data.ljust(room, b"\0"))
    file.write(b"\0" * (-file.tell() % 8))
    at = file.tell()
    file.write(struct.pack(f"<{count}", len(entries)) + b"".join(entries) + b"\0" * room)
    file.seek(8 if big else 4)
    file.write(struct.pack(f"<{number}", at))
