"""smear.metrics.compare: the cells that a new model fixed or broke, and nothing else."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear.metrics.compare import CellScores, compare_cells, compare_extras, label_scores
from smear.metrics.labels import label_metrics
from smear.metrics.owners import owner_counts
from smear.metrics.pairs import pair_cells
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldResult

CLASSES = ("ALL", "HEM")
CELLS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.05, 0.3, 0.7, 0.95])), max_size=6, unique_by=lambda c: c[0])


def box_at(column):
    return [100 * column, 0, 100 * column + 60, 60]


def result_of(cells):
    """A field with white cells as (column, p_ALL), the surest first."""
    n = len(cells)
    found = Detections([box_at(c) for c, _ in cells], np.linspace(0.9, 0.5, n), [0] * n)
    p = np.array([[q, 1 - q] for _, q in cells], np.float32).reshape(-1, 2)
    return FieldResult(Field("a", Path("a")), (100, 2000), found, ("WBC",), np.ones(n, bool), p, CLASSES, 0.6, UNKNOWN_SCALE)


def pairs_of(fields, truths):
    return tuple(pair_cells(truths, [result_of(cells) for cells in fields], CLASSES, truth_classes=("ALL", "HEM", "WBC")))


def truth_of(kinds):
    """Cells at columns 0, 1, …: 0 is ALL, 1 HEM, 2 a white cell of unknown kind."""
    return Detections([box_at(c) for c in range(len(kinds))], np.ones(len(kinds)), kinds)


TRUTH = truth_of([0, 0, 1, 2])
OLD = pairs_of([[(0, 0.9), (1, 0.2), (2, 0.1), (8, 0.9)]], [TRUTH])
NEW = pairs_of([[(0, 0.3), (1, 0.9), (2, 0.45), (3, 0.5), (9, 0.9)]], [TRUTH])


class TestCells:
    def test_a_worked_example(self):
        """ALL 0 right then wrong; ALL 1 wrong then right; HEM 2 right, then right but for review; the unknown one missed, then found."""
        found = compare_cells(OLD, NEW, ["f"], CLASSES)
        assert [(r["box"][0], r["old"]["owner"], r["new"]["owner"]) for r in found["broken"]] == [(0, "right", "wrong")]
        assert [(r["box"][0], r["truth"]) for r in found["fixed"]] == [(100, "ALL"), (300, "")]
        assert [(r["box"][0], r["new"]["owner"]) for r in found["moved"]] == [(200, "review")]
        assert found["counts"]["labels"] == {"both": 1, "neither": 0, "fixed": 1, "broken": 1, "p": 1.0}
        assert found["counts"]["found"] == {"both": 3, "neither": 0, "fixed": 1, "broken": 0, "p": 1.0}

    def test_extras_come_and_go(self):
        found = compare_extras(OLD, NEW, ["f"])
        assert [row["box"][0] for row in found["gone"]] == [800]
        assert [row["box"][0] for row in found["new"]] == [900]

    @given(CELLS, CELLS)
    def test_back_and_forth_fixed_and_broken_change_places(self, one, other):
        a, b = pairs_of([one], [TRUTH]), pairs_of([other], [TRUTH])
        there, back = compare_cells(a, b, ["f"], CLASSES), compare_cells(b, a, ["f"], CLASSES)
        assert [r["box"] for r in there["fixed"]] == [r["box"] for r in back["broken"]]
        assert len(there["moved"]) == len(back["moved"])
        for counts in there["counts"].values():
            assert sum(counts[k] for k in ("both", "neither", "fixed", "broken")) in (3, 4)

    def test_nothing_changes_between_a_run_and_itself(self):
        found = compare_cells(OLD, OLD, ["f"], CLASSES)
        assert found["fixed"] == found["broken"] == found["moved"] == []
        assert compare_extras(OLD, OLD, ["f"]) == {"gone": [], "new": []}

    def test_no_cells(self):
        found = compare_cells([], [], [], CLASSES)
        assert found["counts"]["labels"] == {"both": 0, "neither": 0, "fixed": 0, "broken": 0, "p": 1.0}

    def test_runs_on_other_truth_are_refused(self):
        with pytest.raises(ValueError, match="same true cells"):
            compare_cells(OLD, pairs_of([[]], [truth_of([0])]), ["f"], CLASSES)


class TestScores:
    @given(st.lists(CELLS, min_size=1, max_size=4))
    def test_on_every_field_once_they_are_those_of_the_evaluation(self, fields):
        pairs = pairs_of(fields, [TRUTH] * len(fields))
        found = CellScores.of(pairs, len(fields), positive=0).score(np.ones(len(fields), np.int64))
        known = [p for p in pairs if p.truth is not None and p.truth >= 0]
        expected = label_metrics(known, [p for p in pairs if p.found and not p.is_matched], 0)
        for mine, theirs in (("accuracy", "accuracy"), ("sensitivity", "recall"), ("specificity", "specificity"), ("roc_auc", "roc_auc")):
            assert found[mine] == pytest.approx(expected[theirs], nan_ok=True)
        assert found["white_recall"] == pytest.approx(sum(p.is_matched for p in pairs) / (4 * len(fields)))
        assert owner_counts(pairs, CLASSES)["owners_white"]["missed"] <= 4 * len(fields)

    @given(CELLS, CELLS, st.integers(0, 3), st.integers(1, 3))
    def test_a_field_that_counts_twice_is_as_two_fields(self, one, other, n_one, n_other):
        weighted = CellScores.of(pairs_of([one, other], [TRUTH] * 2), 2, positive=0).score(np.array([n_one, n_other]))
        fields = [one] * n_one + [other] * n_other
        written_out = CellScores.of(pairs_of(fields, [TRUTH] * len(fields)), len(fields), positive=0)
        assert weighted == pytest.approx(written_out.score(np.ones(len(fields), np.int64)), nan_ok=True)

    def test_perfect_is_one_and_nothing_is_unknown(self):
        kind, p = np.array([0, 1, 0]), np.array([0.9, 0.1, 0.8])
        assert set(label_scores(kind, kind, p, np.ones(3, np.int64), 0).values()) == {1.0}
        assert all(math.isnan(v) for v in label_scores(kind, kind, p, np.zeros(3, np.int64), 0).values())

    def test_fields_without_known_kinds_have_no_labels_to_score(self):
        found = CellScores.of(pairs_of([[(0, 0.9)]], [truth_of([2])]), 1, positive=0).score(np.ones(1, np.int64))
        assert found == {"white_recall": 1.0, "white_precision": 1.0}
