"""Every readable field becomes the same upright RGB; every unreadable one is an ImageError that names it."""

import io
import os
import struct
import threading
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image as pillow

from smear.errors import ImageError
from smear.images import MAX_PIXELS, decode, encode, header, read_bytes, read_image, resize, write_image
from smear.types import Field


def picture(height=30, width=40) -> np.ndarray:
    """Smooth, different in every corner and channel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width * y / height], axis=2).astype(np.uint8)


def saved(image: pillow.Image, format_name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format_name, **options)
    return buffer.getvalue()


def by_cv2(values: np.ndarray, suffix: str) -> bytes:
    """An image of 16-bit colour, which Pillow cannot write."""
    ok, data = cv2.imencode(suffix, values[:, :, ::-1] if values.ndim == 3 and values.shape[2] == 3 else values)
    assert ok
    return data.tobytes()


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
def test_lossless_formats_come_back_exactly(suffix):
    np.testing.assert_array_equal(decode(encode(picture(), suffix), name="x"), picture())


def test_jpeg_comes_back_nearly():
    assert np.abs(decode(encode(picture(), ".jpg"), name="x").astype(int) - picture()).mean() < 2


NOISY = (
    np.random.default_rng(5).integers(0, 256, (61, 83, 3), np.uint8) // 2
    + np.kron(picture(61, 83)[::20, ::20], np.ones((20, 20, 1), np.uint8))[:61, :83] // 2
)
JPEGS = {
    "4:2:0": {"quality": 90},
    "4:4:4": {"quality": 95, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "no YCbCr": {"quality": 80, "keep_rgb": True},
    "restart markers": {"quality": 80, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("change", ["none", "padded", "hole", "bits"])
def test_the_quick_way_of_a_jpeg_gives_the_pixels_of_pillow(kind, change):
    data = bytearray(saved(pillow.fromarray(NOISY), "JPEG", **JPEGS[kind]))
    middle = len(data) * 2 // 3
    if change == "hole":  # the end is there, what comes before is not
        del data[middle:-2]
    elif change == "bits":
        data[middle : middle + 4] = b"\x12\x34\x56\x78"
    elif change == "padded":
        data += bytes(7)
    try:
        expected = np.asarray(pillow.open(io.BytesIO(bytes(data))).convert("RGB"))
    except OSError:
        with pytest.raises(ImageError):
            decode(bytes(data), name="x")
        return
    np.testing.assert_array_equal(decode(bytes(data), name="x"), expected)


def test_one_pixel_is_a_valid_image():
    one = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(decode(encode(one, ".png"), name="x"), one)


def test_a_decoded_image_is_writable_contiguous_rgb():
    image = decode(encode(picture(), ".png"), name="x")
    assert (image.dtype, image.shape, image.flags.writeable, image.flags.c_contiguous) == (np.uint8, (30, 40, 3), True, True)


def test_the_content_counts_and_not_the_suffix(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(picture(), ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), picture())


def test_grey_becomes_three_equal_channels():
    grey = picture()[:, :, 0]
    np.testing.assert_array_equal(decode(saved(pillow.fromarray(grey), "PNG"), name="x"), np.repeat(grey[:, :, None], 3, axis=2))


def test_black_and_white_becomes_rgb():
    image = decode(saved(pillow.fromarray(picture()[:, :, 0]).convert("1"), "TIFF", compression="group4"), name="x")
    assert set(np.unique(image)) == {0, 255}


def test_transparency_is_laid_on_white():
    rgba = np.dstack([picture(), np.full((30, 40), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    image = decode(saved(pillow.fromarray(rgba), "PNG"), name="x")
    assert (image[:10] == 255).all()
    np.testing.assert_array_equal(image[10:], picture()[10:])


def test_transparent_palette_colour_is_laid_on_white():
    indexed = pillow.fromarray(picture()).quantize(4)
    data = saved(indexed, "PNG", transparency=0)
    image, index = decode(data, name="x"), np.array(indexed)
    assert (index == 0).any()
    assert (image[index == 0] == 255).all()
    np.testing.assert_array_equal(image[index != 0], np.array(indexed.convert("RGB"))[index != 0])


def test_cmyk_jpeg_becomes_rgb():
    image = decode(saved(pillow.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95), name="x")
    assert np.abs(image.astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_is_scaled_by_the_bits_it_uses(bits):
    deep = np.linspace(0, 2**bits - 1, 1200).astype(np.uint16).reshape(30, 40)
    image = decode(saved(pillow.fromarray(deep), "TIFF"), name="x")
    np.testing.assert_allclose(image[:, :, 0], deep * 255.0 / (2**bits - 1), atol=0.51)
    assert (image[:, :, 0] == image[:, :, 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colour_keeps_all_its_levels(suffix, bits):
    deep = (picture().astype(np.float64) / 255 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    image = decode(by_cv2(deep, suffix), name="x")
    np.testing.assert_allclose(image, deep * 255.0 / (2**bits - 1), atol=0.51)


def test_deep_transparency_is_laid_on_white():
    deep = np.full((6, 6, 4), 65535, np.uint16)
    deep[:, :, :3] = (65535, 0, 0)  # as cv2 writes it: blue
    deep[:3, :, 3] = 0
    image = decode(by_cv2(deep, ".png"), name="x")
    assert (image[:3] == 255).all()
    assert (image[3:] == (0, 0, 255)).all()


def test_floats_between_0_and_1_are_scaled_to_the_full_range():
    values = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    np.testing.assert_allclose(decode(saved(pillow.fromarray(values), "TIFF"), name="x")[:, :, 0], values * 255, atol=0.51)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_values_that_are_no_light_are_refused(bad):
    values = np.full((4, 4), bad, np.float32)
    with pytest.raises(ImageError, match=r"x\.tif: .*negative or not finite"):
        decode(saved(pillow.fromarray(values), "TIFF"), name="x.tif")


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(format_name, orientation):
    upright = picture(32, 48)
    turn = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
            6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, 3)}  # fmt: skip
    exif = pillow.Exif()
    exif[0x0112] = orientation
    stored = pillow.fromarray(np.ascontiguousarray(turn[orientation](upright)))
    options = {"quality": 95, "subsampling": 0} if format_name == "JPEG" else {}
    image = decode(saved(stored, format_name, exif=exif, **options), name="x")
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 2


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [None, 3, 6])
def test_the_header_knows_the_upright_shape(format_name, orientation):
    exif = pillow.Exif()
    if orientation:
        exif[0x0112] = orientation
    data = saved(pillow.fromarray(picture()[:, :20]), format_name, exif=exif)
    assert header(data, name="x").shape_hw == decode(data, name="x").shape[:2]


def test_the_header_of_a_png_is_read_without_decoding_it():
    """A file of which only the beginning is there still has one, with its size."""
    whole = saved(pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)), "PNG")
    assert header(whole[:200], name="x").shape_hw == (64, 48)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_sixteen_bit_colour_is_turned_once(orientation, turn):
    stored = np.random.default_rng(0).integers(0, 65535, (30, 20, 3), np.uint16)
    data = deep_tiff(stored, orientation)
    expected = np.rot90(stored / 257, turn)
    np.testing.assert_allclose(decode(data, name="x"), expected, atol=0.51)
    assert header(data, name="x").shape_hw == expected.shape[:2]


def deep_tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """An uncompressed 16-bit RGB TIFF by hand: Pillow cannot write one."""
    height, width, _ = pixels.shape
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0)),
        *((274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, pixels.nbytes), (284, 3, 1, 1)),
    ]
    bits_at = 8 + 2 + 12 * len(entries) + 4
    place = {258: bits_at, 273: bits_at + 6}
    table = b"".join(struct.pack("<HHII", tag, kind, n, place.get(tag, value)) for tag, kind, n, value in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + table + struct.pack("<I", 0) + struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes()


def test_a_nonsense_orientation_means_upright():
    exif = pillow.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(decode(saved(pillow.fromarray(picture()), "PNG", exif=exif), name="x"), picture())


def test_pages_of_a_tiff_are_told_apart():
    pages = [pillow.fromarray(np.full((5, 6 + i, 3), 40 * i, np.uint8)) for i in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [decode(data, name="x", page=i).shape[1] for i in range(3)] == [6, 7, 8]
    with pytest.raises(ImageError, match=r"x: has no page 4"):
        decode(data, name="x", page=3)


def test_pages_of_deep_colour_are_told_apart():
    pages = [np.full((5, 6, 3), 1000 * (i + 1), np.uint16) for i in range(2)]
    pages[0][0, 0] = pages[1][0, 0] = 65535
    ok, data = cv2.imencodemulti(".tif", pages)
    assert ok
    assert [int(decode(data.tobytes(), name="x", page=i)[2, 2, 0]) for i in range(2)] == [4, 8]


# --- bad input -----------------------------------------------------------------------------------------------------


def test_zero_bytes_say_so():
    with pytest.raises(ImageError, match=r"^a\.jpg: not a readable image \(0 bytes\); remove it or copy it again$"):
        decode(b"", name="a.jpg")


@pytest.mark.parametrize("data", [b"hello, this is text\n" * 50, b"GIF89a" + bytes(50), b"\x80\x04K\x01.", b"%PDF-1.7", b"\xff"])
def test_other_content_is_refused(data):
    with pytest.raises(ImageError, match=r"^a\.jpg: not a readable image \(not JPEG, PNG, BMP or TIFF inside\)"):
        decode(data, name="a.jpg")


def test_a_format_that_pillow_knows_and_we_do_not_want_is_refused():
    with pytest.raises(ImageError, match="not JPEG, PNG, BMP or TIFF"):
        decode(saved(pillow.fromarray(picture()), "WEBP"), name="a.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated_images_are_reported_by_name(suffix, share):
    data = encode(picture(200, 300), suffix)
    with pytest.raises(ImageError, match=r"^slides/a: ") as error:
        decode(data[: int(len(data) * share)], name="slides/a")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
def test_damaged_bytes_give_an_image_or_an_image_error_and_nothing_else(suffix):
    rng = np.random.default_rng(3)
    good = np.frombuffer(encode(picture(), suffix), np.uint8)
    for _ in range(150):
        bad = good.copy()
        where = rng.integers(0, min(len(bad), 400), size=rng.integers(1, 6))
        bad[where] = rng.integers(0, 256, size=len(where))
        try:
            image = decode(bad.tobytes(), name="a", max_pixels=10**6)
        except ImageError:
            continue
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)


def test_a_decompression_bomb_is_refused_before_decoding():
    """A true 20,000 × 20,000 image, in 50 kB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = saved(pillow.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(ImageError, match=r"bomb\.png: 20000×20000 pixels is more than the limit of 89478485"):
        decode(data, name="bomb.png")


def test_the_limit_holds_to_the_pixel():
    data = encode(picture(30, 40), ".png")
    assert decode(data, name="x", max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(ImageError, match="more than the limit of 1199"):
        decode(data, name="x", max_pixels=1199)


def test_a_small_first_page_does_not_hide_a_large_second_one():
    pages = [pillow.new("L", (4, 4)), pillow.new("L", (400, 400))]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="400×400 pixels is more than"):
        decode(data, name="x", page=1, max_pixels=1000)


def test_forty_megapixels_decode():
    data = saved(pillow.new("RGB", (8000, 5000), (200, 180, 190)), "JPEG")
    assert decode(data, name="x").shape == (5000, 8000, 3)
    assert 8000 * 5000 < MAX_PIXELS


def test_decoding_in_threads_warns_nobody_and_mixes_nothing_up():
    files = [encode(np.full((20 + i, 30, 3), i, np.uint8), ".png") for i in range(8)]
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda i=i: found.__setitem__(i, decode(files[i], name=str(i)))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[i].shape[0] == 20 + i and (found[i] == i).all() for i in range(8))


