"""Every bundle carries a model card that says what its model.json says, and no more."""

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from smear import __main__
from smear.bundles import record_metrics, save_bundle
from smear.cards import ANSWERABLE, card_record, count_splits, evaluations, for_cards, parse_answers
from smear.checklists import STATUSES, Checklist, Item, fill
from smear.checklists.claim import CLAIM_2024
from smear.checklists.facts import facts
from smear.checklists.tripod import TRIPOD_AI
from smear.errors import ConfigError, ModelError
from smear.models import ModelCard, open_bundle
from smear.report.card_page import render_card, shown, words

WEIGHTS = safetensors.numpy.save({"w": np.arange(6, dtype=np.float32)})
ROOT = Path(__file__).resolve().parents[2]
INTERVAL = {"value": 0.9, "low": 0.8, "high": 0.95, "n_groups": 7, "method": "bootstrap over slides"}


def card(**changes) -> ModelCard:
    base = {"name": "m", "task": "classify", "architecture": "densenet121", "classes": ("ALL", "HEM"), "input_px": 64}
    return ModelCard(**{**base, "normalise": "imagenet", "head": "sigmoid", **changes})


def full_card() -> ModelCard:
    test = {
        "accuracy": 0.9, "roc_auc": math.nan, "n": 40, "confusion_matrix": [[17, 3], [1, 19]], "classes": ["ALL", "HEM"],
        "per_stain": {"pink": {"n": 40, "roc_auc": 0.75}}, "intervals": {"accuracy": INTERVAL}, "per_field": {"accuracy": 0.5},
        "stress": {"baseline": {"accuracy": 0.9}, "conditions": [{"name": "blur", "level": 2, "metrics": {"accuracy": 0.61}}]},
    }  # fmt: skip
    training = {"command": "python -m classification.train --seed 3", "seed": 3, "versions": {"torch": "2"}, "git": "abc"}
    training |= {"splits": {"train": {"files": 20, "slides": 4, "patients": 3}, "test": {"files": 9, "slides": 2, "patients": 2}}}
    data = ({"name": "bank", "source": "https://example.org", "licence": "CC0-1.0", "manifest_sha256": "0" * 64},)
    return card(
        metrics={"test": test, "onnx_error": 0.001}, training=training, data=data, temperature=0.5, thresholds={"needs_review": 0.7}
    )


def item_of(record: dict, checklist: str, number: str) -> dict:
    return next(i for i in record["checklists"][checklist]["items"] if i["number"] == number)


@pytest.fixture
def bundle(tmp_path) -> Path:
    save_bundle(tmp_path / "m", full_card(), {"weights.safetensors": WEIGHTS})
    return tmp_path / "m"


class TestChecklists:
    def test_claim_has_its_44_items_in_order(self):
        assert [i.number for i in CLAIM_2024.items] == [str(n) for n in range(1, 45)]

    def test_tripod_has_27_items_in_52_parts(self):
        numbers = [i.number for i in TRIPOD_AI.items]
        assert len(set(numbers)) == len(numbers) == 52
        assert list(dict.fromkeys(int(re.sub("[a-z]", "", n)) for n in numbers)) == list(range(1, 28))

    @pytest.mark.parametrize("one", [card(), full_card()], ids=["bare", "full"])
    def test_every_item_has_one_status_and_counts_add_up(self, one):
        for checklist in card_record(one)["checklists"].values():
            assert {i["status"] for i in checklist["items"]} <= set(STATUSES)
            assert sum(checklist["counts"].values()) == len(checklist["items"])

    def test_what_is_answered_has_words_and_what_is_open_has_none(self):
        for item in (i for c in card_record(full_card())["checklists"].values() for i in c["items"]):
            assert bool(item["answer"]) != (item["status"] == "open")

    def test_an_item_without_a_fact_is_our_mistake(self):
        with pytest.raises(KeyError):
            fill(Checklist("x", "y", (Item("1", "s", "asks", "no such fact"),)), facts(card(), []))

    def test_a_bare_card_claims_neither_performance_nor_sources(self):
        record = card_record(card())
        for checklist, number in (
            ("claim_2024", "7"),
            ("claim_2024", "29"),
            ("claim_2024", "37"),
            ("claim_2024", "23"),
            ("tripod_ai", "23a"),
        ):
            assert item_of(record, checklist, number)["status"] == "open"

    def test_the_card_answers_what_it_knows(self):
        record = card_record(full_card())
        assert "https://example.org" in item_of(record, "claim_2024", "7")["answer"]
        assert item_of(record, "claim_2024", "29")["answer"] == "95 % intervals by bootstrap over slides."
        assert item_of(record, "claim_2024", "30")["status"] == "answered"
        assert "4 slides, 3 patients" in item_of(record, "claim_2024", "19")["answer"]
        assert "0.5" in item_of(record, "tripod_ai", "12f")["answer"]

    def test_splits_without_patients_are_disjoint_only_as_far_as_known(self):
        known, unknown = full_card(), full_card().model_copy(update={"training": {"splits": {"train": {"files": 3, "patients": None}}}})
        assert item_of(card_record(known), "claim_2024", "20")["status"] == "answered"
        assert item_of(card_record(unknown), "claim_2024", "20")["status"] == "partly"

    def test_a_detector_makes_no_diagnostic_claim(self):
        record = card_record(card(task="detect", head="yolo", classes=("WBC", "RBC"), white_classes=("WBC",)))
        assert item_of(record, "claim_2024", "38")["status"] == "not applicable"
        assert "white cells (WBC)" in record["intended_use"]


