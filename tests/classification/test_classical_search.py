"""A search finds what scikit-learn's finds, repeats itself, and stops in time."""

import time

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from classification.classical.pipeline import Sheet, inner_folds
from classification.classical.search import search
from classification.recipes import Classical

SPACE = {"C": [0.01, 1, 100], "gamma": [0.001, 0.1, 10]}


def sheet(n: int = 60, seed: int = 0) -> Sheet:
    rng, y = np.random.default_rng(seed), np.arange(n) // 3 % 2
    return Sheet(rng.normal(0, 1, (n, 3)) + y[:, None], y, np.array([f"g{i // 3}" for i in range(n)]), ("a", "b"))


def recipe(how: str, space: dict[str, list] = SPACE, name: str = "svm_rbf", **content: object) -> Classical:
    return Classical.model_validate({"features": ["dft"], "model": {"name": name}, "search": how, "space": space, **content})


def test_the_grid_is_scored_as_scikit_learn_scores_it() -> None:
    some = sheet()
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    folds, _ = inner_folds(some, seed=0)
    theirs = GridSearchCV(pipeline, {f"model__{key}": values for key, values in SPACE.items()}, scoring="balanced_accuracy", cv=folds)
    theirs.fit(some.x, some.y)
    ours = search(recipe("grid"), some, seed=0, deadline=None)
    np.testing.assert_allclose([trial["balanced_accuracy"] for trial in ours.trials], theirs.cv_results_["mean_test_score"])
    assert {f"model__{key}": value for key, value in ours.params.items()} == theirs.best_params_
    assert ours.in_time
    assert ours.notes == ()


def test_bayes_repeats_itself_and_tries_nothing_twice() -> None:
    wanted = recipe("bayes", trials=12)
    first, second = (search(wanted, sheet(), seed=1, deadline=None) for _ in range(2))
    tried = [trial["params"] for trial in first.trials]
    assert tried == [trial["params"] for trial in second.trials]
    assert len({str(params) for params in tried}) == len(tried) <= 9
    best = max(trial["balanced_accuracy"] for trial in first.trials)
    assert next(trial["params"] for trial in first.trials if trial["balanced_accuracy"] == best) == dict(first.params)


def test_bayes_chooses_among_values_of_any_kind() -> None:
    found = search(
        recipe("bayes", {"weights": ["uniform", "distance"], "n_neighbors": [1, 5]}, name="knn", trials=4), sheet(), seed=0, deadline=None
    )
    assert found.params["weights"] in ("uniform", "distance")
    assert found.params["n_neighbors"] in (1, 5)


def test_members_of_a_vote_can_be_searched() -> None:
    found = search(recipe("grid", {"knn__n_neighbors": [1, 7]}, name="vote_e1"), sheet(30), seed=0, deadline=None)
    assert found.params["knn__n_neighbors"] in (1, 7)
    assert len(found.trials) == 2


@pytest.mark.parametrize("how", ["grid", "bayes"])
def test_a_deadline_leaves_the_best_so_far_or_the_recipe_s_own(how: str) -> None:
    wanted = recipe(how, model={"name": "svm_rbf", "params": {"tol": 0.01}})
    found = search(wanted, sheet(), seed=0, deadline=time.monotonic() - 1)
    assert found.params == {"tol": 0.01}
    assert not found.in_time
    assert "0 of" in found.notes[0]


def test_a_run_that_is_meant_to_be_small_tries_less_and_says_so() -> None:
    found = search(recipe("grid"), sheet(), seed=0, deadline=None, epochs=1)
    assert len(found.trials) == 2
    assert found.in_time
    assert found.notes == ("2 of 9 settings tried: the run is limited",)
