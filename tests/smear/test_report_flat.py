"""smear.report.flat: the tables hold the numbers of report.json, no others."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from smear.report.flat import fields_csv, metrics_csv, slides_csv
from smear.report.summary import summarise
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def result(name, slide, p_all):
    n = len(p_all)
    p = np.array([[q, 1 - q] for q in p_all], np.float32).reshape(-1, 2)
    boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (n, 1))
    return FieldResult(
        Field(f"{slide}/{name}", Path(name), slide), (480, 640), Detections(boxes, np.full(n, 0.9), np.zeros(n, int)), ("WBC",),
        np.ones(n, bool), p, ("ALL", "HEM"), 0.7, UNKNOWN_SCALE, ("out of focus",),
    )  # fmt: skip


@pytest.fixture
def report():
    failed = FieldFailure(Field("=b/c.png", Path("c"), "=b"), "decode", "=b/c.png: damaged")
    return summarise([result("a.png", "s", [0.9, 0.8, 0.1]), result("b.png", "t", [0.6]), failed])


def test_nothing_analysed_is_a_table_with_zeros():
    empty = summarise([])
    assert [row["slide"] for row in rows(slides_csv(empty))] == ["total"]
    assert rows(fields_csv(empty)) == []


def test_slides_hold_the_counts_shares_and_estimates_of_the_report(report):
    table = rows(slides_csv(report))
    assert [row["slide"] for row in table] == ["'=b", "s", "t", "total"]
    for row, known in zip(table, [*report["slides"], report["total"]], strict=True):
        assert int(row["n_white"]) == known["n_white"]
        share = known["labels"]["ALL"]
        assert [row[f"{key}_ALL"] for key in ("n", "low", "high")] == [str(share[key]) for key in ("n", "low", "high")]
        assert row["share_ALL"] == ("" if share["share"] is None else str(share["share"]))
        assert row["blasts_verdict"] == known["blasts"]["verdict"]
        assert row["blasts_high"] == str(known["blasts"]["high"])


def test_fields_hold_every_field_failed_ones_too(report):
    table = rows(fields_csv(report))
    assert [(row["field"], row["n_white"], row["n_ALL"], row["error"]) for row in table] == [
        ("s/a.png", "3", "2", ""),
        ("t/b.png", "1", "1", ""),
        ("'=b/c.png", "", "", "'=b/c.png: damaged"),
    ]
    assert table[0]["warnings"] == "out of focus"
    assert (table[0]["height_px"], table[0]["width_px"]) == ("480", "640")


def test_metrics_are_rows_with_their_intervals_and_nothing_is_rounded():
    interval = {"value": 1 / 3, "low": 0.1, "high": 0.5, "n_groups": 4, "method": "bootstrap"}
    metrics = {
        "detection": {"map50": 1 / 3, "ap50": {"WBC": 0.9}}, "pr_curves": {"WBC": [1.0, 0.5]}, "errors": [{"field": "a"}], "roc_auc": None,
        "end_to_end": {"owners": {"right": 3}, "all": {"recall": 0.5, "intervals": {"recall": interval}}},
        "intervals": {"map50": interval, "ap50.WBC": interval},
    }  # fmt: skip
    table = {row["metric"]: row for row in rows(metrics_csv(json.loads(json.dumps(metrics))))}
    assert set(table) == {"map50", "ap50.WBC", "roc_auc", "end_to_end.owners.right", "end_to_end.all.recall"}
    assert table["map50"] == {
        "metric": "map50", "value": str(1 / 3), "low": "0.1", "high": "0.5", "n_groups": "4", "method": "bootstrap"
    }  # fmt: skip
    assert table["end_to_end.all.recall"]["low"] == table["ap50.WBC"]["low"] == "0.1"
    assert table["roc_auc"]["value"] == table["end_to_end.owners.right"]["low"] == ""


def test_an_interval_named_by_a_path_finds_its_number():
    interval = {"value": 0.5, "low": 0.25, "high": 0.75, "n_groups": 4, "method": "bootstrap"}
    table = {row["metric"]: row for row in rows(metrics_csv({"ap50": {"WBC": 0.5}, "intervals": {"ap50.WBC": interval}}))}
    assert (table["ap50.WBC"]["low"], table["ap50.WBC"]["high"]) == ("0.25", "0.75")
