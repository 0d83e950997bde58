"""smear.metrics.pairs and extras: who belongs to whom, and what a detection is that found no white cell."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear import boxes
from smear.metrics.extras import EXTRAS, lies_on, share_inside
from smear.metrics.pairs import OWNERS, pair_cells
from smear.types import Detections, Field, FieldFailure, FieldResult, Scale

TRUTH = ("ALL", "HEM", "RBC", "WBC", "Smudge")
WHITE = (0, 0, 100, 100)
SHAPE = (600, 800)


def truth_of(*rows):
    """Rows of x0 y0 x1 y1 and the name of the class."""
    return Detections([r[:4] for r in rows], np.ones(len(rows)), [TRUTH.index(r[4]) for r in rows])


def found(*corners, p=0.9, rbc_px=60.0):
    """White cells, the surest first."""
    n = len(corners)
    p_all = np.broadcast_to(np.float32(p), n)
    detections = Detections(np.array(corners, np.float32).reshape(-1, 4), np.linspace(0.9, 0.5, n), [0] * n)
    scale = Scale(rbc_px, 0.1, 9, "red cells")
    probabilities = np.stack([p_all, 1 - p_all], axis=1)
    return FieldResult(Field("a.png", Path("a.png")), SHAPE, detections, ("WBC",), [True] * n, probabilities, ("ALL", "HEM"), 0.6, scale)


def owners(truth, result, stained=None):
    """The owner of each pair: true cells in the order of the labels, then the extras in the order found."""
    pairs = pair_cells(
        [truth], [result], ("ALL", "HEM"), truth_classes=TRUTH, white_classes=("WBC",), ignored_classes=("Smudge",), stained=stained
    )
    return [p.owner for p in pairs]


def moved(box, dx, dy=0):
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


class TestTrueCells:
    @pytest.mark.parametrize(("p", "owner"), [(0.9, "right"), (0.1, "wrong"), (0.55, "review"), (0.45, "review")])
    def test_a_matched_cell_is_right_wrong_or_sent_to_review(self, p, owner):
        assert owners(truth_of((*WHITE, "ALL")), found(WHITE, p=p)) == [owner]

    @pytest.mark.parametrize(("dx", "owner"), [(0, "right"), (33, "right"), (34, "loose"), (81, "loose"), (82, "missed"), (200, "missed")])
    def test_how_far_a_box_may_be_off(self, dx, owner):
        """Boxes of 100 px: 33 px off is an IoU of 0.504, 34 of 0.493, 81 of 0.105, 82 of 0.099."""
        assert owners(truth_of((*WHITE, "ALL")), found(moved(WHITE, dx)))[0] == owner

    def test_a_lobe_of_the_nucleus_is_loose_not_an_extra(self):
        assert owners(truth_of((*WHITE, "ALL")), found((20, 20, 45, 45))) == ["loose"]

    def test_a_second_box_doubles_the_cell_whatever_its_label(self):
        assert owners(truth_of((*WHITE, "ALL")), found(WHITE, moved(WHITE, 50))) == ["doubled", "duplicate"]
        assert owners(truth_of((*WHITE, "ALL")), found((0, 0, 45, 100), (55, 0, 100, 100))) == ["doubled", "duplicate"]

    def test_a_box_on_two_cells_finds_one_and_misses_the_other(self):
        pair = truth_of((*WHITE, "ALL"), (*moved(WHITE, 90), "ALL"))
        assert sorted(owners(pair, found((0, 0, 190, 100)))) == ["missed", "right"]

    def test_neighbours_that_touch_are_each_matched(self):
        pair = truth_of((*WHITE, "ALL"), (*moved(WHITE, 64, 64), "ALL"))  # round cells of 100 px, 90 px apart
        assert boxes.iou(pair.boxes[:1], pair.boxes[1:])[0, 0] < 0.1
        assert owners(pair, found(WHITE, moved(WHITE, 64, 64))) == ["right", "right"]
        assert owners(pair, found(WHITE)) == ["right", "missed"]

    def test_cells_of_unknown_kind_are_found_and_other_labels_are_no_cells(self):
        truth = truth_of((*WHITE, "WBC"), (300, 300, 360, 360, "RBC"), (400, 400, 460, 460, "Smudge"))
        assert owners(truth, found(WHITE)) == ["found"]

    def test_a_failed_field_misses_all(self):
        truth = truth_of((*WHITE, "ALL"), (*moved(WHITE, 200), "WBC"))
        assert owners(truth, FieldFailure(Field("a.png", Path("a.png")), "decode", "broken")) == ["missed", "missed"]


class TestExtras:
    RED = (300, 300, 360, 360)

    def extra(self, box, *labels, stained=0.0, rbc_px=60.0):
        names = owners(truth_of(*labels), found(box, rbc_px=rbc_px), [np.array([stained])])
        assert set(names[:-1]) <= {"missed"}
        return names[-1]

    def test_on_glass(self):
        assert self.extra((300, 300, 400, 400)) == "background"

    def test_a_dark_thing_that_nobody_labelled_is_debris(self):
        assert self.extra((300, 300, 400, 400), stained=0.2) == "debris"
        assert self.extra((300, 300, 400, 400), stained=0.19) == "background"
        assert self.extra((300, 300, 400, 400), stained=np.nan) == "background"

    def test_a_red_cell(self):
        assert self.extra(self.RED, (*self.RED, "RBC")) == "red cell or platelet"
        assert self.extra(self.RED, (*self.RED, "RBC"), stained=0.9) == "red cell or platelet"  # the label knows better than the stain

    def test_a_box_that_overlaps_a_red_cell_somewhat(self):
        assert self.extra((320, 320, 420, 420), (*self.RED, "RBC")) == "red cell or platelet"
        assert self.extra((320, 320, 420, 420), (*self.RED, "RBC"), stained=0.5) == "debris"
        assert self.extra((355, 355, 455, 455), (*self.RED, "RBC")) == "background"

    def test_a_red_cell_beside_a_white_one_is_not_its_duplicate(self):
        truth = truth_of((*WHITE, "ALL"), (70, 0, 130, 60, "RBC"))
        assert owners(truth, found(WHITE, (70, 0, 130, 60))) == ["right", "red cell or platelet"]
        assert owners(truth, found((70, 0, 130, 60))) == ["missed", "red cell or platelet"]

    def test_in_a_region_that_nobody_labelled(self):
        assert self.extra((300, 300, 400, 400), (250, 250, 500, 500, "Smudge"), stained=0.9) == "ignored"

    def test_a_sliver_at_the_border(self):
        """A typical white cell is 105 px wide here: less than 3307 px² of it is a sliver."""
        assert self.extra((0, 300, 33, 400), stained=0.9) == "ignored"
        assert self.extra((0, 300, 34, 400), stained=0.9) == "debris"
        assert self.extra((10, 300, 43, 400)) == "background"
        assert self.extra((767.2, 300, 799.2, 400)) == "ignored"

    def test_without_a_scale_nothing_is_a_sliver(self):
        assert self.extra((0, 300, 33, 400), rbc_px=np.nan) == "background"


def test_lies_on_and_share_inside():
    things = np.array([WHITE], np.float32)
    assert share_inside(np.array([(50, 0, 150, 100), (0, 0, 0, 0)], np.float32), things).ravel().tolist() == [0.5, 0.0]
    assert lies_on(np.array([(10, 10, 20, 20)], np.float32), things)[0, 0] == pytest.approx(0.01)
    assert lies_on(np.array([(95, 95, 195, 195)], np.float32), things)[0, 0] == 0
    assert lies_on(np.zeros((0, 4), np.float32), things).shape == (0, 1)


@st.composite
def fields(draw):
    """A crowded field: labels and detections of any kind anywhere, many of them over each other."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    centres = rng.uniform(0, 260, (n + m, 2))
    copies = rng.random(m) < 0.6
    if n:
        centres[n:][copies] = centres[rng.integers(0, n, int(copies.sum()))] + rng.normal(0, 15, (int(copies.sum()), 2))
    half = rng.uniform(10, 60, (n + m, 2))
    corners = np.clip(np.concatenate([centres - half, centres + half], axis=1), 0, 300)
    truth = Detections(corners[:n], np.ones(n), rng.integers(0, len(TRUTH), n))
    result = found(*corners[n:], p=rng.random(m), rbc_px=float(rng.choice([60, np.nan])))
    return truth, result, rng.choice([0, 0.5, np.nan], m)


