"""Read, decode, encode and cut fields: the only file that knows BGR, EXIF, 16 bits and file formats."""

import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as pillow
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from smear.crops import crop
from smear.errors import ImageError
from smear.files import write_atomic
from smear.pixels import bits_used, to_8_bits, upright
from smear.types import Field, Image

__all__ = [
    "MAX_PIXELS",
    "Header",
    "crop",
    "decode",
    "encode",
    "full_size_pages",
    "header",
    "read_bytes",
    "read_image",
    "resize",
    "write_image",
]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 89_478_485  # Pillow's own bomb limit (a quarter gigabyte of RGB); a 40-megapixel field is well below
MAX_FILE_BYTES = 2**30  # an uncompressed 16-bit RGB image of MAX_PIXELS takes half of it
JPEG_QUALITY = 92

# The allow-list, by signature and never by suffix. The plugin classes are used directly because `Image.open` reports
# large images through a process-wide warning filter, which threads cannot use; sizes are checked in `_check_size`.
_OPENERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"BM", BmpImageFile),
    (b"II*\x00", TiffImageFile),
    (b"MM\x00*", TiffImageFile),
    (b"II+\x00", TiffImageFile),  # BigTIFF
    (b"MM\x00+", TiffImageFile),
)
DAMAGED = (  # what Pillow raises on damaged files; it does not wrap them
    *(OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RuntimeError),
    *(ZeroDivisionError, AssertionError, struct.error, pillow.DecompressionBombError),
    UserWarning,  # damaged TIFF tags are only warned of; whoever makes warnings errors gets an ImageError
)
_EXIF_ORIENTATION, _TIFF_SUBFILE_TYPE = 0x0112, 254
_PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # without any, Pillow would decode all of a PNG to look for it
_JPEG_END = b"\xff\xd9"
_REDUCED_COPY = 1  # bit of the subfile type: a thumbnail or pyramid level of another page


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded: format ("JPEG"), Pillow's mode ("RGB"), upright (height, width), pages."""

    format: str
    mode: str
    shape_hw: tuple[int, int]
    n_pages: int = 1


def read_bytes(field: Field) -> bytes:
    """The file of a field, not decoded.

    Raises:
        ImageError: it is missing, not a regular file, may not be read, is empty or is larger than `MAX_FILE_BYTES`.
    """
    return _read(field.path, field.id)


def decode(data: bytes, *, name: str, page: int = 0, max_pixels: int = MAX_PIXELS) -> Image:
    """RGB uint8 (H, W, 3) of JPEG, PNG, BMP or TIFF bytes, upright by EXIF.

    Grey and palette become RGB, transparency is laid on white, CMYK is converted without profiles. Deep images are
    scaled by 255 / (2**bits - 1), where bits is the smallest of 8, 10, 12, 14, 16, 32 that holds the largest value
    (cameras put 12 bits into 16); floats in [0, 1] are scaled by 255. Colour profiles are ignored, as in training.

    Args:
        data: the file.
        name: what to call it in errors.
        page: of a multi-page TIFF, from 0.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: not one of these formats, damaged, truncated, too large, or no such page.
    """
    image = _open(data, name, page, max_pixels)
    try:
        deep = _is_deep_colour(image)
        orientation_before = 1 if isinstance(image, TiffImageFile) else image.getexif().get(_EXIF_ORIENTATION, 1)
        if deep:  # OpenCV turns TIFFs itself
            pixels, orientation = _deep_colour(data, image, page), orientation_before
        elif (quick := _plain_jpeg(data, image)) is not None:
            pixels, orientation = quick, orientation_before
        else:
            image.load()
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)  # Pillow has turned TIFFs itself and dropped the tag
            pixels = _rgb(image)
    except DAMAGED as error:
        raise ImageError(f"{name}: damaged or truncated image ({one_line(error)}); copy it again") from error
    except MemoryError as error:
        raise ImageError(f"{name}: not enough memory to decode {image.width}×{image.height} pixels") from error
    return upright(pixels, orientation)


def header(data: bytes, *, name: str) -> Header:
    """Format, mode, size and pages of an image file, without decoding it; a file cut short may still pass.

    Raises:
        ImageError: not JPEG, PNG, BMP or TIFF, or its header is damaged.
    """
    image = _open(data, name, 0, MAX_PIXELS)
    try:
        is_upright = isinstance(image, TiffImageFile)  # Pillow tells its upright size
        is_upright |= isinstance(image, PngImageFile) and not any(mark in data for mark in _PNG_EXIF)
        turned = not is_upright and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
        pages = int(getattr(image, "n_frames", 1))
    except DAMAGED as error:
        raise ImageError(f"{name}: not a readable image ({one_line(error)}); copy it again") from error
    shape_hw = (image.width, image.height) if turned else (image.height, image.width)
    return Header(str(image.format), image.mode, shape_hw, pages)


def read_image(path: Path, *, page: int = 0) -> Image:
    """`decode` of a file.

    Raises:
        ImageError: as `read_bytes` and `decode`.
    """
    return decode(_read(Path(path), str(path)), name=str(path), page=page)


