"""smear.metrics: owners, flow, labels and oracle add up, and blame the right half."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear.metrics.endtoend import score_pairs
from smear.metrics.flow import cell_flow
from smear.metrics.labels import label_intervals, label_metrics
from smear.metrics.oracle import oracle_runs
from smear.metrics.owners import list_errors, owner_counts
from smear.metrics.pairs import EXTRAS, Pair
from smear.types import Cell, Field, FieldFailure

CLASSES = ("ALL", "HEM")
UNKNOWN = np.full(2, np.nan)
RESULT = FieldFailure(Field("a.png", Path("a.png")), "read", "only its kind matters here")


def pair(truth, p=None, *, loose=False, doubles=0, extra="", field=0, score=0.9, row=0):
    """A pair with the probability of ALL that its detection got; None: no detection."""
    probabilities = UNKNOWN if p is None else np.array([p, 1 - p])
    cell = None
    if p is not None:
        label = CLASSES[int(probabilities.argmax())]
        cell = Cell(row, np.array([row, 0, row + 1, 1], np.float32), "WBC", score, label, probabilities, max(p, 1 - p) < 0.6)
    box = None if truth is None else np.array([row, 0, row + 2, 2], np.float32)
    return Pair(field, truth, cell, probabilities, row, box, math.nan, loose, doubles, extra)


@st.composite
def runs(draw):
    """Pairs of three fields, and what the classifier says on the true boxes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs = []
    for row in range(draw(st.integers(0, 30))):
        field, p = int(rng.integers(3)), None if rng.random() < 0.2 else round(float(rng.random()), 2)
        if rng.random() < 0.2:
            pairs.append(pair(None, 0.5 if p is None else p, extra=str(rng.choice(EXTRAS)), field=field, row=row))
        else:
            loose, doubles = p is not None and rng.random() < 0.2, int(rng.random() < 0.1) * (p is not None)
            pairs.append(pair(int(rng.integers(-1, 2)), p, loose=loose, doubles=doubles, field=field, row=row))
    pairs.sort(key=lambda q: q.field)
    p = rng.random(sum(q.truth is not None and q.truth >= 0 for q in pairs)).round(2)
    return pairs, np.stack([p, 1 - p], axis=1)


@settings(max_examples=100, deadline=None)
@given(runs())
def test_all_counts_add_up(run):
    pairs, on_truth = run
    parts = [on_truth[[q.field == f for q in pairs if q.truth is not None and q.truth >= 0]] for f in range(3)]
    results = [RESULT] * 3
    found = score_pairs(pairs, results, CLASSES)
    white = found["white"]
    assert sum(found["owners"].values()) == found["n_labelled"] == found["all"]["n"] == sum(map(len, parts))
    assert sum(sum(by.values()) for by in found["owners_by_class"].values()) == found["n_labelled"]
    assert sum(found["owners_white"].values()) == white["n_truth"] == white["n_matched"] + white["n_loose"] + white["n_missed"]
    assert sum(found["extras"].values()) == white["n_extra"]
    assert white["n_found"] == white["n_matched"] + white["n_loose"] + white["n_extra"] == sum(q.found is not None for q in pairs)
    n_judged = white["n_found"] - found["extras"]["ignored"]
    assert white["precision_without_ignored"] * n_judged == pytest.approx(white["n_matched"]) if n_judged else not white["n_matched"]
    _, n_errors = list_errors(pairs, "abc", CLASSES)
    assert n_errors + found["owners"]["right"] + sum(q.owner == "found" for q in pairs) == len(pairs)


@settings(max_examples=100, deadline=None)
@given(runs())
def test_the_flow_neither_makes_nor_loses_a_cell(run):
    counts = owner_counts(run[0], CLASSES)
    flow = cell_flow(counts)
    names = {node["id"]: node for node in flow["nodes"]}
    assert len(names) == len(flow["nodes"])
    assert all(link["n"] > 0 and names[link["source"]]["column"] + 1 == names[link["target"]]["column"] for link in flow["links"])
    first = sum(node["n"] for node in flow["nodes"] if node["column"] == 0)
    assert first == len(run[0])
    for key, node in names.items():
        enters = sum(link["n"] for link in flow["links"] if link["target"] == key)
        leaves = sum(link["n"] for link in flow["links"] if link["source"] == key)
        assert node["n"] == (enters or leaves)
        assert leaves <= node["n"] if enters else leaves == node["n"]


def test_no_cells_flow_nowhere():
    assert cell_flow(owner_counts([], CLASSES)) == {"nodes": [], "links": []}


@settings(max_examples=100, deadline=None)
@given(runs())
def test_the_loss_is_split_whole(run):
    pairs, on_truth = run
    found = oracle_runs(pairs, on_truth, CLASSES)
    loss, n = found["loss"], found["loss"]["n"]
    if not len(on_truth):
        assert math.isnan(loss["total"])
        return
    assert (
        loss["detector"] + loss["classifier"] + loss["joint"]
        == pytest.approx(loss["total"])
        == pytest.approx(1 - found["both"]["accuracy"])
    )
    assert found["true_labels"]["accuracy"] >= found["both"]["accuracy"]
    lost_on_truth = n["classifier"] + n["joint"] + n["luck"]  # wrong on the true box: lost with ours too, or saved by luck
    assert found["true_boxes"]["accuracy"] == pytest.approx(1 - lost_on_truth / n["cells"])


