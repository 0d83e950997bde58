"""Images that are odd by themselves or among their set are told, and ordinary ones not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from datasets.image_audit import odd_images, see, sizes
from datasets.listing import Item, Listing
from smear import images
from smear.errors import ImageError


def seen(paths: list[Path], **about: object) -> list:
    return [see(Item(path, **about), Listing(path.parent, "images", ())) for path in paths]


@pytest.fixture
def fields(tmp_path, paint) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        images.write_image(path, paint(i)[0])
    return paths


def test_nothing_is_odd_about_nothing():
    assert odd_images([]) == []


def test_ordinary_fields_are_not_odd(fields):
    assert odd_images(seen(fields)) == []
    assert sizes(seen(fields)) == {"sizes": {"128×96": 6}, "formats": {"PNG": 6}, "modes": {"RGB": 6}}


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.full((96, 128, 3), 180, np.uint8), "constant image"),
        (np.zeros((96, 128, 3), np.uint8), "almost all black"),
        (np.full((96, 128, 3), 255, np.uint8), "almost all white"),
        (np.random.default_rng(0).integers(0, 255, (20, 200, 3), dtype=np.uint8), "odd size"),
        (np.random.default_rng(0).integers(0, 255, (10, 12, 3), dtype=np.uint8), "odd size"),
        (np.repeat(np.random.default_rng(0).integers(60, 255, (96, 128, 1), dtype=np.uint8), 3, axis=2), "without colour"),
        (
            np.full((96, 128, 3), (10, 240, 20), np.uint8) - np.random.default_rng(0).integers(0, 9, (96, 128, 3), dtype=np.uint8),
            "odd colour",
        ),
    ],
)
def test_an_odd_image_is_told_and_the_others_not(fields, image, kind):
    images.write_image(fields[0].with_name("odd.png"), image)
    problems = odd_images(seen([*fields, fields[0].with_name("odd.png")]))
    assert {Path(p.file).name for p in problems} == {"odd.png"}
    assert kind in {p.kind for p in problems}


def test_another_mode_another_format_inside_and_more_pages_are_told(fields):
    pillow.open(fields[0]).convert("L").save(fields[0].with_name("grey.png"))
    fields[0].with_name("wrong.jpg").write_bytes(fields[1].read_bytes())
    pages = [pillow.open(path) for path in fields[2:4]]
    pages[0].save(fields[0].with_name("pages.tif"), save_all=True, append_images=pages[1:])
    paths = [*fields, *(fields[0].with_name(name) for name in ("grey.png", "wrong.jpg", "pages.tif"))]
    told = {(Path(p.file).name, p.kind) for p in odd_images(seen(paths))}
    assert {("grey.png", "odd mode"), ("wrong.jpg", "suffix is not its format"), ("pages.tif", "several pages")} <= told


def test_a_file_that_changed_since_it_was_prepared_is_told(fields):
    assert [p.kind for p in odd_images(seen(fields[:1], sha256="0" * 64))] == ["changed since it was prepared"]


def test_a_damaged_image_is_an_error_with_its_name(fields):
    fields[0].write_bytes(fields[0].read_bytes()[:500])
    with pytest.raises(ImageError, match=r"0\.png"):
        seen(fields[:1])


def test_traits_have_a_row_a_box_or_one_for_a_labelled_image(fields, tmp_path):
    (tmp_path / "0.txt").write_text("0 .5 .5 .2 .2\n1 .3 .3 .2 .2\n")
    assert [len(s.traits) for s in seen(fields[:1])] == [0]
    assert [len(s.traits) for s in seen(fields[:1], label="ALL")] == [1]
    assert [len(s.traits) for s in seen(fields[:1], label_file=tmp_path / "0.txt")] == [2]
