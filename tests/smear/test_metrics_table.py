"""smear.metrics.table: numbers as rows, with their intervals."""

import csv
import io
import math

from smear.metrics.table import COLUMNS, metric_table


def rows_of(metrics: dict) -> dict[str, dict[str, str]]:
    return {row["metric"]: row for row in csv.DictReader(io.StringIO(metric_table(metrics)))}


def test_no_metrics_are_a_header():
    assert metric_table({}) == ",".join(COLUMNS) + "\n"


def test_nested_numbers_are_rows_and_words_lists_and_flags_are_not():
    rows = rows_of({"map50": 0.5, "ap50": {"WBC": 0.25, "RBC": math.nan}, "classes": ["WBC"], "unit": "slide", "is_x": True, "n": 3})
    assert {name: row["value"] for name, row in rows.items()} == {"map50": "0.5", "ap50.WBC": "0.25", "ap50.RBC": "", "n": "3"}


def test_an_interval_stands_beside_its_number_or_alone():
    interval = {"value": 0.5, "low": 0.25, "high": math.nan, "n_groups": 4, "method": "x"}
    rows = rows_of({"ap50": {"WBC": 0.5}, "intervals": {"ap50.WBC": interval, "aurc": interval}})
    assert rows["ap50.WBC"] == {"metric": "ap50.WBC", "value": "0.5", "low": "0.25", "high": "", "n_groups": "4"}
    assert rows["aurc"]["value"] == "0.5"
