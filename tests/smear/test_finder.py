"""Fields are searched at an estimated scale, and measured again by what the search finds."""

from dataclasses import replace

import numpy as np
import pytest

from smear import finder
from smear.finder import BY_WHITE_CELLS, NO_RULER, SEARCH_TOLERANCE, UNSURE_SCALE, Finder
from smear.plan import Plan
from smear.scale import Ruler
from smear.types import Field
from smear.work import Work

RULER = Ruler(48, 1, (0,))
PLAN = Plan(ruler=RULER, letterbox_px=640, contract=None, crop_px=0, confidence=0.5, floor=0.5, iou=0.5, review_below=0.0)


def found_in(image, detector, plan=PLAN, *, um_per_px=None, measures=True) -> Work:
    work = Work(Field("a", path=None, um_per_px=um_per_px), image)
    search = Finder(detector, plan)
    search.measure([work])
    search.find([work], measures=measures)
    return work


@pytest.fixture
def mistaken(monkeypatch):
    """Make every estimate wrong by a factor; returns the sizes of the tiles of each later search."""

    def by(factor: float) -> None:
        honest = finder.estimate_scales
        monkeypatch.setattr(finder, "estimate_scales", lambda *args: [replace(s, rbc_px=s.rbc_px * factor) for s in honest(*args)])

    return by


@pytest.fixture
def searches(monkeypatch):
    """How many fields each pass of the detector over whole fields had."""
    sizes = []
    search = Finder.search
    monkeypatch.setattr(Finder, "search", lambda self, works: (sizes.append(len(works)), search(self, works))[1])
    return sizes


def test_the_ruler_is_that_of_all_cells_of_the_field(blobs, paint, searches):
    work = found_in(paint((1500, 1500), rbc_px=40, n_red=100), blobs)
    assert work.scale.n > 90
    assert work.quality["rbc_px"] == work.scale.rbc_px == pytest.approx(40, rel=0.05)
    assert searches == [1]


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_field_searched_at_nearly_its_scale_is_searched_once(blobs, paint, mistaken, searches, factor):
    mistaken(factor)
    work = found_in(paint((480, 480), rbc_px=40, n_red=10), blobs)
    assert searches == [1]
    assert work.scale.rbc_px == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_field_searched_at_quite_another_scale_is_searched_once_more(blobs, paint, mistaken, searches, factor):
    image = paint((480, 480), rbc_px=40, n_red=10)
    right = found_in(image, blobs)
    searches.clear()
    mistaken(factor)
    work = found_in(image, blobs)
    assert searches == [1, 1]
    assert work.scale.rbc_px == pytest.approx(right.scale.rbc_px, rel=0.02)
    assert work.quality["resized"] == pytest.approx(48 / work.scale.rbc_px, rel=0.05)
    assert len(work.found) == len(right.found)
    assert work.warnings == right.warnings


def test_a_part_of_a_field_keeps_the_scale_it_was_given(blobs, paint, mistaken, searches):
    mistaken(1.5)
    work = found_in(paint((480, 480), rbc_px=40, n_red=10), blobs, measures=False)
    assert searches == [1]
    assert work.scale.rbc_px == pytest.approx(60, rel=0.05)


def test_a_given_pixel_size_is_not_measured_again(blobs, paint, searches):
    work = found_in(paint((480, 480), rbc_px=40, n_red=10), blobs, um_per_px=7.5 / 60)
    assert (work.scale.rbc_px, work.scale.source, searches) == (60, "given", [1])


def test_the_ruler_sees_doubtful_cells_that_the_result_does_not_keep(blobs, paint):
    class Doubting:
        classes = blobs.classes

        def __call__(self, tiles):
            return [replace(d, scores=d.scores * np.float32(0.4)) for d in blobs(tiles)]

    work = found_in(paint((480, 480), rbc_px=40), Doubting())
    assert work.scale.source == "red cells"
    assert work.scale.n == 23
    assert len(work.found) == 0


def test_few_cells_in_the_windows_but_many_in_the_field_are_no_reason_for_a_warning(blobs, paint):
    assert found_in(paint((1500, 1500), rbc_px=40, n_red=100), blobs).warnings == []
    assert found_in(paint((480, 480), rbc_px=40, n_red=5), blobs).warnings == [UNSURE_SCALE]
    assert found_in(paint((480, 480), rbc_px=20, n_red=0, n_all=2, n_hem=2), blobs).warnings == [BY_WHITE_CELLS]
    assert found_in(np.full((480, 480, 3), 230, np.uint8), blobs).warnings == [NO_RULER]


def test_each_stage_has_its_seconds_also_when_a_field_is_searched_twice(blobs, paint, mistaken):
    mistaken(1.5)
    work = found_in(paint((480, 480), rbc_px=40, n_red=10), blobs)
    assert set(work.seconds) == {"scale", "detect", "quality"}
    assert all(seconds > 0 for seconds in work.seconds.values())
    assert SEARCH_TOLERANCE < 1.5
