"""The parity gate's numbers against a slow obvious version, its laws, its limits, and what it refuses to judge."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear import boxes
from smear.errors import ConfigError
from smear.parity import AUC, FLIPS, MAP, Answers, Check, Parity, box_agreement, check_auc, check_boxes, check_labels, label_flips
from smear.types import Detections


def field(rows: list[tuple[float, float, float, float, float, int]]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


def grid(n: int, *, label: int = 0, shift: float = 0.0) -> Detections:
    """Boxes of 20 px, 40 px apart: none touches another's neighbour."""
    return field([(40 * i + shift, 0, 40 * i + 20 + shift, 20, 0.9, label) for i in range(n)])


def slow_pairs(one: Detections, other: Detections) -> int:
    """Cells of `one` beside exactly one free cell of the same class: obvious where boxes of a side do not overlap."""
    free, n = list(range(len(other))), 0
    for i in range(len(one)):
        for j in list(free):
            same = one.labels[i] == other.labels[j]
            if same and boxes.iou(one.boxes[i : i + 1], other.boxes[j : j + 1])[0, 0] >= 0.5:
                free.remove(j)
                n += 1
                break
    return n


@st.composite
def scattered(draw) -> Detections:
    """Cells in places of a grid, each a little shifted or far off, of two classes."""
    places = draw(st.lists(st.integers(0, 11), unique=True, max_size=12))
    rows = []
    for place in places:
        x, y = 60 * (place % 4) + draw(st.sampled_from([0, 2, 9])), 60 * (place // 4)
        rows.append((x, y, x + 20, y + 20, draw(st.sampled_from([0.5, 0.7, 0.9])), draw(st.integers(0, 1))))
    return field(rows)


class TestAgreement:
    def test_no_boxes_agree_on_nothing(self):
        found = box_agreement([field([])], [field([])])
        assert math.isnan(found["agreement"])
        assert (found["n_reference"], found["n_variant"], found["n_pairs"]) == (0, 0, 0)

    def test_the_same_boxes_agree_wholly(self):
        found = box_agreement([grid(5)], [grid(5)])
        assert (found["agreement"], found["mean_iou"], found["largest_score_change"]) == (1, 1, 0)

    def test_a_box_too_few_and_a_box_too_many_weigh_the_same(self):
        fewer, more = box_agreement([grid(10)], [grid(9)]), box_agreement([grid(9)], [grid(10)])
        assert fewer["agreement"] == more["agreement"] == pytest.approx(18 / 19)

    def test_another_class_is_no_partner(self):
        assert box_agreement([grid(4, label=0)], [grid(4, label=1)])["agreement"] == 0

    @pytest.mark.parametrize(("shift", "agreement"), [(6.0, 1.0), (7.0, 0.0)])  # IoU 14/26 and 13/27
    def test_half_the_union_must_be_shared(self, shift, agreement):
        assert box_agreement([grid(3)], [grid(3, shift=shift)])["agreement"] == agreement

    def test_fields_do_not_help_each_other(self):
        assert box_agreement([grid(1), field([])], [field([]), grid(1)])["agreement"] == 0

    @given(scattered(), scattered())
    def test_it_is_what_the_slow_version_counts_and_the_same_both_ways(self, one, other):
        found = box_agreement([one], [other])
        assert found["n_pairs"] == slow_pairs(one, other) == box_agreement([other], [one])["n_pairs"]
        if len(one) + len(other):
            assert found["agreement"] == pytest.approx(2 * found["n_pairs"] / (len(one) + len(other)))


def both(reference: list[float], variant: list[float]) -> Answers:
    return Answers(*(np.array([[p, 1 - p] for p in side], np.float32).reshape(-1, 2) for side in (reference, variant)))


class TestFlips:
    def test_no_cells_have_no_flips(self):
        found = label_flips(both([], []), 0.8)
        assert (found["n"], found["n_flips"], found["n_flips_outside"]) == (0, 0, 0)
        assert math.isnan(found["largest_change"])

    @pytest.mark.parametrize(
        ("reference", "variant", "flips", "outside"),
        [
            (0.9, 0.7, 0, 0),  # the same label, now for review
            (0.55, 0.45, 1, 0),  # both would have been looked at
            (0.9, 0.45, 1, 1),  # the reference accepts
            (0.45, 0.9, 1, 1),  # the variant accepts
            (0.9, 0.1, 1, 1),
        ],
    )
    def test_a_flip_counts_when_either_side_accepts_its_label(self, reference, variant, flips, outside):
        found = label_flips(both([reference], [variant]), 0.8)
        assert (found["n_flips"], found["n_flips_outside"]) == (flips, outside)

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30), st.floats(0, 1))
    def test_it_counts_what_a_loop_counts_and_never_more_outside_than_all(self, cells, below):
        answers = both([r for r, _ in cells], [v for _, v in cells])
        found = label_flips(answers, below)
        n_flips = n_outside = 0
        for r, v in zip(answers.reference, answers.variant, strict=True):
            if (r[0] >= r[1]) != (v[0] >= v[1]):
                n_flips += 1
                n_outside += max(*r, *v) >= below
        assert (found["n_flips"], found["n_flips_outside"]) == (n_flips, n_outside)

    def test_sides_of_different_cells_are_our_mistake(self):
        with pytest.raises(ValueError, match="both sides must be"):
            both([0.5], [])


