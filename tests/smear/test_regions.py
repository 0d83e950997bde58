"""Windows of large TIFFs are the pixels that an ordinary reader would give; what cannot be read is said by name."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from benchmarks.tiled import ENCODERS, write_tiled
from smear import regions
from smear.errors import ImageError
from smear.images import read_image
from smear.regions import is_region, open_region
from smear.types import Field

HEIGHT, WIDTH, TILE = 150, 210, 64


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth colours, so that JPEG keeps them, that differ everywhere."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, y + 40, 200 - (x + y) // 3], axis=2).astype(np.uint8)


def tiled(path: Path, picture: np.ndarray, **how) -> Path:
    bands = (picture[y : y + TILE] for y in range(0, picture.shape[0], TILE))
    write_tiled(path, picture.shape[:2], bands, tile_px=TILE, **how)
    return path


def whole(path: Path) -> np.ndarray:
    region = open_region(path, name=path.name)
    return region.read(0, region.shape_hw[0], 0, region.shape_hw[1])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("how", ENCODERS)
def test_a_region_has_the_pixels_of_an_ordinary_field(tmp_path, picture, how, big):
    path = tiled(tmp_path / "a.tif", picture, how=how, big=big)
    assert np.array_equal(whole(path), read_image(path))
    assert np.abs(whole(path).astype(int) - picture).max() <= (0 if how in ("deflate", "none") else 12)


@pytest.mark.parametrize(("mode", "options"), [
    ("RGB", {}), ("RGB", {"compression": "tiff_lzw"}), ("RGB", {"compression": "jpeg"}), ("L", {"compression": "tiff_adobe_deflate"}),
    ("RGBA", {}), ("P", {}),
])  # fmt: skip
def test_strips_are_read_too(tmp_path, picture, mode, options):
    path = tmp_path / "a.tif"
    image = pillow.fromarray(picture)
    (image.quantize(60) if mode == "P" else image.convert(mode)).save(path, **options)
    assert np.array_equal(whole(path), read_image(path))


@pytest.mark.parametrize(
    ("y0", "y1", "x0", "x1"), [(0, 1, 0, 1), (60, 70, 60, 70), (63, 64, 0, 210), (100, 150, 190, 210), (9, 140, 5, 99)]
)
def test_a_window_is_that_part_of_the_whole(tmp_path, picture, y0, y1, x0, x1):
    region = open_region(tiled(tmp_path / "a.tif", picture, how="deflate"), name="a.tif")
    assert np.array_equal(region.read(y0, y1, x0, x1), picture[y0:y1, x0:x1])


@pytest.mark.parametrize("window", [(0, 0, 0, 5), (-1, 5, 0, 5), (0, 5, 0, 211), (0, 151, 0, 5), (9, 3, 0, 5)])
def test_a_window_beyond_the_region_is_our_mistake(tmp_path, picture, window):
    with pytest.raises(ValueError, match="does not lie in"):
        open_region(tiled(tmp_path / "a.tif", picture), name="a.tif").read(*window)


def test_around_stops_at_the_border(tmp_path, picture):
    region = open_region(tiled(tmp_path / "a.tif", picture, how="none"), name="a.tif")
    for box, margin in (([5.5, 6, 20, 21], 10), ([190, 130, 210, 150], 30), ([80, 80, 81, 81], 0)):
        part, (x, y) = region.around(np.array(box, np.float32), margin)
        assert np.array_equal(part, picture[y : y + part.shape[0], x : x + part.shape[1]])
        assert (x, y) == (max(0, int(box[0] - margin)), max(0, int(box[1] - margin)))
        assert x + part.shape[1] == min(WIDTH, box[2] + margin)


def test_reduced_averages_areas_by_a_whole_factor(tmp_path, picture):
    region = open_region(tiled(tmp_path / "a.tif", picture, how="none"), name="a.tif")
    small = region.reduced(70)
    assert small.shape == (50, 70, 3)
    means = picture.reshape(50, 3, 70, 3, 3).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 1
    assert np.array_equal(region.reduced(210), picture)


def test_tiles_that_were_left_out_are_white_and_counted(tmp_path, picture):
    with_hole = picture.copy()
    with_hole[64:128, 64:128] = 255
    region = open_region(tiled(tmp_path / "a.tif", with_hole, how="jpeg"), name="a.tif")
    assert region.n_empty == 1
    assert (region.read(64, 128, 64, 128) == 255).all()


def test_many_threads_read_the_same_pixels(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(regions, "CACHE_BYTES", 3 * TILE * TILE * 3)
    region = open_region(tiled(tmp_path / "a.tif", picture, how="deflate"), name="a.tif")
    windows = [(y, y + 50, x, x + 60) for y in range(0, 100, 20) for x in range(0, 150, 30)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda w: region.read(*w), windows))
    assert all(np.array_equal(r, picture[w[0] : w[1], w[2] : w[3]]) for r, w in zip(read, windows, strict=True))
    assert len(region._decoded) <= 3


def test_the_content_is_the_bytes_of_the_file(tmp_path, picture):
    path = tiled(tmp_path / "a.tif", picture)
    assert b"".join(open_region(path, name="a.tif").content()) == path.read_bytes()


class TestWhatIsARegion:
    def test_a_large_tiff_is_and_a_small_one_is_not(self, tmp_path, picture):
        field = Field("a.tif", tiled(tmp_path / "a.tif", picture))
        assert is_region(field, above_pixels=HEIGHT * WIDTH - 1)
        assert not is_region(field, above_pixels=HEIGHT * WIDTH)

    def test_another_format_is_none_whatever_its_name(self, tmp_path, picture):
        pillow.fromarray(picture).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.tif")
        (tmp_path / "b.tif").write_bytes(b"II*\x00")
        for name in ("a.tif", "b.tif", "missing.tif", "a.jpg"):
            assert not is_region(Field(name, tmp_path / name), above_pixels=0)

    def test_each_page_is_asked_by_itself(self, tmp_path, picture):
        pillow.fromarray(picture[:20]).save(tmp_path / "a.tif", save_all=True, append_images=[pillow.fromarray(picture)])
        assert [is_region(Field("a", tmp_path / "a.tif", page=p), above_pixels=20 * WIDTH) for p in range(3)] == [False, True, False]
        region = open_region(tmp_path / "a.tif", name="a", page=1)
        assert np.array_equal(region.read(0, HEIGHT, 0, WIDTH), picture)


class TestRefusals:
    def test_more_pixels_than_the_limit(self, tmp_path, picture):
        with pytest.raises(ImageError, match=r"^a\.tif: 210×150 pixels is more than the limit of 31499; cut the image"):
            open_region(tiled(tmp_path / "a.tif", picture), name="a.tif", max_pixels=HEIGHT * WIDTH - 1)

    def test_tiles_larger_than_the_limit(self, tmp_path, picture, monkeypatch):
        monkeypatch.setattr(regions, "MAX_SEGMENT_PIXELS", TILE * TILE - 1)
        with pytest.raises(ImageError, match=r"^a\.tif: 210×150 pixels in pieces of 64×64; save it as a TIFF with tiles"):
            open_region(tiled(tmp_path / "a.tif", picture), name="a.tif")

    def test_a_tile_whose_own_header_claims_more_than_the_tile(self, tmp_path, picture, monkeypatch):
        region = open_region(tiled(tmp_path / "a.tif", picture, how="jpeg"), name="a.tif")
        monkeypatch.setattr(region, "_stored", lambda index: ENCODERS["jpeg"][0](np.tile(picture, (9, 9, 1))))
        with pytest.raises(ImageError, match=r"^a\.tif: tile 0: damaged"):
            region.read(0, 10, 0, 10)

    @pytest.mark.parametrize("how", ["deflate", "jpeg", "none"])
    def test_a_damaged_tile_is_named(self, tmp_path, picture, how):
        path = tiled(tmp_path / "a.tif", picture, how=how)
        region = open_region(path, name="a.tif")
        if how == "none":  # plain bytes are never wrong, but they may be too few
            path.write_bytes(path.read_bytes()[:3000])
        else:
            data = bytearray(path.read_bytes())
            offset, count = int(region._layout.offsets[1]), int(region._layout.counts[1])
            data[offset : offset + count] = b"\x55" * count
            path.write_bytes(bytes(data))
        with pytest.raises(ImageError, match=r"^a\.tif: .*(damaged|shorter)"):
            region.read(0, 64, 0, 128)

    def test_a_file_cut_short(self, tmp_path, picture):
        path = tiled(tmp_path / "a.tif", picture, how="none")
        data = bytearray(path.read_bytes())
        at = int.from_bytes(data[4:8], "little")
        path.write_bytes(bytes(data[:8]) + bytes(data[at - 400 :]))
        with pytest.raises(ImageError, match=r"^a\.tif: (not a readable|damaged)"):
            open_region(path, name="a.tif")

    def test_deep_colour(self, tmp_path):
        pillow.fromarray(np.zeros((20, 20), np.uint16)).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"16 bits a channel .* convert it to 8 bits"):
            open_region(tmp_path / "a.tif", name="a.tif")

    def test_a_turned_picture(self, tmp_path, picture):
        pillow.fromarray(picture).save(tmp_path / "a.tif", tiffinfo={274: 6})
        with pytest.raises(ImageError, match="save it upright"):
            open_region(tmp_path / "a.tif", name="a.tif")

    def test_no_such_page(self, tmp_path, picture):
        with pytest.raises(ImageError, match=r"^a\.tif: has no page 3"):
            open_region(tiled(tmp_path / "a.tif", picture), name="a.tif", page=2)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(ImageError, match=r"^a\.tif: "):
            open_region(tmp_path / "a.tif", name="a.tif")
