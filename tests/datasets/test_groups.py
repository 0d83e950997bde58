"""Groups stay whole, labels are shared out."""

from collections import Counter

import numpy as np
import pytest

from datasets.groups import split_groups


def test_every_label_comes_near_its_share() -> None:
    rng = np.random.default_rng(0)
    groups, labels = [], []
    for label, n_groups in (("x", 30), ("y", 20)):
        for g in range(n_groups):
            n = int(rng.integers(3, 40))
            groups += [f"{label}{g}"] * n
            labels += [label] * n
    chosen = split_groups(groups, labels, seed=1)
    for label in "xy":
        counts = Counter(chosen[g] for g, this in zip(groups, labels, strict=True) if this == label)
        assert counts["train"] / counts.total() == pytest.approx(0.7, abs=0.04)
        assert counts["val"] / counts.total() == pytest.approx(0.15, abs=0.04)


def test_the_seed_decides_and_repeats() -> None:
    groups, labels = [i // 5 for i in range(300)], ["x"] * 300
    assert split_groups(groups, labels, seed=4) == split_groups(groups, labels, seed=4)
    assert split_groups(groups, labels, seed=4) != split_groups(groups, labels, seed=5)


def test_nothing_to_split_is_no_split() -> None:
    assert split_groups([], []) == {}