class TestLimits:
    def check(self, n: int = 1000, lost: int = 0, change: float = 0.0, precision: str = "bf16") -> list[Check]:
        agreement = box_agreement([grid(n)], [grid(n - lost)])
        return check_boxes(agreement, reference=0.5, variant=0.5 - change, n_fields=12, precision=precision)

    @pytest.mark.parametrize(("lost", "passed"), [(0, True), (19, True), (21, False)])
    def test_ninety_nine_of_a_hundred_boxes_must_agree(self, lost, passed):
        assert self.check(lost=lost)[0].passed is passed

    @pytest.mark.parametrize(
        ("precision", "change", "passed"),
        [("bf16", 0.004, True), ("fp16", -0.006, False), ("bf16", 0.006, False), ("int8", 0.019, True), ("int8", -0.021, False)],
    )
    def test_a_better_map_is_a_change_too(self, precision, change, passed):
        assert self.check(change=change, precision=precision)[1].passed is passed

    def test_an_area_or_a_share_that_nobody_knows_does_not_pass(self):
        assert not Check(MAP, math.nan, 0.005, 12, "fields").passed
        assert not Check(AUC, math.nan, 0.99, 12, "cells", at_least=True).passed

    def test_five_in_a_thousand_cells_may_flip(self):
        assert check_labels({"n": 1000, "n_flips_outside": 5}).passed
        assert not check_labels({"n": 1000, "n_flips_outside": 6}).passed

    @pytest.mark.parametrize(("variant", "passed"), [(0.9049, True), (0.8951, True), (0.8949, False), (0.906, False)])
    def test_the_area_may_change_by_half_a_hundredth(self, variant, passed):
        assert check_auc(0.9, variant, n_positive=30, n_negative=30).passed is passed

    def test_one_failed_check_fails_the_gate_and_no_check_passes_it(self):
        good, bad = Check(FLIPS, 0.0, 0.005, 100, "cells"), Check(FLIPS, 0.1, 0.005, 100, "cells")
        assert Parity((good,), {}, {}).passed
        assert not Parity((good, bad), {}, {}).passed
        assert not Parity((), {}, {}).passed

    def test_the_numbers_are_said_with_n_and_the_limit(self):
        parity = Parity((Check(FLIPS, 0.01, 0.005, 100, "cells"),), {"n_fields": 12}, {AUC: "no kinds"})
        assert parity.lines()[0].split() == ["FAILED", "flips", "outside", "review", "0.01000", "at", "most", "0.005", "(100", "cells)"]
        assert "not judged: no kinds" in parity.lines()[1]
        assert parity.to_json()["checks"][FLIPS] == {
            "value": 0.01,
            "limit": 0.005,
            "at_least": False,
            "n": 100,
            "of": "cells",
            "passed": False,
        }


class TestTooLittle:
    @pytest.mark.parametrize(("n_fields", "n_boxes"), [(9, 100), (10, 49), (0, 0)])
    def test_few_fields_or_boxes_are_refused(self, n_fields, n_boxes):
        agreement = box_agreement([grid(n_boxes)], [grid(n_boxes)])
        with pytest.raises(ConfigError, match=rf"at least 10 fields and 50 boxes found, has {n_fields} and {n_boxes}"):
            check_boxes(agreement, reference=0.5, variant=0.5, n_fields=n_fields, precision="bf16")

    def test_fields_without_truth_are_refused(self):
        with pytest.raises(ConfigError, match="needs labelled boxes"):
            check_boxes(box_agreement([grid(60)], [grid(60)]), reference=math.nan, variant=math.nan, n_fields=12, precision="bf16")

    def test_few_cells_are_refused(self):
        with pytest.raises(ConfigError, match="at least 50 labelled cells, has 49"):
            check_labels({"n": 49, "n_flips_outside": 0})

    def test_few_of_a_kind_are_refused(self):
        with pytest.raises(ConfigError, match="at least 10 true cells of each kind for the AUC, has 9 and 500"):
            check_auc(1.0, 1.0, n_positive=9, n_negative=500)
