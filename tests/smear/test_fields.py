"""A folder becomes the same fields, in the same order, whatever lies in it."""

import io
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image as pillow

from smear.errors import ConfigError, ImageError
from smear.fields import find_fields
from smear.images import decode, encode, read_bytes


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.zeros((4, 4, 3), np.uint8), path.suffix.lower()))


def test_subfolders_are_slides_and_ids_are_sorted_paths(tmp_path):
    fill(tmp_path, "s2/b.jpg", "s1/a.PNG", "s1/deep/c.tif", "z.bmp")
    fields = find_fields(tmp_path)
    assert [(f.id, f.slide, f.page) for f in fields] == [
        ("s1/a.PNG", "s1", 0), ("s1/deep/c.tif", "s1/deep", 0), ("s2/b.jpg", "s2", 0), ("z.bmp", "", 0)]  # fmt: skip
    assert {f.slide for f in find_fields(tmp_path, slides=False)} == {""}


def test_one_name_with_two_suffixes_is_two_fields(tmp_path):
    fill(tmp_path, "a.jpg", "a.png", "A.jpg")
    assert [f.id for f in find_fields(tmp_path)] == ["A.jpg", "a.jpg", "a.png"]


def test_each_page_is_a_field_and_thumbnails_are_not(tmp_path):
    pages = [pillow.new("L", (8, 8)) for _ in range(3)]
    tags = [{}, {254: 1}, {}]
    buffer = io.BytesIO()
    from PIL import TiffImagePlugin

    with TiffImagePlugin.AppendingTiffWriter(buffer) as writer:
        for page, tag in zip(pages, tags, strict=True):
            page.save(writer, format="TIFF", tiffinfo=tag)
            writer.newFrame()
    (tmp_path / "a.tif").write_bytes(buffer.getvalue())
    assert [(f.id, f.page) for f in find_fields(tmp_path)] == [("a.tif#1", 0), ("a.tif#3", 2)]


def test_ten_pages_keep_their_order(tmp_path):
    pages = [pillow.new("L", (8, 8)) for _ in range(11)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert [f.page for f in find_fields(tmp_path)] == list(range(11))


def test_hidden_files_and_folders_are_left_out(tmp_path):
    fill(tmp_path, "a.jpg", "._a.jpg", ".cache/b.jpg")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert [f.id for f in find_fields(tmp_path)] == ["a.jpg"]


def test_unreadable_files_are_fields_that_fail_later(tmp_path):
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    os.symlink(tmp_path / "gone.png", tmp_path / "link.png")
    fields = find_fields(tmp_path)
    assert [f.id for f in fields] == ["empty.tif", "link.png", "text.jpg"]
    for field in fields:
        with pytest.raises(ImageError, match=rf"^{field.id}: "):
            decode(read_bytes(field), name=field.id, page=field.page)


def test_both_unicode_forms_of_a_name_are_fields(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Präparat é.png") for form in ("NFC", "NFD"))
    fill(tmp_path, nfc, nfd)
    ids = [f.id for f in find_fields(tmp_path)]
    assert len(ids) == len(set(ids)) == 2 - (nfc == nfd)
    for field in find_fields(tmp_path):
        assert read_bytes(field)


def test_a_name_that_is_not_utf8_still_prints(tmp_path):
    fill(tmp_path, "ok.png")
    try:
        os.rename(tmp_path / "ok.png", os.fsencode(tmp_path) + b"/b\xff.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    (field,) = find_fields(tmp_path)
    assert field.id.encode("utf-8") == b"b\\xff.png"
    assert read_bytes(field)


def test_folder_links_are_followed_once_and_loops_end(tmp_path):
    fill(tmp_path, "root/s1/a.png", "elsewhere/b.png")
    os.symlink(tmp_path / "root", tmp_path / "root/s1/loop")
    os.symlink(tmp_path / "root/s1", tmp_path / "root/s1_again")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root/s2")
    assert [f.id for f in find_fields(tmp_path / "root")] == ["s1/a.png", "s2/b.png"]


@pytest.mark.parametrize(
    ("make", "said"),
    [(lambda p: None, "no such folder"), (lambda p: p.write_text(""), "not a folder"), (lambda p: p.mkdir(), "no images in it")],
)
def test_a_folder_without_images_is_one_clear_line(tmp_path, make, said):
    make(tmp_path / "x")
    with pytest.raises(ConfigError, match=said):
        find_fields(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_named_like_an_image_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    (field,) = find_fields(tmp_path)
    with pytest.raises(ImageError, match=r"^a\.tif: not a readable image \(not a regular file\)"):
        read_bytes(field)
