"""`python -m smear evaluate` as a run: decoded once, resumed, asked again only where something changed, whatever the classes are called."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from smear import __main__, annotations, images
from smear.build import open_models
from smear.conditions import CONDITIONS
from smear.evaluate import evaluate, headline
from smear.evaluation import gather, question_of, stress
from smear.evidence import EvidenceStore
from smear.finder import Finder
from smear.images import encode
from smear.labelled import read_labelled
from smear.settings import AnalyzeSettings
from smear.store import Store
from smear.types import Detections

KINDS = {(150, 40, 140): 0, (60, 40, 140): 1, (205, 120, 170): 2}  # colours of painted discs: ALL, HEM, red cells
N_FIELDS = 3
UM_PER_PX = 7.5 / 40


@pytest.fixture
def data(tmp_path, paint) -> Path:
    """Three painted fields of two slides; classes ALL, HEM, RBC."""
    root, entries = tmp_path / "set", []
    for i in range(N_FIELDS):
        image = paint((360, 480), rbc_px=40, n_all=1 + i % 2, n_hem=1, n_red=8, seed=i)
        path = root / "images/test" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image, ".png"))
        annotations.write_labels(root / "labels/test" / f"{i}.txt", truth_of(image), image.shape[:2])
        entries.append(annotations.ManifestEntry(f"images/test/{i}.png", annotations.sha256(path), "test", "", f"slide {i % 2}"))
    annotations.write_manifest(root, entries)
    return annotations.write_data_yaml(root, ("ALL", "HEM", "RBC"), ("test",))


@pytest.fixture
def score(data, models, tmp_path):
    """`evaluate` into `tmp_path/out` or another folder; returns the metrics."""

    def run(*more: str, out: Path = tmp_path / "out", expect: int = 0) -> dict:
        bundles = ["--detector", str(models / "detector"), "--classifier", str(models / "classifier")]
        fixed = ["--um-per-px", str(UM_PER_PX), "--set", "threads=1", "--set", "fields_per_batch=1", "--resamples", "20"]
        assert __main__.main(["evaluate", "--data", str(data), "--out", str(out), *bundles, *fixed, *more]) == expect
        return json.loads((out / "metrics.json").read_text()) if expect == 0 else {}

    return run


@pytest.fixture
def opened(models):
    return open_models(
        AnalyzeSettings(detector=models / "detector", classifier=models / "classifier", threads=1, um_per_px=UM_PER_PX, device="cpu")
    )


@pytest.fixture
def searched(monkeypatch) -> list[str]:
    """The ids of the fields that the analyser searches."""
    search, ids = Finder.search, []
    monkeypatch.setattr(Finder, "search", lambda self, works: (ids.extend(w.field.id for w in works), search(self, works))[1])
    return ids


def test_each_field_is_decoded_once(score, monkeypatch):
    decode, n = images._rgb, []
    monkeypatch.setattr(images, "_rgb", lambda image: (n.append(1), decode(image))[1])
    score()
    assert len(n) == N_FIELDS


def test_a_second_run_analyses_nothing_and_says_the_same(score, searched, tmp_path):
    score()
    before = (tmp_path / "out/metrics.json").read_bytes()
    searched.clear()
    score()
    assert searched == []
    assert (tmp_path / "out/metrics.json").read_bytes() == before


def test_a_killed_run_goes_on_and_ends_the_same(score, searched, tmp_path, monkeypatch):
    score(out=tmp_path / "whole")
    keep, kept = EvidenceStore.keep, []

    def killed(self, outcome, *rest):
        if len(kept) == 1:
            raise KeyboardInterrupt
        kept.append(outcome.field.id)
        keep(self, outcome, *rest)

    monkeypatch.setattr(EvidenceStore, "keep", killed)
    score(expect=__main__.STOPPED)
    monkeypatch.setattr(EvidenceStore, "keep", keep)
    searched.clear()
    score()
    assert len(searched) == N_FIELDS - 1
    assert not set(searched) & set(kept)
    for name in ("metrics.json", "cells.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_changed_label_is_asked_about_again(score, searched, data):
    score()
    path = data.parent / "labels/test/1.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    searched.clear()
    metrics = score()
    assert searched == ["images/test/1.png"]
    assert metrics["n_truth"] < 31


def test_damaged_evidence_is_gathered_again(score, searched, tmp_path):
    before = score()
    for name, damage in (("0", ""), ("1", "[]"), ("2", '{"key": 3}')):
        (tmp_path / f"out/evidence/images/test/{name}.json").write_text(damage)
    searched.clear()
    assert score() == before
    assert len(searched) == N_FIELDS


def test_other_fields_of_view_are_other_evidence(score, searched):
    score()
    searched.clear()
    score("--confidence", "0.7")
    assert len(searched) == N_FIELDS


@pytest.mark.parametrize("out", ["images", "images/test/out"])
def test_results_among_the_fields_are_refused(score, data, capsys, out):
    score(out=data.parent / out, expect=2)
    assert "would be analysed as fields by the next run" in capsys.readouterr().err
    score(out=data.parent / "out")


def test_an_unreadable_field_is_named_and_misses_its_cells(score, data, tmp_path, capsys):
    path = data.parent / "images/test/1.png"
    path.write_bytes(path.read_bytes()[:-400])
    score(expect=1)
    found = json.loads((tmp_path / "out/metrics.json").read_text())["end_to_end"]
    assert "failed: images/test/1.png" in capsys.readouterr().err
    assert (found["n_failed_fields"], found["owners"]["missed"]) == (1, 3)
    assert found["oracle"]["loss"]["n"]["cells"] == found["n_labelled"] - 3  # no model is to blame for a broken file


class TestNames:
    def test_the_kinds_may_have_any_name(self, score, data, models, tmp_path):
        """Nothing but the card and the data says which classes are white cells."""
        card = json.loads((models / "classifier/model.json").read_text())
        renamed = tmp_path / "renamed"
        renamed.mkdir()
        (renamed / "model.onnx").write_bytes((models / "classifier/model.onnx").read_bytes())
        (renamed / "model.json").write_text(json.dumps(card | {"classes": ["blast", "normal"]}))
        plain = score(out=tmp_path / "plain")
        data.write_text(data.read_text().replace("ALL", "blast").replace("HEM", "normal"))
        metrics = score("--classifier", str(renamed))
        assert metrics["cells_on_truth"]["positive"] == "blast"
        for key in ("map50", "accuracy", "specificity", "white_recall"):
            assert metrics[key] == plain[key] == pytest.approx(1, abs=0.01)
        assert metrics["end_to_end"]["owners"] == plain["end_to_end"]["owners"]

    def test_a_set_may_say_which_of_its_classes_are_white_cells(self, score, data):
        data.write_text(
            data.read_text().replace("ALL", "Lymphocyte").replace("HEM", "Neutrophil") + "white_classes: [Lymphocyte, Neutrophil]\n"
        )
        metrics = score()
        assert metrics["white_recall"] == metrics["ap50"]["WBC"] == pytest.approx(1, abs=0.01)
        assert metrics["end_to_end"]["owners_white"] == {"found": 7, "missed": 0, "doubled": 0, "loose": 0}
        assert "owners" not in metrics["end_to_end"]
        assert "accuracy" not in metrics

    def test_without_a_classifier_boxes_are_scored(self, score):
        metrics = score("--classifier", "none")
        assert metrics["end_to_end"]["owners_white"]["found"] == 7
        assert metrics["n_errors"] == 0


def test_every_number_has_its_interval(score):
    metrics = score()
    assert {"map50", "white_recall", "white_precision", "accuracy", "sensitivity", "specificity", "roc_auc"} <= set(metrics["intervals"])
    assert metrics["intervals"]["accuracy"]["n_groups"] == 2
    for block in (metrics["cells_on_truth"], metrics["end_to_end"]["all"], metrics["end_to_end"]["matched"]):
        assert block["intervals"]["accuracy"]["value"] == block["accuracy"]


class TestStress:
    CONDITIONS = CONDITIONS[::15]

    def test_its_headline_is_that_of_the_evaluation(self, opened, data, tmp_path):
        labelled = read_labelled(annotations.read_data_yaml(data), "test")
        question, card = question_of(opened, labelled), opened.detector.card
        store = Store(tmp_path / "out", labelled.fields, key=opened.key())
        evidence = gather(opened, labelled, question, store)
        names = {"white_class": "WBC", "detector_classes": card.classes}
        whole = evaluate(labelled, evidence, question, n_resamples=5, **names)
        for key, value in headline(labelled, [e.outcome for e in evidence], question, **names).items():
            assert whole[key] == pytest.approx(value), key

    def test_it_is_in_the_metrics_and_on_the_screen_and_resumes(self, score, searched, monkeypatch, capsys):
        monkeypatch.setattr("smear.stress.run_stress.__kwdefaults__", {**stress_defaults(), "conditions": self.CONDITIONS})
        metrics = score("--stress", "2")
        assert (metrics["stress"]["n_fields"], len(metrics["stress"]["conditions"])) == (2, len(self.CONDITIONS))
        for key in ("map50", "white_recall", "accuracy", "roc_auc"):
            assert metrics["stress"]["baseline"][key] == pytest.approx(1, abs=0.01)
        assert "as it is" in capsys.readouterr().out
        assert len(searched) == N_FIELDS + 2 * (1 + len(self.CONDITIONS))
        searched.clear()
        assert score("--stress", "2") == metrics
        assert searched == []

    @pytest.mark.parametrize("value", ["0", "-1", "some"])
    def test_a_count_that_is_none_is_refused(self, score, value, capsys):
        with pytest.raises(SystemExit) as stop:
            score("--stress", value)
        assert stop.value.code == 2
        assert "--stress" in capsys.readouterr().err

    def test_without_a_number_all_fields_are_used(self, opened, data, tmp_path, monkeypatch):
        monkeypatch.setattr("smear.stress.run_stress.__kwdefaults__", {**stress_defaults(), "conditions": self.CONDITIONS[:1]})
        labelled = read_labelled(annotations.read_data_yaml(data), "test")
        assert stress(opened, labelled, question_of(opened, labelled), tmp_path)["n_fields"] == N_FIELDS


def stress_defaults() -> dict:
    from smear.stress import run_stress

    return dict(run_stress.__kwdefaults__)


def truth_of(image: np.ndarray) -> Detections:
    """Boxes of the painted discs, by their exact colours at the centre."""
    n, _, stats, centres = cv2.connectedComponentsWithStats((image[:, :, 1] < 200).astype(np.uint8))
    rows = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:n]]
    labels = [KINDS[tuple(int(v) for v in image[round(cy), round(cx)])] for cx, cy in centres[1:n]]
    return Detections(np.array(rows, np.float32), np.ones(len(rows), np.float32), np.array(labels, np.int64))
