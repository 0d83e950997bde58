"""An ensemble out of stored answers says what `classification.ensemble` would."""

import numpy as np
import pytest

from classification.compare_members import combine
from classification.recipes import Ensemble

VAL = np.array([0, 0, 1, 1])


def member(seed: int, ms: float, *, on_gpu: float | None = None) -> dict:
    about = {"n_parameters": seed, "file_bytes": 10, "pretrained": seed > 1, "epochs": 2, "history": [{"epoch": 1}], "note": ""}
    costs = {"train_seconds": 5.0, "ms_per_crop": ms, "ms_per_crop_gpu": on_gpu}
    return {**costs, "about": {**about, "stopped_by_budget": seed == 2}}


def sure(calls: list[int]) -> np.ndarray:
    return np.where(np.array(calls)[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)


@pytest.mark.parametrize(("weights", "expected"), [("equal", 0.5), ("validation", 0.9 * 2 / 3 + 0.1 / 3)])
def test_members_count_by_their_accuracy_on_validation_or_alike(weights: str, expected: float) -> None:
    right, half = sure([0, 0, 1, 1]), sure([0, 1, 1, 0])
    ensemble = Ensemble(members=("one", "two"), weights=weights)
    measured, test, val = combine(ensemble, [member(1, 2.0), member(2, 3.0)], [sure([0]), sure([1])], [right, half], VAL)
    assert test[0, 0] == pytest.approx(expected)
    assert test.sum(axis=1) == pytest.approx(1)
    assert val.shape == (4, 2)
    assert (measured["ms_per_crop"], measured["train_seconds"], measured["ms_per_crop_gpu"]) == (5.0, 10.0, None)
    about = measured["about"]
    assert (about["n_parameters"], about["pretrained"], about["stopped_by_budget"]) == (3, False, True)
    assert [row["member"] for row in about["history"]] == ["one", "two"]


def test_times_on_a_gpu_are_added_up_where_all_have_one() -> None:
    records = [member(1, 2.0, on_gpu=0.5), member(1, 3.0, on_gpu=0.25)]
    measured, _, _ = combine(Ensemble(members=("one", "two")), records, [sure([0])] * 2, [sure([0, 0, 0, 0])] * 2, VAL)
    assert measured["ms_per_crop_gpu"] == 0.75
