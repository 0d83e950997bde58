"""The cells that are explained: of every class, right and wrong, of many groups, and the same for the same seed."""

import numpy as np
import pytest

from classification.explanations.choice import choose_explained, count_kinds

N = 400


@pytest.fixture
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mostly of class 0, mostly right, one group much larger than the others."""
    rng = np.random.default_rng(0)
    labels = (rng.random(N) < 0.1).astype(np.int64)
    predicted = np.where(rng.random(N) < 0.05, 1 - labels, labels)
    predicted[labels == 1] = np.where(np.arange((labels == 1).sum()) < 4, 0, 1)
    groups = np.where(rng.random(N) < 0.8, "large", rng.choice(["a", "b", "c"], N))
    return labels, predicted, groups


def test_every_kind_of_answer_and_every_group_is_there(labelled: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, predicted, groups = labelled
    rows = choose_explained(labels, predicted, groups, most=24, seed=0)
    assert len(rows) == len(set(rows.tolist())) == 24
    kinds = [(int(labels[i]), bool(labels[i] == predicted[i])) for i in rows]
    assert {kind: kinds.count(kind) for kind in kinds}[1, False] == 4  # all that there are
    assert min(kinds.count((c, right)) for c, right in ((0, True), (0, False), (1, True))) >= 6
    assert set(groups[rows]) == {"large", "a", "b", "c"}
    assert kinds == sorted(kinds)  # by class, the wrong ones first


def test_the_seed_decides_which_and_nothing_else(labelled: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    one, same, other = (choose_explained(*labelled, most=12, seed=seed).tolist() for seed in (3, 3, 4))
    assert one == same != other


@pytest.mark.parametrize(("n", "most", "expected"), [(0, 5, 0), (3, 0, 0), (3, 5, 3), (0, 0, 0)])
def test_few_or_no_cells_are_all_or_none(n: int, most: int, expected: int) -> None:
    rows = choose_explained(np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, "g"), most=most, seed=0)
    assert rows.shape == (expected,)
    assert rows.dtype == np.int64


def test_counts_are_of_all_that_were_labelled() -> None:
    found = count_kinds(np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1]), ("ALL", "HEM", "other"))
    assert found == {"ALL": {"right": 2, "wrong": 1}, "HEM": {"right": 1, "wrong": 0}, "other": {"right": 0, "wrong": 0}}
