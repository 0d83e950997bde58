"""An ensemble says the weighted mean of what its members say, and is all of them when it is opened again."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classification import ensemble
from classification.ensemble import EnsembleSystem, FittedEnsemble, share_of
from classification.recipes import Recipe
from classification.systems import FITTED, Cells, open_fitted, open_system
from smear.errors import ModelError

TINY = {"model": "tiny", "head": "plain", "imgsz": 32, "epochs": 6, "batch": 8, "normalise": "unit", "precision": "float32"}
OPTIMISER = {"name": "adam", "lr": 0.01, "weight_decay": 0, "warmup_epochs": 0, "ema": 0}


@dataclass(frozen=True)
class Sure:
    """Says `share` for its class of every cell."""

    says: int
    share: float = 0.9
    asked: list[float | None] = field(default_factory=list)

    @property
    def about(self) -> Mapping[str, Any]:
        return {"n_parameters": 1, "file_bytes": 2, "pretrained": True, "epochs": 3, "history": [], "stopped_by_budget": False, "note": ""}

    def fit(self, train: Cells, val: Cells, *, deadline: float | None, **options: Any) -> "Sure":
        self.asked.append(deadline)
        return self

    def probabilities(self, cells: Cells) -> np.ndarray:
        rest = (1 - self.share) / (len(cells.classes) - 1)
        made = np.full((len(cells), len(cells.classes)), rest, np.float32)
        made[:, self.says] = self.share
        return made


def single(name: str, **changes: object) -> Recipe:
    network = {**TINY, "optimiser": OPTIMISER, **changes}
    return Recipe.model_validate({"name": name, "paper": "leukodetect", "about": "", "kind": "network", "network": network})


def both(weights: str) -> Recipe:
    content = {"members": ["one", "two"], "weights": weights}
    return Recipe.model_validate({"name": "e", "paper": "leukodetect", "about": "", "kind": "ensemble", "ensemble": content})


def fit(system: EnsembleSystem, train: Cells, val: Cells, out: Path, deadline: float | None = None) -> FittedEnsemble:
    return system.fit(train, val, seed=0, device="cpu", deadline=deadline, out=out)


def test_validation_weighs_a_member_by_its_accuracy_and_equal_weighs_all_the_same(cells: Callable[..., Cells], tmp_path: Path) -> None:
    some = cells(8).take(np.array([0, 2, 4, 1]))  # three of the first class, one of the second
    members = (("one", Sure(0)), ("two", Sure(1)))
    weighed, equal = (fit(EnsembleSystem(members, by), some, some, tmp_path) for by in (True, False))
    assert weighed.weights == (0.75, 0.25)
    assert equal.weights == (0.5, 0.5)
    np.testing.assert_allclose(weighed.probabilities(some), [[0.7, 0.3]] * 4, rtol=1e-6)
    np.testing.assert_allclose(equal.probabilities(some), [[0.5, 0.5]] * 4, rtol=1e-6)
    assert weighed.about["n_parameters"] == 2
    assert weighed.about["epochs"] == 6
    assert weighed.about["weights"] == {"one": 0.75, "two": 0.25}
    assert weighed.probabilities(some.take(np.zeros(0, int))).shape == (0, 2)


def test_members_that_are_all_wrong_count_the_same(cells: Callable[..., Cells], tmp_path: Path) -> None:
    three = cells(6, classes=("a", "b", "c"))
    wrong = three.take(three.labels == 2)
    assert fit(EnsembleSystem((("one", Sure(0)), ("two", Sure(1))), True), three, wrong, tmp_path).weights == (0.5, 0.5)


def test_the_time_that_is_left_is_shared_by_the_members_that_are_left(
    cells: Callable[..., Cells], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    one, two = Sure(0), Sure(1)
    fit(EnsembleSystem((("one", one), ("two", two)), False), cells(4), cells(4), tmp_path, deadline=160.0)
    assert (one.asked, two.asked) == ([130.0], [160.0])
    assert share_of(90.0, 2) == 100.0
    assert share_of(None, 2) is None


def test_an_ensemble_of_networks_is_the_same_when_opened_again(
    cells: Callable[..., Cells], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = {"one": single("one"), "two": single("two", head="modified_cnn", imgsz=16)}
    monkeypatch.setattr(ensemble, "all_recipes", lambda: recipes)
    train, val = cells(32), cells(16)
    done = fit(open_system(both("validation")), train, val, tmp_path / "out")
    apart = [fit(open_system(recipe), train, val, tmp_path / "out").probabilities(val) for recipe in recipes.values()]
    expected = sum(weight * said for weight, said in zip(done.weights, apart, strict=True))
    np.testing.assert_allclose(done.probabilities(val), expected, atol=1e-6)
    assert {row["member"] for row in done.about["history"]} == {"one", "two"}
    done.save(tmp_path / "saved")
    np.testing.assert_array_equal(open_fitted(tmp_path / "saved").probabilities(val), done.probabilities(val))

    described = json.loads((tmp_path / "saved" / FITTED).read_text())
    for changes, said in (({"members": ["one", "../two"]}, "plain names"), ({"weights": [1.0]}, "as many"), ({"classes": None}, "no list")):
        (tmp_path / "saved" / FITTED).write_text(json.dumps({**described, **changes}))
        with pytest.raises(ModelError, match=said):
            open_fitted(tmp_path / "saved")
