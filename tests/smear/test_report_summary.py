"""smear.report.summary: outcomes folded into counts that add up, in any order."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from smear.metrics.statistics import clopper_pearson
from smear.models import ModelCard
from smear.report.summary import NOTICE, summarise
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult, Scale


def result(
    name, slide, p_all, n_red=0, n_platelets=0, *, rbc_px=70.0, classes=("ALL", "HEM"), detector=("WBC", "RBC", "Platelets"), warnings=()
):
    """A field whose white cells have these probabilities of ALL; below 0.7 they need a review."""
    labels = [0] * len(p_all) + [1] * n_red + [2] * n_platelets
    n = len(labels)
    probabilities = np.full((n, len(classes)), math.nan, np.float32)
    if classes:
        probabilities[: len(p_all)] = np.array([[p, 1 - p] for p in p_all], np.float32).reshape(-1, 2)
    return FieldResult(
        Field(f"{slide}/{name}", Path(name), slide),
        (480, 640),
        Detections(np.tile([0, 0, 9, 9], (n, 1)), np.full(n, 0.9), labels),
        detector,
        np.array(labels) == 0,
        probabilities,
        classes,
        0.7,
        Scale(rbc_px, 0.1, n_red, "red cells") if rbc_px else UNKNOWN_SCALE,
        warnings,
        tuple(("cut by the edge",) if i == 0 else () for i in range(n)),
        {"detect": 0.5, "classify": 0.25},
    )


def failure(name, slide, stage="decode"):
    return FieldFailure(Field(f"{slide}/{name}", Path(name), slide), stage, f"{name}: not a readable image")


def outcomes():
    return [
        result("b.png", "s2", [0.9, 0.2, 0.55], 30, 4, rbc_px=80.0, warnings=("stain is foreign",)),
        failure("c.png", "s2"),
        result("a.png", "s1", [0.1], 10, 1),
        result("d.png", "s2", [], 0, 0, rbc_px=None),
    ]


def test_nothing_analysed_is_a_report_with_zeros_and_unknown_shares():
    report = summarise([])
    assert report["total"]["n_white"] == 0
    assert report["total"]["wbc_per_rbc"] is None
    assert (report["slides"], report["fields"], report["total"]["labels"]) == ([], [], {})


def test_only_failures_make_a_report_too():
    report = summarise([failure("a.png", "s1"), failure("b.png", "s1", "detect")])
    assert report["total"]["n_failed_fields"] == report["total"]["n_fields"] == 2
    assert [(f["field"], f["stage"]) for f in report["failures"]] == [("s1/a.png", "decode"), ("s1/b.png", "detect")]


def test_counts_shares_and_intervals():
    total = summarise(outcomes())["total"]
    assert [total[k] for k in ("n_fields", "n_failed_fields", "n_white", "n_red", "n_platelets", "n_needs_review")] == [4, 1, 4, 40, 5, 1]
    assert total["wbc_per_rbc"] == pytest.approx(0.1)
    low, high = clopper_pearson(2, 4)
    assert total["labels"]["ALL"] == {"n": 2, "of": 4, "share": 0.5, "low": low, "high": high, "n_needs_review": 1}
    assert total["scale"] == {
        "rbc_px": 75,
        "rbc_px_low": 70,
        "rbc_px_high": 80,
        "spread": 0.1,
        "n_unknown": 1,
        "sources": {"red cells": 2, "unknown": 1},
    }


def test_slides_add_up_to_the_total():
    report = summarise(outcomes())
    assert [s["slide"] for s in report["slides"]] == ["s1", "s2"]
    for key in ("n_fields", "n_failed_fields", "n_white", "n_red", "n_platelets", "n_labelled", "n_needs_review"):
        assert sum(s[key] for s in report["slides"]) == report["total"][key]
    for name in ("ALL", "HEM"):
        assert sum(s["labels"][name]["n"] for s in report["slides"]) == report["total"]["labels"][name]["n"]


def test_the_order_and_kind_of_iterable_do_not_matter():
    assert summarise(iter(outcomes()[::-1])) == summarise(outcomes())


def test_warnings_are_counted_and_their_fields_named():
    assert summarise(outcomes())["warnings"] == [
        {"warning": "cut by the edge", "n_fields": 2, "fields": ["s1/a.png", "s2/b.png"]},
        {"warning": "stain is foreign", "n_fields": 1, "fields": ["s2/b.png"]},
    ]


def test_warnings_that_differ_in_their_numbers_are_one_kind():
    fields = [result(f"{i}.png", "s", [], warnings=(f"out of focus: 0.{i}, trained from 0.3",)) for i in (1, 2)]
    assert summarise(fields)["warnings"] == [{"warning": "out of focus", "n_fields": 2, "fields": ["s/1.png", "s/2.png"]}]
    assert [w["warning"] for w in summarise(fields[:1])["warnings"]] == ["out of focus: 0.1, trained from 0.3"]


def test_every_slide_and_all_together_have_a_blast_estimate_with_the_rates_of_the_card():
    rates = {"sensitivity": {"k": 87, "n": 100}, "specificity": {"k": 80, "n": 100}}
    card = ModelCard(name="c", task="classify", architecture="d", classes=("ALL", "HEM"), input_px=64, normalise="unit", head="sigmoid",
                     metrics={"operating": rates})  # fmt: skip
    report = summarise(outcomes(), cards=[card])
    for row, (k, n) in zip([*report["slides"], report["total"]], [(0, 1), (2, 3), (2, 4)], strict=True):
        assert (row["blasts"]["k"], row["blasts"]["n"]) == (k, n)
        assert row["blasts"]["sensitivity"] == {"k": 87, "n": 100}
        assert 0 <= row["blasts"]["adjusted_low"] <= row["blasts"]["adjusted"] <= row["blasts"]["adjusted_high"] <= 1
        assert row["blasts"]["n_review"] == row["n_needs_review"]
    assert summarise(outcomes())["total"]["blasts"]["adjusted"] is None


def test_a_classifier_that_knows_no_blasts_gives_no_estimate():
    report = summarise([result("a.png", "s", [0.9], classes=("eosinophil", "basophil"))])
    assert report["total"]["blasts"] is None


def test_without_a_classifier_there_are_counts_but_no_shares():
    total = summarise([result("a.png", "s1", [0.5, 0.5], 10, classes=())])["total"]
    assert (total["n_white"], total["n_labelled"], total["n_needs_review"], total["labels"]) == (2, 0, 2, {})


def test_what_the_detector_does_not_know_is_unknown_not_zero():
    total = summarise([result("a.png", "s1", [0.9], detector=("WBC",))])["total"]
    assert total["n_red"] is None
    assert total["n_platelets"] is None


def test_the_card_names_the_red_class():
    card = ModelCard(
        name="d", task="detect", architecture="yolov8n", classes=("WBC", "erythrocyte"), red_class="erythrocyte",
        input_px=640, normalise="unit", head="yolo",
    )  # fmt: skip
    report = summarise([result("a.png", "s1", [0.9], 5, detector=("WBC", "erythrocyte"))], cards=[card])
    assert report["total"]["n_red"] == 5
    assert report["cards"][0]["architecture"] == "yolov8n"


def test_the_report_is_plain_json_with_its_provenance():
    report = summarise(outcomes(), config={"out": Path("x"), "iou": 0.5}, metrics={"detection": {"map50": math.nan}})
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["config"] == {"out": "x", "iou": 0.5}
    assert report["metrics"] == {"detection": {"map50": None}}
    assert report["seconds"] == {"classify": 0.75, "detect": 1.5}
    assert report["notice"] == NOTICE
    assert {"python", "numpy"} <= set(report["versions"])