class TestRecord:
    def test_it_is_plain_json_without_nan(self):
        text = json.dumps(card_record(full_card()), allow_nan=False)
        assert json.loads(text)["evaluations"][0]["numbers"][1] == {
            "key": "roc_auc", "value": None, "low": None, "high": None, "n_groups": None, "method": None,
        }  # fmt: skip

    def test_a_number_stands_with_its_interval(self):
        accuracy = card_record(full_card())["evaluations"][0]["numbers"][0]
        assert accuracy == {"key": "accuracy", **INTERVAL}

    def test_what_is_no_evaluation_is_kept_apart(self):
        record = card_record(full_card())
        assert [e["name"] for e in record["evaluations"]] == ["test"]
        assert record["other_metrics"] == {"onnx_error": 0.001}

    def test_an_evaluation_of_the_whole_tells_each_model_its_part(self):
        metrics = {"map50": 0.9, "n_images": 3, "pr_curves": {}, "errors": [], "stress": {"baseline": {}, "conditions": []}}
        assert set(for_cards(metrics)) == {"detect"}
        told = for_cards(metrics | {"cells_on_truth": {"accuracy": 0.8, "n": 5}, "end_to_end": {"all": {"accuracy": 0.7}}}, data="bccd")
        assert set(told["detect"]) == {"map50", "n_images", "stress", "data"}
        numbers = {row["key"]: row["value"] for row in evaluations({"bccd": told["classify"]})[0]["numbers"]}
        assert numbers == {"accuracy": 0.8, "end_to_end.accuracy": 0.7}

    def test_no_metrics_no_evaluations(self):
        assert evaluations({}) == []

    def test_statistics_of_many_fields_are_counted_not_listed(self):
        statistics = {"measures": {"focus": {"low": 0.2, "high": 0.6}}, "stain": {"fields": ["1 2 3"] * 50}}
        record = card_record(card(statistics=statistics))
        assert record["statistics"]["stain"] == {"fields": {"n": 50}}
        assert "focus" in render_card(record)

    def test_same_card_same_record(self):
        assert card_record(full_card()) == card_record(full_card())


class TestSplits:
    def test_groups_are_counted_once_and_the_unknown_are_named(self):
        rows = [("train", "s1", "p1"), ("train", "s2", "p1"), ("train", "s2", None), ("test", "", "")]
        assert count_splits(rows) == {
            "train": {"files": 3, "slides": 2, "patients": 1, "files without a patient": 1},
            "test": {"files": 1, "slides": 0, "patients": 0, "files without a patient": 1},
        }

    def test_no_files_no_splits(self):
        assert count_splits([]) == {}

    def test_one_file_without_a_patient_leaves_disjointness_open(self):
        splits = {"train": {"files": 3, "slides": 2, "patients": 1, "files without a patient": 1}}
        record = card_record(full_card().model_copy(update={"training": {"splits": splits}}))
        assert item_of(record, "claim_2024", "20")["status"] == "partly"