def full_size_pages(path: Path) -> tuple[int, ...]:
    """The full-size pages of a TIFF; (0,) when it cannot be opened, which the reader will report."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return (0,)
        with path.open("rb") as file:
            image = TiffImageFile(file)
            found = []
            for page in range(image.n_frames):
                image.seek(page)
                if not int(image.tag_v2.get(_TIFF_SUBFILE_TYPE, 0)) & _REDUCED_COPY:
                    found.append(page)
        return tuple(found) or (0,)
    except (*DAMAGED, EOFError):
        return (0,)


def encode(image: Image, suffix: str, *, quality: int | None = None) -> bytes:
    """The bytes of an image file without any metadata; `suffix` such as ".jpg" names the format.

    Args:
        quality: of a JPEG whose colours may be coarser than its light, which is enough for a page; default: as good as we keep.

    Raises:
        ImageError: the suffix is not one we write.
    """
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
    if suffix.lower() not in formats:
        raise ImageError(f"{suffix!r}: cannot write this format; use one of {', '.join(SUFFIXES)}")
    jpeg = {"quality": JPEG_QUALITY, "subsampling": 0} if quality is None else {"quality": quality}
    options = {"JPEG": jpeg, "PNG": {"compress_level": 4}}
    buffer = io.BytesIO()
    format_name = formats[suffix.lower()]
    pillow.fromarray(np.ascontiguousarray(image)).save(buffer, format=format_name, **options.get(format_name, {}))
    return buffer.getvalue()


def write_image(path: Path, image: Image) -> None:
    """Write an image atomically, in the format of its suffix, without metadata.

    Raises:
        ImageError: the suffix is not one we write.
        OSError: the folder cannot be written or the disk is full; no half file is left.
    """
    path = Path(path)
    write_atomic(path, encode(image, path.suffix))


def resize(image: Image, factor: float) -> Image:
    """The image `factor` times as large, at least 1×1; areas are averaged when shrinking, bicubic when growing."""
    height, width = (max(1, round(length * factor)) for length in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _read(path: Path, name: str) -> bytes:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for ever
            raise ImageError(f"{name}: not a readable image (not a regular file); remove it")
        if about.st_size > MAX_FILE_BYTES:
            raise ImageError(f"{name}: {about.st_size} bytes is more than the limit of {MAX_FILE_BYTES}; cut the image into fields")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot read it ({error.strerror})") from error
    if not data:
        raise ImageError(f"{name}: not a readable image (0 bytes); remove it or copy it again")
    return data


def _open(data: bytes, name: str, page: int, max_pixels: int) -> ImageFile.ImageFile:
    """The image with its header read and its size checked, pixels not decoded."""
    if not data:
        raise ImageError(f"{name}: not a readable image (0 bytes); remove it or copy it again")
    opener = next((opener for signature, opener in _OPENERS if data.startswith(signature)), None)
    if opener is None:
        raise ImageError(f"{name}: not a readable image (not JPEG, PNG, BMP or TIFF inside); remove it or convert it")
    try:
        image = opener(io.BytesIO(data))
        _check_size(image, name, max_pixels)
        if page:
            image.seek(page)
            _check_size(image, name, max_pixels)
    except EOFError as error:
        raise ImageError(f"{name}: has no page {page + 1}") from error
    except DAMAGED as error:
        raise ImageError(f"{name}: not a readable image ({one_line(error)}); copy it again") from error
    return image


def _check_size(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name}: not a readable image ({image.width}×{image.height} pixels)")
    if image.width * image.height > max_pixels:
        raise ImageError(f"{name}: {image.width}×{image.height} pixels is more than the limit of {max_pixels}; cut the image into fields")


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would throw away the low bits of 16-bit colour; grey keeps them."""
    rawmodes = [str(part) for tile in image.tile for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    return image.mode in ("RGB", "RGBA", "LA") and any("16" in mode for mode in rawmodes)


def _deep_colour(data: bytes, image: ImageFile.ImageFile, page: int) -> Image:
    ok, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    if not ok or not pages or pages[0].shape[:2] != (image.height, image.width):
        raise OSError("16-bit colour could not be decoded")
    pixels = pages[0]
    if pixels.ndim == 2:
        return to_8_bits(pixels)
    rgb = pixels[:, :, 2::-1]
    if pixels.shape[2] == 4:  # on white
        limit = np.float32(2.0 ** bits_used(pixels) - 1)
        rgb = np.rint(limit + (rgb - limit) * (pixels[:, :, 3:] / limit)).astype(np.uint16)
    return to_8_bits(rgb)


def _plain_jpeg(data: bytes, image: ImageFile.ImageFile) -> Image | None:
    """An ordinary colour JPEG by OpenCV: the pixels of Pillow in half its time; None where Pillow must decide.

    Files cut short are Pillow's: OpenCV would fill the rest with grey and say nothing.
    """
    if not isinstance(image, JpegImageFile) or image.mode != "RGB" or data.rstrip(b"\0")[-2:] != _JPEG_END:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None


def _rgb(image: pillow.Image) -> Image:
    if image.mode.startswith("I") or image.mode == "F":
        return to_8_bits(np.asarray(image))
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
