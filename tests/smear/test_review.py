"""smear.review: which labels a person should look at, and a promise that cannot be kept is said, never silent."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smear.bundles import record_metrics
from smear.config import load
from smear.errors import ConfigError
from smear.metrics.conformal import EVERY_CELL, error_threshold, review_curve
from smear.models import ModelCard
from smear.plan import Plan
from smear.review import DEFAULT_REVIEW, NO_THRESHOLD, review_rule
from smear.settings import AnalyzeSettings


def card(**changes):
    base = {"name": "c", "task": "classify", "architecture": "a", "classes": ("ALL", "HEM"), "input_px": 64, "normalise": "unit"}
    return ModelCard(**{**base, "head": "sigmoid", **changes})


def curve(n=2000):
    rng = np.random.default_rng(0)
    sure = 0.5 + 0.5 * rng.beta(2, 0.4, n)
    return review_curve(sure, rng.random(n) > sure)


def test_the_card_decides_unless_the_settings_do():
    assert review_rule(AnalyzeSettings(), card(thresholds={"needs_review": 0.61})).below == 0.61
    assert review_rule(AnalyzeSettings(), card()).below == review_rule(AnalyzeSettings(), None).below == DEFAULT_REVIEW
    assert review_rule(AnalyzeSettings(review_below=0.0), card(thresholds={"needs_review": 0.61})).below == 0.0
    assert "no error rate is promised" in review_rule(AnalyzeSettings(), card()).text


def test_an_error_rate_decides_by_the_curve_of_the_card():
    stored = curve()
    rule = review_rule(AnalyzeSettings(max_error=0.05), card(metrics={"review_curve": stored}, thresholds={"needs_review": 0.1}))
    assert rule.below == error_threshold(stored, 0.05)
    assert rule.warning is None
    assert "at most 5 % of the accepted labels wrong, with 95 % confidence" in rule.text


def test_a_promise_that_no_threshold_keeps_sends_every_cell_to_review_and_says_so():
    asked, known = AnalyzeSettings(max_error=0.001), card(metrics={"review_curve": curve(100)})
    rule = review_rule(asked, known)
    assert (rule.below, rule.warning) == (EVERY_CELL, NO_THRESHOLD)
    detector = card(task="detect", head="yolo", classes=("WBC",), white_classes=("WBC",))
    plan = Plan.for_cards(asked, detector, known)
    assert plan.review_below > 1
    assert plan.warnings == (NO_THRESHOLD,)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(ConfigError, match=r"has no review curve; record one .* classification.calibrate"):
        review_rule(AnalyzeSettings(max_error=0.02), card())
    with pytest.raises(ConfigError, match="needs a classifier"):
        review_rule(AnalyzeSettings(max_error=0.02), None)
    with pytest.raises(ConfigError, match="max_error and review_below both"):
        load(None, AnalyzeSettings, ["max_error=0.02", "review_below=0.5"])
    with pytest.raises(ConfigError, match="max_error: must be more than 0"):
        load(None, AnalyzeSettings, ["max_error=0"])


@pytest.fixture
def with_curve(models, tmp_path):
    """A copy of the classifier bundle whose card has the review curve of so many validation cells."""

    def make(n):
        folder = tmp_path / f"classifier{n}"
        shutil.copytree(models / "classifier", folder)
        record_metrics(folder, "review_curve", curve(n))
        return str(folder)

    return make


def reviewed(out):
    """(cells sent to review, cells), and the report."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return (report["total"]["n_needs_review"], report["total"]["n_white"]), report


def test_analyze_derives_the_threshold_from_validation(slides, run, tmp_path, with_curve, capsys):
    assert run(slides, tmp_path / "out", "--classifier", with_curve(2000), "--max-error", "0.1") == 0
    stored = json.loads((tmp_path / "out" / "fields" / "a" / "one.json").read_text())
    assert stored["review_below"] == error_threshold(curve(), 0.1)
    said = "at most 10 % of the accepted labels wrong, with 95 % confidence, for cells like the 2000 of validation"
    assert said in capsys.readouterr().out
    report = reviewed(tmp_path / "out")[1]
    assert said in report["config"]["review"]
    assert report["config"]["max_error"] == 0.1


def test_analyze_warns_when_every_cell_is_sent_to_review(slides, run, tmp_path, with_curve, capsys):
    assert run(slides, tmp_path / "out", "--classifier", with_curve(100), "--max-error", "0.02") == 0
    counts, report = reviewed(tmp_path / "out")
    assert counts == (12, 12)
    assert {"warning": NO_THRESHOLD, "n_fields": 4} in [{k: w[k] for k in ("warning", "n_fields")} for w in report["warnings"]]
    assert f"warning: {NO_THRESHOLD}" in capsys.readouterr().err


def test_another_curve_in_the_card_is_another_analysis(slides, run, tmp_path, with_curve):
    classifier = with_curve(100)
    run(slides, tmp_path / "out", "--classifier", classifier, "--max-error", "0.1")
    record_metrics(Path(classifier), "review_curve", curve(2000))
    run(slides, tmp_path / "out", "--classifier", classifier, "--max-error", "0.1")
    stored = json.loads((tmp_path / "out" / "fields" / "a" / "one.json").read_text())
    assert stored["review_below"] == error_threshold(curve(), 0.1)


def test_a_card_without_a_curve_is_a_mistake_of_one_line(slides, run, tmp_path, capsys):
    assert run(slides, tmp_path / "out", "--max-error", "0.02") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: max_error: the card of colour has no review curve")
    assert not (tmp_path / "out").exists()
