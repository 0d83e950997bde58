"""The output folder: names that never collide, records that mean a finished field."""

import json
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from smear import store as store_module
from smear.errors import ConfigError
from smear.images import write_image
from smear.report import gallery
from smear.store import Store, output_names
from smear.types import Detections, Field, FieldFailure, FieldResult, Scale

IMAGE = np.full((60, 80, 3), 200, np.uint8)


def field(name: str, page: int = 0) -> Field:
    return Field(name, Path("in") / name, page=page)


def result(of: Field, n: int = 2) -> FieldResult:
    boxes = np.array([[5, 5, 25, 25], [40, 10, 60, 30]], np.float32)[:n]
    found = Detections(boxes, np.full(n, 0.9, np.float32), np.zeros(n, np.int64))
    probabilities = np.tile(np.array([0.8, 0.2], np.float32), (n, 1))
    scale = Scale(12.0, 0.1, 9, "red cells")
    return FieldResult(of, (60, 80), found, ("WBC",), np.ones(n, bool), probabilities, ("ALL", "HEM"), 0.7, scale, cell_warnings=((),) * n)


class TestOutputNames:
    @pytest.mark.parametrize(
        ("ids", "names"),
        [
            ([], []),
            (["a.jpg"], ["a"]),
            (["s/a.jpg", "t/a.jpg"], ["s/a", "t/a"]),
            (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
            (["a.JPG", "A.png"], ["a.JPG", "A.png"]),
            (["a.b.jpg", "a.jpg"], ["a.b", "a"]),
            (["a#1.jpg", "b.jpg"], ["a#1", "b"]),
        ],
    )
    def test_a_name_is_the_path_without_suffix_unless_two_collide(self, ids, names):
        found = output_names([field(i) for i in ids])
        assert [found[i] for i in ids] == names

    def test_pages_are_numbered(self):
        assert output_names([field("a.tif#1", 0), field("a.tif#2", 1)]) == {"a.tif#1": "a-1", "a.tif#2": "a-2"}

    @pytest.mark.parametrize(
        "ids",
        [
            ["a.jpg", "a.png", "a.jpg.png"],
            ["a.jpg", "a.png", "a.jpg.png", "a.png.jpg"],
            ["caf\u00e9.png", "cafe\u0301.png"],
            ["stra\u00dfe.png", "STRASSE.png"],
            ["a-1.png", "a.tif#1", "a.tif-1.png"],
            ["x" * 251 + ".jpg", "x" * 251 + ".png", "x" * 250 + "y.png"],
        ],
    )
    def test_names_differ_on_any_file_system(self, ids):
        import unicodedata

        names = output_names([field(i) for i in ids])
        assert set(names) == set(ids)
        assert len({unicodedata.normalize("NFC", n).casefold() for n in names.values()}) == len(ids)
        assert all(len(n.encode()) <= 240 for n in names.values())

    def test_the_same_fields_get_the_same_names_in_any_order(self):
        fields = [field(i) for i in ("caf\u00e9.png", "cafe\u0301.png", "a.jpg", "a.png", "a.jpg.png")]
        assert output_names(fields) == output_names(fields[::-1])


class TestRecall:
    def test_what_was_kept_is_recalled_as_it_was(self, tmp_path):
        one = field("a.png")
        store = Store(tmp_path, [one], key="k")
        assert store.recall(one, b"bytes") is None
        store.keep(result(one), IMAGE)
        assert Store(tmp_path, [one], key="k").recall(one, b"bytes") == result(one)

    def test_a_run_without_pictures_is_recalled_by_one_without_and_not_by_one_with(self, tmp_path):
        one = field("a.png")
        plain = Store(tmp_path, [one], key="k", with_annotated=False)
        assert plain.recall(one, b"data") is None
        plain.keep(result(one), IMAGE)
        assert list((tmp_path / "annotated").iterdir()) == []
        assert plain.recall(one, b"data") == result(one)
        assert Store(tmp_path, [one], key="k").recall(one, b"data") is None

    @pytest.mark.parametrize(("key", "data"), [("other", b"bytes"), ("k", b"other")])
    def test_other_settings_or_bytes_recall_nothing(self, tmp_path, key, data):
        one = field("a.png")
        store = Store(tmp_path, [one], key="k")
        store.recall(one, b"bytes")
        store.keep(result(one), IMAGE)
        assert Store(tmp_path, [one], key=key).recall(one, data) is None

    def test_a_failure_is_tried_again(self, tmp_path):
        one = field("a.png")
        store = Store(tmp_path, [one], key="k")
        store.recall(one, b"bytes")
        store.keep(FieldFailure(one, "decode", "a.png: damaged"), None)
        assert json.loads((tmp_path / "fields" / "a.json").read_text())["error"] == "a.png: damaged"
        assert store.recall(one, b"bytes") is None

    @pytest.mark.parametrize("lost", ["annotated/a.png", "crops/a/1.png", "fields/a.json"])
    def test_a_field_with_a_file_missing_is_made_again(self, tmp_path, lost):
        one = field("a.png")
        store = Store(tmp_path, [one], key="k", with_crops=True)
        store.recall(one, b"bytes")
        store.keep(result(one), IMAGE)
        (tmp_path / lost).unlink()
        assert store.recall(one, b"bytes") is None

    def test_a_field_is_finished_only_when_its_record_is_written(self, tmp_path, monkeypatch):
        one = field("a.png")
        store = Store(tmp_path, [one], key="k", with_crops=True)
        store.recall(one, b"bytes")
        store.keep(result(one), IMAGE)
        monkeypatch.setattr(store_module, "write_image", full_disk(after=1))
        with pytest.raises(OSError, match="No space left"):
            store.keep(result(one, n=1), IMAGE)
        assert Store(tmp_path, [one], key="k").recall(one, b"bytes") is None


class TestFinish:
    def test_no_field_at_all_still_gives_every_file(self, tmp_path):
        report = Store(tmp_path, [], key="k").finish([], cards=[], config={})
        assert report["total"]["n_fields"] == 0
        assert (tmp_path / "cells.csv").read_text().startswith("field,slide,cell,")
        assert "<html" in (tmp_path / "report.html").read_text()

    def test_the_gallery_shows_every_cell_of_every_run(self, tmp_path):
        one, two = field("a.png"), field("b.png")
        first = Store(tmp_path, [one, two], key="k")
        first.keep(result(one), IMAGE)
        first.keep(result(two, n=1), IMAGE)
        again = Store(tmp_path, [one, two], key="k")
        again.finish([result(one), result(two, n=1)], cards=[], config={})
        assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == 3


def test_a_file_in_place_of_the_folder_is_one_clear_line(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match=r"out: cannot write there .*; choose another --out"):
        Store(tmp_path / "out", [], key="k")
    assert (tmp_path / "out").read_text() == "mine"


def full_disk(after: int):
    """A `write_image` that finds the disk full after some calls."""
    calls = []

    def write(path, image):
        calls.append(path)
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        write_image(path, image)

    return write


class TestManyFields:
    @pytest.fixture
    def kept(self, tmp_path):
        """Thirty fields, kept: every third one failed."""
        fields = [field(f"{i:02d}.png") for i in range(30)]
        store = Store(tmp_path, fields, key="k")
        for i, one in enumerate(fields):
            if i % 3:
                store.recall(one, b"bytes")
                store.keep(result(one), IMAGE)
            else:
                store.keep(FieldFailure(one, "decode", f"{one.id}: damaged"), None)
        return store

    def test_outcomes_are_read_back_in_the_order_of_the_fields(self, kept):
        outcomes = list(kept.outcomes())
        assert [o.field.id for o in outcomes] == [f"{i:02d}.png" for i in range(30)]
        assert outcomes[1] == result(field("01.png"))
        assert outcomes[0] == FieldFailure(field("00.png"), "decode", "00.png: damaged")

    def test_a_record_that_is_gone_is_named(self, kept, tmp_path):
        (tmp_path / "fields" / "07.json").unlink()
        with pytest.raises(ConfigError, match=r"07\.json: cannot read it back"):
            list(kept.outcomes())

    def test_only_a_few_outcomes_are_held_at_once(self, kept, tmp_path):
        seen, most = [], []

        def watched():
            for outcome in kept.outcomes():
                seen.append(weakref.ref(outcome))
                most.append(sum(ref() is not None for ref in seen))
                yield outcome

        report = kept.finish(watched(), cards=[], config={})
        assert max(most) <= 4  # of 30: the first, which names the classes, the last ones
        assert (len(report["fields"]), len(report["failures"]), report["total"]["n_white"]) == (20, 10, 40)

    def test_the_same_files_whether_outcomes_are_held_or_not(self, kept, tmp_path):
        names = ("report.json", "report.html", "cells.csv", "fields.csv", "slides.csv")
        kept.finish(kept.outcomes(), cards=[], config={})
        streamed = [(tmp_path / name).read_bytes() for name in names]
        kept.finish(list(kept.outcomes()), cards=[], config={})
        assert streamed == [(tmp_path / name).read_bytes() for name in names]

    def test_the_page_shows_the_chosen_cells_with_their_own_pictures(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gallery, "GALLERY_LIMIT", 4)
        monkeypatch.setattr(store_module, "choose_cells", partial(gallery.choose_cells, limit=4))
        fields = [field(f"{i}.png") for i in range(5)]
        store = Store(tmp_path, fields, key="k")
        for i, one in enumerate(fields):
            store.keep(result(one), np.full((60, 80, 3), 40 * i, np.uint8))
        store.finish(store.outcomes(), cards=[], config={})
        page = (tmp_path / "report.html").read_text()
        shown = [i for i in range(5) for p in json.loads((tmp_path / "fields" / f"{i}.json").read_text())["gallery"][:1] if p in page]
        assert len(shown) in (2, 3)
        assert "4 of 10" in page