class TestPage:
    def test_it_loads_nothing_and_runs_nothing(self):
        page = render_card(card_record(full_card()))
        assert "<script" not in page
        assert not re.search(r"(src|href)\s*=", page)

    def test_it_shows_the_interval_the_stress_table_and_the_open_items(self):
        page = render_card(card_record(full_card()))
        assert "0.800 to 0.950" in page
        assert "blur 2" in page
        assert "0.610" in page
        assert "<code>funding</code>" in page

    def test_names_are_text_not_markup(self):
        hostile = full_card().model_copy(update={"name": "<img src=x>", "limits": "<b>none</b>"})
        page = render_card(card_record(hostile))
        assert "<img" not in page
        assert "<b>" not in page

    def test_a_bare_card_has_a_page(self):
        assert "No evaluation is recorded" in render_card(card_record(card()))

    def test_numbers_and_names(self):
        assert (shown(None), shown(0.12345), shown(12345), shown("x")) == ("–", "0.123", "12\u202f345", "x")
        assert words("ultralytics.map50") == "ultralytics: mAP@50"


class TestBundle:
    def test_a_bundle_carries_its_card_and_opens(self, bundle):
        assert {p.name for p in bundle.iterdir()} == {"model.json", "card.json", "card.html", "weights.safetensors"}
        assert set(open_bundle(bundle).card.files) == {"weights.safetensors"}

    def test_the_card_is_never_read_by_a_run(self, bundle):
        (bundle / "card.html").write_text("changed")
        (bundle / "card.json").unlink()
        assert open_bundle(bundle).card == open_bundle(bundle).card

    def test_recorded_metrics_reach_the_card(self, bundle):
        record_metrics(bundle, "elsewhere", {"accuracy": 0.7, "n": 11})
        record = json.loads((bundle / "card.json").read_text())
        assert [e["name"] for e in record["evaluations"]] == ["test", "elsewhere"]
        assert record["model_json_sha256"] == hashlib.sha256((bundle / "model.json").read_bytes()).hexdigest()

    def test_a_card_is_no_weight_file(self, tmp_path):
        with pytest.raises(ModelError, match=r"card\.json"):
            save_bundle(tmp_path / "x", card(), {"card.json": b"{}"})

    @pytest.mark.parametrize("name", ["wbc-yolov8n", "all-hem-densenet121"])
    def test_a_shipped_model_tells_its_sources_and_results(self, name):
        record = card_record(ModelCard.model_validate_json((ROOT / "models" / name / "model.json").read_bytes()))
        assert record["data"]
        assert all(d["licence"] for d in record["data"])
        assert record["evaluations"]
        assert name in render_card(record)

    @pytest.mark.parametrize("path", sorted(ROOT.glob("models/*/card.json")), ids=lambda p: p.parent.name)
    def test_a_shipped_card_is_of_its_model(self, path):
        """Else: python -m smear card models/NAME."""
        assert json.loads(path.read_text())["model_json_sha256"] == hashlib.sha256((path.parent / "model.json").read_bytes()).hexdigest()


class TestCommand:
    def test_it_writes_beside_the_model(self, bundle, capsys):
        (bundle / "card.html").unlink()
        assert __main__.main(["card", str(bundle)]) == 0
        assert (bundle / "card.html").is_file()
        assert "CLAIM 2024: " in capsys.readouterr().out

    def test_or_elsewhere_and_then_not_there(self, bundle, tmp_path):
        before = (bundle / "card.json").read_bytes()
        assert __main__.main(["card", str(bundle), "--out", str(tmp_path / "out")]) == 0
        assert (tmp_path / "out" / "card.json").read_bytes() == before

    def test_an_answer_stays_and_can_be_taken_back(self, bundle):
        assert __main__.main(["card", str(bundle), "--answer", "funding=none", "--answer", "ethics=not needed: painted"]) == 0
        record_metrics(bundle, "later", {"accuracy": 0.5, "n": 2})
        record = json.loads((bundle / "card.json").read_text())
        assert item_of(record, "claim_2024", "44")["answer"] == item_of(record, "tripod_ai", "18a")["answer"] == "none"
        assert item_of(record, "tripod_ai", "17")["answer"] == "not needed: painted"
        assert __main__.main(["card", str(bundle), "--answer", "funding="]) == 0
        assert item_of(json.loads((bundle / "card.json").read_text()), "claim_2024", "44")["status"] == "open"

    def test_a_folder_without_a_model_is_a_mistake(self, tmp_path, capsys):
        assert __main__.main(["card", str(tmp_path / "none")]) == 2
        assert "no such folder" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("given", "message"), [("fundin=x", "did you mean 'funding'"), ("funding", "not NAME=TEXT"), ("zzz=1", "the names are")]
    )
    def test_an_answer_to_nothing_is_refused(self, given, message):
        with pytest.raises(ConfigError, match=message):
            parse_answers([given])

    def test_every_item_can_be_answered(self):
        assert set(ANSWERABLE) == {i.fact for c in (CLAIM_2024, TRIPOD_AI) for i in c.items}