class TestOracle:
    def test_a_worked_example(self):
        """ALL: right, missed, wrong though right on the true box, wrong on both; HEM: missed and wrong anyway, right by luck."""
        pairs = [pair(0, 0.9), pair(0), pair(0, 0.2), pair(0, 0.2), pair(1), pair(1, 0.1)]
        on_truth = np.array([0.9, 0.9, 0.9, 0.2, 0.9, 0.9])
        found = oracle_runs(pairs, np.stack([on_truth, 1 - on_truth], axis=1), CLASSES)
        assert found["loss"]["n"] == {"detector": 2, "classifier": 1, "joint": 1, "luck": 1, "cells": 6}
        assert found["true_boxes"]["accuracy"] == pytest.approx(3 / 6)
        assert found["true_labels"]["accuracy"] == pytest.approx(4 / 6)
        assert found["both"]["accuracy"] == pytest.approx(2 / 6)

    def test_a_perfect_detector_loses_nothing(self):
        p = np.array([0.9, 0.2, 0.6])
        found = oracle_runs([pair(0, v) for v in p], np.stack([p, 1 - p], axis=1), CLASSES)
        assert (found["loss"]["detector"], found["loss"]["joint"], found["true_labels"]["accuracy"]) == (0, 0, 1)
        assert found["loss"]["classifier"] == pytest.approx(1 / 3)

    def test_a_perfect_classifier_loses_nothing(self):
        found = oracle_runs([pair(0, 0.9), pair(1), pair(0, 0.9, loose=True)], np.array([[1, 0], [0, 1], [1, 0]]), CLASSES)
        assert (found["loss"]["classifier"], found["loss"]["joint"], found["true_boxes"]["accuracy"]) == (0, 0, 1)
        assert found["loss"]["detector"] == pytest.approx(2 / 3)

    def test_extra_detections_are_rejected_by_true_labels_alone(self):
        found = oracle_runs([pair(0, 0.9), pair(None, 0.9, extra="debris")], np.array([[1.0, 0.0]]), CLASSES)
        assert (found["true_labels"]["precision"], found["both"]["precision"]) == (1, 0.5)

    def test_labels_on_other_cells_are_refused(self):
        with pytest.raises(ValueError, match="1 true cells, 2 labels"):
            oracle_runs([pair(0, 0.9)], np.zeros((2, 2)), CLASSES)


class TestErrors:
    def test_each_row_says_what_happened(self):
        pairs = [pair(0, 0.9), pair(0, 0.125, row=3), pair(-1, row=5), pair(None, 0.75, extra="debris", row=7)]
        rows, n = list_errors(pairs, ["a.png"], CLASSES, unknown="WBC")
        assert n == 3
        wrong = {"field": "a.png", "owner": "wrong", "truth": "ALL", "label": "HEM", "p": 0.875, "score": 0.9}
        assert rows[0] == {**wrong, "box": [3, 0, 4, 1], "true_box": [3, 0, 5, 2]}
        missed = {"field": "a.png", "owner": "missed", "truth": "WBC", "label": None, "p": None, "score": None}
        assert rows[1] == {**missed, "box": [5, 0, 7, 2], "true_box": [5, 0, 7, 2]}
        debris = {"field": "a.png", "owner": "debris", "truth": None, "label": "ALL", "p": 0.75, "score": 0.9}
        assert rows[2] == {**debris, "box": [7, 0, 8, 1], "true_box": None}

    def test_the_surest_mistakes_come_first_and_the_count_is_complete(self):
        pairs = [pair(0, p, row=i) for i, p in enumerate((0.3, 0.1, 0.2))] + [pair(1)]
        rows, n = list_errors(pairs, ["a.png"], CLASSES, per_owner=2)
        assert [r["p"] for r in rows] == [pytest.approx(0.9), pytest.approx(0.8), None]
        assert n == 4
        assert list_errors(pairs[::-1], ["a.png"], CLASSES, per_owner=2) == (rows, n)


class TestIntervals:
    def test_they_hold_the_value_and_are_wider_for_fewer_slides(self):
        rng = np.random.default_rng(0)
        known = [pair(int(rng.integers(2)), float(rng.random()), field=i % 20) for i in range(200)]
        few = label_intervals(known, [], 0, [str(i % 4) for i in range(20)], n_resamples=100)
        many = label_intervals(known, [], 0, [str(i) for i in range(20)], n_resamples=100)
        for name, value in label_metrics(known, [], 0).items():
            if name in many:
                assert many[name].value == pytest.approx(value)
                assert many[name].low <= value <= many[name].high
        assert (few["accuracy"].n_groups, many["accuracy"].n_groups) == (4, 20)

    def test_extra_detections_count_for_precision_alone(self):
        known, extra = [pair(0, 0.9), pair(1, 0.1, field=1)], [pair(None, 0.9, extra="debris", field=1)]
        found = label_intervals(known, extra, 0, ["a", "b"], n_resamples=50)
        assert (found["precision"].value, found["recall"].value, found["accuracy"].value) == (0.5, 1, 1)
