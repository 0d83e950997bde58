from typing import get_args

import numpy as np
import pytest

from classification.folds import KINDS, Folds, Kind, choose_rows, make_folds
from smear.errors import AnnotationError, ConfigError

CLASSES = ("ALL", "HEM")


def material(n_groups: int = 20, size: int = 6, *, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups: groups of one class each by turns, or with both."""
    groups = np.repeat(np.array([f"slide {i}" for i in range(n_groups)]), size)
    labels = np.tile([0, 1], n_groups * size // 2) if mixed else np.repeat(np.arange(n_groups) % 2, size)
    return labels.astype(np.int64), groups


def parts(made: Folds, groups: np.ndarray) -> list[tuple[set[str], ...]]:
    return [tuple(set(groups[rows].tolist()) for rows in (fold.train, fold.val, fold.test)) for fold in made.folds]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [2, 5])
def test_every_row_is_tested_once_and_is_in_one_part_of_every_fold(kind: Kind, k: int) -> None:
    labels, groups = material()
    made = make_folds(labels, groups, CLASSES, kind=kind, k=k, seed=0)
    assert len(made.folds) == k
    assert sorted(np.concatenate([fold.test for fold in made.folds])) == list(range(len(labels)))
    for fold in made.folds:
        assert sorted([*fold.train, *fold.val, *fold.test]) == list(range(len(labels)))
        assert all(set(labels[rows]) == {0, 1} for rows in (fold.train, fold.val, fold.test))


@pytest.mark.parametrize("mixed", [False, True])
def test_grouped_folds_keep_a_group_in_one_part_validation_included(mixed: bool) -> None:
    labels, groups = material(mixed=mixed)
    for train, val, test in parts(make_folds(labels, groups, CLASSES, kind="grouped", k=4, seed=3), groups):
        assert not train & val
        assert not (train | val) & test


def test_random_folds_tear_groups_apart() -> None:
    labels, groups = material()
    assert all(train & test for train, _, test in parts(make_folds(labels, groups, CLASSES, kind="random", k=4, seed=3), groups))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_seed_decides(kind: Kind) -> None:
    labels, groups = material()
    first, again, other = (make_folds(labels, groups, CLASSES, kind=kind, k=3, seed=seed) for seed in (1, 1, 2))
    for field in ("train", "val", "test"):
        assert all(np.array_equal(getattr(a, field), getattr(b, field)) for a, b in zip(first.folds, again.folds, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first.folds, other.folds, strict=True))


def test_classes_stay_even_when_groups_are_of_many_sizes() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 60, 60)
    groups, labels = np.repeat(np.arange(60).astype(str), sizes), np.repeat(rng.permutation(np.arange(60) % 3), sizes)
    made = make_folds(labels, groups, ("a", "b", "c"), kind="grouped", k=5, seed=0)
    shares = np.array([np.bincount(labels[fold.test], minlength=3) for fold in made.folds]) / np.bincount(labels)
    assert shares.min() > 0.1
    assert shares.max() < 0.3


def test_a_group_in_two_classes_is_a_warning_by_name() -> None:
    labels, groups = material()
    labels[0] = 1  # slide 0 was all class 0
    (told,) = make_folds(labels, groups, CLASSES, kind="grouped", k=3, seed=0, unit="slide").warnings
    assert told.startswith("1 of 20 slides hold crops of more than one class, 'slide 0'")
    assert make_folds(*material(), CLASSES, kind="grouped", k=3, seed=0).warnings == ()


@pytest.mark.parametrize(
    ("labels", "groups", "kind", "k", "error", "message"),
    [
        ([0] * 9 + [1], range(10), "random", 3, AnnotationError, "class 'HEM' has 1 crop; to train, validate and test takes 3"),
        ([0] * 9, range(9), "random", 3, AnnotationError, "class 'HEM' has 0 crops"),
        ([0, 1] * 9, [0, 1] * 9, "grouped", 5, ConfigError, "--folds 5: there are only 2 slides"),
        ([0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 4, 4], "grouped", 3, AnnotationError, "'HEM' lies in 1 slide; to train, validate"),
        ([0] * 7 + [1] * 3, range(10), "grouped", 5, ConfigError, "'HEM' lies in only 3 slides, so a fold .* use --folds 3"),
        ([0] * 7 + [1] * 3, range(10), "random", 5, ConfigError, "'HEM' lies in only 3 crops"),
        ([0, 1] * 9, range(18), "random", 1, ConfigError, "--folds: must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_parted_is_refused_with_what_to_do(labels, groups, kind, k, error, message) -> None:
    with pytest.raises(error, match=message):
        make_folds(np.array(labels), np.array(list(groups)).astype(str), CLASSES, kind=kind, k=k, seed=0, unit="slide")


def test_a_class_that_would_be_left_in_one_group_for_training_and_validation_is_refused() -> None:
    labels, groups = np.array([0] * 8 + [1] * 8), np.array([*range(8), 8, 8, 8, 8, 9, 9, 10, 10]).astype(str)
    with pytest.raises(AnnotationError, match="cannot be validated too"):
        make_folds(labels, groups, CLASSES, kind="grouped", k=2, seed=0)


def test_chosen_rows_keep_the_share_of_every_group() -> None:
    groups = np.repeat(["a", "b", "c"], [600, 300, 100])
    rows = choose_rows(groups, most=100, seed=0)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    assert np.abs(np.unique(groups[rows], return_counts=True)[1] - [60, 30, 10]).max() <= 1
    assert np.array_equal(choose_rows(groups, most=5000, seed=0), np.arange(1000))
    assert not np.array_equal(rows, choose_rows(groups, most=100, seed=1))


def test_small_groups_are_drawn_as_often_as_their_share() -> None:
    groups = np.arange(1000).astype(str)
    drawn = np.concatenate([choose_rows(groups, most=100, seed=seed) for seed in range(50)])
    assert len(np.unique(drawn)) > 900  # not the same hundred each time
