"""What lies in two splits is counted, by kind; what has no split cannot leak."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from datasets.leaks import count_leaks, count_pairs, is_leak, shared_groups, twin_rows
from datasets.listing import TWO_SPLITS, Item, Listing, Problem
from smear.audit.twins import Twin


def test_only_two_different_splits_leak():
    assert is_leak(["train", "test"])
    assert is_leak(["val", "test"])
    assert not is_leak(["train", "train"])
    assert not is_leak(["train", ""])
    assert not is_leak([])


def test_groups_in_two_splits_are_told_with_their_images():
    patients = [("train", "p1"), ("train", "p1"), ("test", "p1"), ("test", "p2"), ("val", "")]
    items = [Item(Path(str(i)), split, groups={"patient": p} if p else {}) for i, (split, p) in enumerate(patients)]
    told = shared_groups(items)["patient"]
    assert told["in_two_splits"] == [{"value": "p1", "splits": {"test": 1, "train": 2}}]
    assert (told["n"], told["n_images_known"], told["n_images_unknown"]) == (2, 4, 1)
    assert shared_groups([])["slide"] == {"n_images_known": 0, "n_images_unknown": 0, "n": 0, "in_two_splits": []}


@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test", ""]), st.sampled_from("abc"))))
def test_shared_groups_agree_with_counting_by_hand(rows):
    items = [Item(Path(str(i)), split, groups={"slide": value}) for i, (split, value) in enumerate(rows)]
    wanted = sorted(v for v in set("abc") if len({s for s, value in rows if value == v and s}) > 1)
    assert [row["value"] for row in shared_groups(items)["slide"]["in_two_splits"]] == wanted


def test_twins_that_are_labelled_differently_say_how():
    a, b = Path("a.png"), Path("b.png")
    items = {a: Item(a, "train"), b: Item(b, "test")}
    twin = Twin(a, b, "near", "flip-h", 0.1)
    (row,) = twin_rows([twin], items, {a: {"WBC": 1}, b: {"WBC": 1, "RBC": 2}})
    assert row == {"a": "a.png", "b": "b.png", "kind": "near", "transform": "flip-h", "distance": 0.1, "splits": ["train", "test"],
                   "labels": ["1 WBC", "2 RBC, 1 WBC"]}  # fmt: skip
    assert "labels" not in twin_rows([twin], items, {a: {"WBC": 1}, b: {"WBC": 1}})[0]
    assert "labels" not in twin_rows([twin], items, {a: {"WBC": 1}})[0]


def test_leaks_are_counted_by_kind():
    within = [{"splits": ["train", "test"]}, {"splits": ["train", "train"]}]
    groups = shared_groups([Item(Path("a"), "train", groups={"slide": "s"}), Item(Path("b"), "test", groups={"slide": "s"})])
    listing = Listing(Path("x"), "set", (), problems=(Problem(TWO_SPLITS, "a.png"), Problem("no label", "b.png")))
    counts = count_leaks(listing, within, [{"splits": ["val", "test"]}], groups)
    assert {what: n for what, n in counts.items() if n} == {
        "images in two splits": 1, "twins in two splits": 1, "twins in another split of another set": 1, "slides in two splits": 1,
    }  # fmt: skip


def test_pairs_within_a_set_have_no_order_and_between_sets_have_one():
    rows = [{"kind": "near", "splits": ["test", "train"]}, {"kind": "near", "splits": ["train", "test"]}]
    assert count_pairs(rows) == [("near", "train - test", 2)]
    assert count_pairs([{**row, "other": "/x/bccd"} for row in rows]) == [
        ("near", "test - train of bccd", 1), ("near", "train - test of bccd", 1),
    ]  # fmt: skip
