"""smear.report.console: the numbers on the screen, with their intervals and owners; what is unknown is a dash."""

import math

from smear.report.console import in_report, metric_lines

INTERVAL = {"value": 0.9, "low": 0.8, "high": 0.95, "n_groups": 9, "method": "by slide"}
UNKNOWN = {**INTERVAL, "low": math.nan, "high": math.nan}
METRICS = {
    "map50": 0.9, "map50_95": 0.6, "precision": math.nan, "recall": 0.8, "ap50": {"WBC": 0.9}, "ap50_95": {"WBC": 0.6},
    "white_recall": 0.9, "white_precision": 0.75, "intervals": {"white_recall": INTERVAL, "white_precision": UNKNOWN},
    "end_to_end": {
        "owners": {"right": 3, "missed": 1}, "extras": {"debris": 2}, "all": {"accuracy": 0.75, "intervals": {"accuracy": INTERVAL}},
        "oracle": {"loss": {"detector": 0.25, "classifier": 0.0, "joint": 0.0, "total": 0.25}},
    },
}  # fmt: skip


def test_every_number_is_there_with_its_interval():
    text = "\n".join(metric_lines(METRICS))
    assert "0.9000     0.6000          -     0.8000" in text
    assert "recall 0.9000 (0.800 to 0.950), precision 0.7500\n" in text
    assert "labels end to end: accuracy 0.7500 (0.800 to 0.950)" in text
    assert "true white cells: 3 right, 1 missed" in text
    assert "extra detections: 2 debris" in text
    assert "accuracy lost: 0.2500 (detector 0.2500, classifier 0.0000, joint 0.0000)" in text


def test_without_kinds_the_boxes_have_owners_too():
    found = {"owners_white": {"found": 4, "missed": 1}, "extras": {"debris": 0}}
    assert "true white cells: 4 found, 1 missed" in metric_lines({"end_to_end": found})


def test_no_metrics_are_dashes():
    assert metric_lines({})[1].split() == ["-"] * 4


def test_the_report_has_the_detector_apart():
    found = in_report({**METRICS, "errors": [], "stress": {"worst": None}})
    assert set(found) == {"detection", "end_to_end", "intervals", "errors", "stress"}
    assert set(found["detection"]) == {"map50", "map50_95", "precision", "recall", "ap50", "ap50_95", "white_recall", "white_precision"}
