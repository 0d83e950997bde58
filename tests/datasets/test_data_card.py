"""The card says what the set's files say, no more; an audit is added when asked for and kept while the set is the same."""

import json

import numpy as np
import pytest

from datasets import check, claim, data_card
from datasets.convert import CropRecord, Record, write_crops, write_yolo
from datasets.leaks import shared_groups
from smear.errors import AnnotationError


def card_of(root):
    return json.loads((root / "card.json").read_text())


def test_every_prepared_set_carries_a_card(prepared, paint):
    root = prepared("one", {"train": [1, 2], "test": [3]}).parent
    card = card_of(root)
    assert (card["name"], card["licence"], card["n_images"], card["audit"]) == ("one", "CC0-1.0", 3, None)
    assert card["distributions"]["classes"]["train"] == {"images": 2, "Platelets": 0, "RBC": 16, "WBC": 2}
    truth = paint(3)[1]
    assert card["distributions"]["diameter_px"]["WBC"]["n"] == 3
    assert card["distributions"]["diameter_px"]["RBC"]["median"] == pytest.approx(float(np.ptp(truth.boxes[0][[0, 2]])), abs=0.1)
    page = (root / "card.html").read_text()
    assert "Not audited" in page
    assert "http" not in page.replace(card["source"], "")


def test_a_crops_table_has_one_too(tmp_path, paint):
    rows = [CropRecord(paint(i)[0], f"c{i}", "ALL" if i % 2 else "HEM", None, f"s{i}", None, "train") for i in range(4)]
    write_crops(rows, tmp_path / "crops", crop=None, about={"name": "cells"})
    card = card_of(tmp_path / "crops")
    assert (card["kind"], card["distributions"]["classes"]) == ("crops of cells", {"train": {"images": 4, "ALL": 2, "HEM": 2}})
    assert card["groups"]["slide"]["n"] == 4


def test_a_second_run_writes_the_same_card(prepared):
    root = prepared("one", {"train": [1, 2]}).parent
    before = (root / "card.json").read_bytes(), (root / "card.html").read_bytes()
    prepared("one", {"train": [1, 2]})
    assert ((root / "card.json").read_bytes(), (root / "card.html").read_bytes()) == before


def test_an_audit_enters_the_card_and_leaves_it_when_the_set_changes(prepared):
    root = prepared("one", {"train": [1, 2], "test": [3]}).parent
    assert check.main([str(root), "--quiet"]) == 0
    assert card_of(root)["audit"] is None
    assert check.main([str(root), "--quiet", "--card"]) == 0
    assert card_of(root)["audit"]["leaks"] == 0
    assert "no leak found" in (root / "card.html").read_text()
    prepared("one", {"train": [1, 2], "test": [3]})
    assert card_of(root)["audit"]["leaks"] == 0
    prepared("one", {"train": [1, 4], "test": [3]})
    assert card_of(root)["audit"] is None


def test_a_folder_without_a_manifest_has_no_card(prepared):
    root = prepared("one", {"train": [1]}).parent
    (root / "manifest.json").unlink()
    with pytest.raises(AnnotationError, match="no manifest"):
        data_card.write_card(root)


def status(manifest, groups=None):
    none_known = shared_groups([])
    return {row["item"]: row["status"] for row in claim.items(manifest, groups or none_known)}


def test_claim_items_are_open_until_the_manifest_answers_them():
    assert set(status({}).values()) == {"open", "answered"}
    assert [item for item, told in status({}).items() if told == "answered"] == [9]
    assert status({"source": "a hospital", "claim": {"8": "all smears of 2020"}})[7] == "answered"
    assert status({"claim": {"8": "all smears of 2020"}})[8] == "answered"
    assert status({"painted": True})[13] == "not applicable"
    split = {"shares": {"train": 0.7, "test": 0.3}, "seed": 1, "kept_whole": ["slide", "twins"]}
    assert status({"split": split})[19] == "answered"


def test_splits_are_said_to_be_disjoint_only_where_slides_or_patients_are_known(tmp_path, paint):
    def groups(slides):
        records = [Record(None, paint(i)[0], f"f{i}", "train", paint(i)[1], slide=slide) for i, slide in enumerate(slides)]
        write_yolo(records, tmp_path / "-".join(map(str, slides)), classes=("WBC", "RBC", "Platelets"), about={})
        return {row["item"]: row for row in card_of(tmp_path / "-".join(map(str, slides)))["claim"]}[20]

    assert groups(["s1", "s2"])["status"] == "answered"
    assert groups(["s1", None])["status"] == "open"
    assert "known for 1 of 2 images" in groups(["s1", None])["answer"]