# --- reading files -------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"^s/a\.jpg: cannot read it \(No such file"):
        read_bytes(Field("s/a.jpg", tmp_path / "a.jpg"))


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)  # a superuser may read everything: a real mode would not do
    with pytest.raises(ImageError, match=r"^a\.jpg: cannot read it \(Permission denied\)"):
        read_bytes(Field("a.jpg", tmp_path / "a.jpg"))


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("smear.images.MAX_FILE_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    with pytest.raises(ImageError, match=r"a\.jpg: 11 bytes is more than the limit of 10"):
        read_bytes(Field("a.jpg", tmp_path / "a.jpg"))


# --- writing -------------------------------------------------------------------------------------------------------


def test_written_images_carry_no_metadata(tmp_path):
    write_image(tmp_path / "deep/er/a.jpg", picture())
    with pillow.open(tmp_path / "deep/er/a.jpg") as image:
        assert not image.getexif()
        assert not {"exif", "comment", "icc_profile"} & set(image.info)
    assert os.listdir(tmp_path / "deep/er") == ["a.jpg"]


def test_an_unknown_suffix_is_refused():
    with pytest.raises(ImageError, match=r"'\.gif': cannot write"):
        encode(picture(), ".gif")


def test_encoding_is_repeatable():
    assert all(encode(picture(), s) == encode(picture(), s) for s in (".jpg", ".png", ".tif"))


# --- resizing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "shape"), [(1, (30, 40)), (0.5, (15, 20)), (2, (60, 80)), (0.001, (1, 1))])
def test_resize_gives_the_rounded_size(factor, shape):
    assert resize(picture(), factor).shape == (*shape, 3)


def test_shrinking_keeps_the_mean():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert abs(resize(noise, 0.25).mean() - noise.mean()) < 1
