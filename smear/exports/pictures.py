"""The pictures beside exported labels: the pixels that were analysed, upright and 8-bit, without metadata that could name a patient."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from smear.errors import ImageError
from smear.files import write_atomic
from smear.images import decode, encode, read_bytes
from smear.regions import is_region
from smear.types import Field, FieldResult

_START, _END, _SCAN, _COMMENT = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xFE
_APP0, _APP14, _APP15 = 0xE0, 0xEE, 0xEF  # APP0 JFIF and APP14 Adobe say how to decode; the others are EXIF, XMP, thumbnails, notes


class Pictures:
    """Places the picture of a field, read once: a second format gets a hard link to the first, where the file system has them.

    Args:
        folder: where the analysed images are now; None: where the analysis found them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._placed: dict[str, Path] = {}

    def place(self, result: FieldResult, path: Path, *, final: Path) -> None:
        """Write the picture of `result` to `path`, which will later be known as `final`.

        Raises:
            ImageError: the image is gone, damaged, or has another size than when it was analysed.
        """
        old = self._placed.get(result.field.id)
        if old is not None and old.suffix == path.suffix and old.is_file():
            _link(old, path)
        else:
            write_atomic(path, picture(self._field(result.field), result.shape_hw, path.suffix))
        self._placed[result.field.id] = final

    def _field(self, field: Field) -> Field:
        if self._folder is None:
            return field
        name = field.id.rpartition("#")[0] if field.id.endswith(f"#{field.page + 1}") else field.id
        return replace(field, path=self._folder / name)


def picture(field: Field, shape_hw: tuple[int, int], suffix: str) -> bytes:
    """The image file of a field as it was analysed: JPEG is copied without loss where that shows the same pixels, else encoded anew.

    Raises:
        ImageError: as `images.read_bytes` and `images.decode`, or the size is not `shape_hw`.
    """
    if is_region(field):
        raise ImageError(f"{field.id}: is too large to be copied into an export; use geojson or parquet, or export with --no-images")
    data = read_bytes(field)
    image = decode(data, name=field.id, page=field.page)
    if image.shape[:2] != tuple(shape_hw):
        raise ImageError(f"{field.id}: is {image.shape[:2]} (height, width), but was analysed as {tuple(shape_hw)}; analyse it again")
    if suffix == ".jpg" and data.startswith(_START):
        plain = without_metadata(data)
        try:
            if np.array_equal(decode(plain, name=field.id), image):
                return plain
        except ImageError:  # built in a way that `without_metadata` does not know
            pass
    return encode(image, suffix)


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG file without EXIF, XMP, profiles, comments and whatever follows its end; the pixels are not touched.

    An EXIF orientation goes too: who needs it compares the decoded pixels. Source: ITU-T T.81, annex B.
    """
    kept, at = [_START], len(_START)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == _SCAN:
            end = jpeg.find(_END, at)
            kept.append(jpeg[at:] if end < 0 else jpeg[at : end + len(_END)])
            break
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        segment = jpeg[at:end]
        is_note = marker == _COMMENT or (_APP0 <= marker <= _APP15 and marker != _APP14)
        if not is_note or segment[4:9] == b"JFIF\0":
            kept.append(segment)
        at = end
    return b"".join(kept)


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # no hard links here, or too many
        shutil.copyfile(old, new)
