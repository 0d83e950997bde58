"""Counts and quantiles of a set, against counting by hand."""

import numpy as np
import pytest

from smear.audit.distributions import N_BINS, class_counts, size_summary


def test_every_class_is_counted_in_every_split():
    rows = [("test", ["a"]), ("train", ["a", "b", "a"]), ("train", []), ("", ["b"])]
    counts = class_counts(rows)
    assert list(counts) == ["train", "test", ""]
    assert counts["train"] == {"images": 2, "a": 2, "b": 1}
    assert counts["test"] == {"images": 1, "a": 1, "b": 0}
    assert list(class_counts(rows, ["z", "b"])["test"].items()) == [("images", 1), ("z", 0), ("b", 0), ("a", 1)]
    assert class_counts([]) == {}


def test_sizes_hold_every_box_once():
    rng = np.random.default_rng(0)
    sizes = {"a": rng.uniform(5, 50, 200), "b": [30.0], "none": []}
    told = size_summary(sizes)
    assert set(told) == {"a", "b"}
    assert sum(told["a"]["histogram"]) == 200
    assert sum(told["b"]["histogram"]) == 1
    assert told["a"]["median"] == pytest.approx(np.median(sizes["a"]), abs=0.01)
    assert told["a"]["edges_px"] == told["b"]["edges_px"]
    assert len(told["a"]["edges_px"]) == N_BINS + 1
    assert size_summary({}) == {}
