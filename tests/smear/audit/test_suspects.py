"""Labels that were swapped are doubted, labels that are right are not, and nothing is doubted on thin grounds."""

import numpy as np
import pytest

from smear.audit import suspects
from smear.audit.suspects import cross_validated, find_suspects, read_probabilities, skill
from smear.errors import AnnotationError


def blobs(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes as far apart as cells are by size and colour; five rows a group."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    traits = np.eye(3)[labels] * 6 + rng.normal(0, 1, (n, 3))
    return traits.astype(np.float32), labels, np.arange(n) // 5


def test_swapped_labels_are_found_and_right_ones_left_alone():
    traits, labels, groups = blobs()
    swapped = np.random.default_rng(1).random(len(labels)) < 0.04
    given = np.where(swapped, (labels + 1) % 3, labels)
    stated = cross_validated(traits, given, groups, n_classes=3)
    found = find_suspects(given, stated, "abc")
    rows = [s.row for s in found]
    assert swapped[rows].mean() >= 0.9  # precision
    assert swapped[rows].sum() >= 0.6 * swapped.sum()  # recall
    assert all("abc".index(s.suggested) == labels[s.row] for s in found if swapped[s.row])
    assert [s.p_label for s in found] == sorted(s.p_label for s in found)


def test_right_labels_are_hardly_doubted():
    traits, labels, groups = blobs()
    stated = cross_validated(traits, labels, groups, n_classes=3)
    assert len(find_suspects(labels, stated, "abc")) <= 0.01 * len(labels)
    assert skill(labels, stated) > 0.98


def test_probabilities_add_up_and_repeat():
    traits, labels, groups = blobs(100)
    stated = cross_validated(traits, labels, groups, n_classes=3, seed=3)
    np.testing.assert_allclose(stated.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(stated, cross_validated(traits, labels, groups, n_classes=3, seed=3))


def test_a_group_is_never_judged_by_what_it_taught():
    """Each group has a mark of its own that tells its label: learnt by heart it would be perfect, across groups it says nothing."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    labels = rng.integers(0, 2, 40)[groups]
    traits = np.stack([groups, rng.normal(size=len(groups))], axis=1).astype(np.float32)
    assert skill(labels, cross_validated(traits, labels, groups, n_classes=2)) < 0.75


def test_one_group_alone_says_nothing():
    stated = cross_validated(np.zeros((10, 2), np.float32), np.arange(10) % 2, np.zeros(10, np.int64), n_classes=2)
    np.testing.assert_array_equal(stated, np.full((10, 2), 0.5))


def test_given_probabilities_are_read_for_the_files_that_have_a_row(tmp_path):
    (tmp_path / "p.csv").write_text("file,label,p_ALL,p_HEM\nb.png,ALL,0.25,0.75\na.png,HEM,1,0\n")
    known, stated = read_probabilities(tmp_path / "p.csv", ["a.png", "x.png", "b.png"], ["ALL", "HEM"])
    assert known.tolist() == [0, 2]
    np.testing.assert_allclose(stated, [[1, 0], [0.25, 0.75]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,ALL\na.png,1\n", "column 'HEM'"),
        ("file,ALL,HEM\nother.png,1,0\n", "no row"),
        ("file,ALL,HEM\na.png,1,x\n", "expected a number"),
        ("file,ALL,HEM\na.png,0.9,0.9\n", "add up to 1"),
        ("file,ALL,HEM\na.png,1.5,-0.5\n", "0 to 1"),
    ],
)
def test_wrong_probabilities_are_told(tmp_path, text, words):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(AnnotationError, match=words):
        read_probabilities(tmp_path / "p.csv", ["a.png"], ["ALL", "HEM"])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    with pytest.raises(suspects.MissingExtra, match="cleanlab"):
        find_suspects(np.array([0, 1]), np.full((2, 2), 0.5), "ab")
