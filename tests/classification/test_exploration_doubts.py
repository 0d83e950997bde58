"""Labels that were swapped are doubted, labels that are right are not, and a random split is seen to flatter."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from classification.exploration.doubts import find_doubts
from smear.audit import suspects


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of several workers of the suite would wait for each other, and that takes longer than to learn."""
    import sklearn.ensemble  # noqa: F401  its threads are limited below
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def labelled(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes that features tell, five cells a group."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return np.column_stack([7 * labels + rng.normal(0, 1, n), rng.normal(0, 1, (n, 2))]), labels, np.arange(n) // 5


def test_swapped_labels_are_doubted_and_right_ones_left_alone() -> None:
    values, labels, groups = labelled()
    swapped = np.random.default_rng(1).random(len(labels)) < 0.04
    found = find_doubts(values, np.where(swapped, 1 - labels, labels), ("ALL", "HEM"), groups, seed=0)
    rows = [each["row"] for each in found["found"]]
    assert swapped[rows].mean() >= 0.9  # precision
    assert swapped[rows].sum() >= 0.7 * swapped.sum()  # recall
    assert all(each["suggested"] == ("ALL", "HEM")[labels[each["row"]]] for each in found["found"] if swapped[each["row"]])
    assert found["found"] == sorted(found["found"], key=lambda each: each["p_label"])
    assert (found["believable"], found["why_not"], found["n_looked_at"]) == (True, None, 400)


def test_doubts_by_features_that_tell_nothing_are_not_believable() -> None:
    values, labels, groups = labelled(120)
    found = find_doubts(values[:, 1:], labels, ("ALL", "HEM"), groups, seed=0)
    assert found["skill"] < 0.7
    assert not found["believable"]


def test_a_random_split_flatters_where_groups_are_remembered() -> None:
    groups = np.repeat(np.arange(40), 10)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], 20))[groups]
    values = np.column_stack([groups, rng.normal(size=len(groups))]).astype(float)
    found = find_doubts(values, labels, ("ALL", "HEM"), groups, seed=0)
    assert found["skill_random"] > 0.9
    assert found["skill"] < 0.75


def test_a_class_with_too_few_labels_is_left_out_and_one_class_is_not_told() -> None:
    values, labels, groups = labelled(200)
    n_rare = suspects.MIN_PER_CLASS - 1
    given = np.where(np.arange(200) < n_rare, 0, labels + 1)
    given[[60, 120]] = 3 - given[[60, 120]]
    found = find_doubts(values, given, ("RARE", "ALL", "HEM"), groups, seed=0)
    assert found["n_looked_at"] == 200 - n_rare
    assert {60, 120} <= {each["row"] for each in found["found"]}  # rows of all labels, not of those looked at
    assert all(each["label"] == ("RARE", "ALL", "HEM")[given[each["row"]]] != "RARE" for each in found["found"])
    values, labels, groups = values[:100], labels[:100], groups[:100]
    for few in (np.zeros(100, int), np.r_[np.zeros(81, int), np.ones(19, int)]):
        told = find_doubts(values, few, ("ALL", "HEM"), groups, seed=0)
        assert told["why_not"] == "fewer than two classes have 20 crops"
        assert (told["found"], told["skill"], told["n_looked_at"]) == ([], None, 0)
    assert find_doubts(values[:0], labels[:0], ("ALL",), groups[:0], seed=0)["why_not"] is not None


def test_unknown_features_and_one_group_alone_are_borne() -> None:
    values, labels, groups = labelled(60)
    values[::7, 0] = np.nan
    assert find_doubts(values, labels, ("ALL", "HEM"), groups, seed=0)["why_not"] is None
    assert find_doubts(values, labels, ("ALL", "HEM"), np.zeros(60, int), seed=0)["skill"] == 0.5


def test_without_cleanlab_the_skill_is_told_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    values, labels, groups = labelled(100)
    found = find_doubts(values, labels, ("ALL", "HEM"), groups, seed=0)
    assert found["why_not"].endswith("needs the package 'cleanlab'; install it with: pip install 'leukofield[audit]'")
    assert found["skill"] > 0.8
    assert found["found"] == []