@settings(max_examples=150, deadline=None)
@given(fields())
def test_every_cell_and_every_detection_is_in_exactly_one_pair(field):
    truth, result, stained = field
    pairs = list(
        pair_cells(
            [truth], [result], ("ALL", "HEM"), truth_classes=TRUTH, white_classes=("WBC",), ignored_classes=("Smudge",), stained=[stained]
        )
    )
    white = np.isin(truth.labels, [0, 1, 3])
    assert [p.row for p in pairs if p.truth is not None] == np.flatnonzero(white).tolist()
    assert sorted(p.found.index for p in pairs if p.found is not None) == list(range(len(result.detections)))
    for pair in pairs:
        assert pair.owner in (EXTRAS if pair.truth is None else ("found", "missed", "doubled", "loose") if pair.truth < 0 else OWNERS)
    assert sum(p.n_doubles for p in pairs) == sum(p.owner == "duplicate" for p in pairs)
    assert all((p.iou >= 0.5) == p.is_matched for p in pairs if p.truth is not None and p.found is not None)


@settings(max_examples=60, deadline=None)
@given(fields(), st.randoms(use_true_random=False))
def test_the_order_of_the_labels_does_not_matter(field, random):
    truth, result, stained = field
    order = list(range(len(truth)))
    random.shuffle(order)
    assert sorted(owners(truth, result, [stained])) == sorted(owners(truth.take(np.array(order, int)), result, [stained]))
