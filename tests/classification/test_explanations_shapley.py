"""SHAP values add up, belong to the feature that decides, and stay within the questions that they may ask."""

import sys

import numpy as np
import pytest

from classification.classical.pipeline import Members, Sheet, fit_members
from classification.explanations.columns import score_columns
from classification.explanations.shapley import MOST_PLAYERS, Shap, explain_labels, players_of
from classification.recipes import Classical
from smear.errors import MissingExtra

TWO, THREE = ("ALL", "HEM"), ("a", "b", "c")
DECIDES = 2  # the column that the classes differ in
N_COLUMNS = 6


def sheet(classes: tuple[str, ...] = TWO, n: int = 60, n_columns: int = N_COLUMNS) -> Sheet:
    rng, y = np.random.default_rng(0), np.arange(n) % len(classes)
    x = rng.normal(size=(n, n_columns))
    x[:, DECIDES] = 3 * y + 0.3 * rng.normal(size=n)
    return Sheet(x, y, np.array([f"g{i // 4}" for i in range(n)]), classes)


def fitted(model: str, learned: Sheet, **content: object) -> Members:
    params = {"n_estimators": 8, "max_features": None} if model == "random_forest" else {}
    recipe = Classical.model_validate({"features": ["colour"], "model": {"name": model, "params": params}, **content})
    return fit_members(recipe, recipe.model.params, learned, seed=0)


def explained(members: Members, learned: Sheet, x: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Shap:
    families = ["colour"] * learned.x.shape[1]
    return explain_labels(members, x, labels, learned.x[:10], families, n_classes=len(learned.classes), seed=seed)


@pytest.mark.parametrize(
    ("model", "content", "method"),
    [
        ("decision_tree", {}, "tree"),
        ("random_forest", {"scale": "minmax"}, "tree"),
        ("random_forest", {"pca": 3}, "permutation"),
        ("svm_rbf", {}, "permutation"),
        ("naive_bayes", {"scale": "none"}, "permutation"),
        ("vote_e1", {}, "permutation"),
    ],
)
@pytest.mark.parametrize("classes", [TWO, THREE])
def test_values_add_up_to_the_probability(model: str, content: dict, method: str, classes: tuple[str, ...]) -> None:
    learned = sheet(classes)
    members = fitted(model, learned, **content)
    x, labels = learned.x[::25].copy(), learned.y[::25]
    x[0, 1] = np.nan  # a feature that could not be measured
    found = explained(members, learned, x, labels)
    assert found.method == method
    assert (found.evaluations == 0) == (method == "tree")
    assert found.values.shape == x.shape
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.output, atol=1e-5)
    np.testing.assert_allclose(found.output, members.probabilities(x, len(classes))[np.arange(len(x)), labels], atol=1e-6)


@pytest.mark.parametrize("model", ["random_forest", "svm_linear"])
def test_the_feature_that_decides_gets_the_credit(model: str) -> None:
    learned = sheet()
    found = explained(fitted(model, learned), learned, learned.x[:4], learned.y[:4])
    assert (np.abs(found.values).argmax(axis=1) == DECIDES).all()
    assert (found.values[:, DECIDES] > 0).all()  # it speaks for the true label


def test_a_class_that_nobody_learned_gets_nothing() -> None:
    learned = sheet()
    members = fitted("random_forest", Sheet(learned.x, learned.y * 2, learned.groups, THREE))
    found = explain_labels(members, learned.x[:3], np.array([0, 1, 2]), learned.x[:5], ["colour"] * N_COLUMNS, n_classes=3, seed=0)
    assert found.base[1] == found.output[1] == 0
    assert not found.values[1].any()


def test_many_columns_play_in_blocks_of_one_family_and_still_add_up() -> None:
    learned = sheet(n_columns=450)
    members = fitted("naive_bayes", learned, scale="none")
    families = ["colour"] * 101 + ["glcm"] * 349
    found = explain_labels(members, learned.x[:2], learned.y[:2], learned.x[:4], families, n_classes=2, seed=0)
    assert found.players <= MOST_PLAYERS
    assert found.evaluations <= 4 * (2 * MOST_PLAYERS + 1) * 2
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.output, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, MOST_PLAYERS, MOST_PLAYERS + 1, 5 * MOST_PLAYERS + 3])
def test_players_cover_all_columns_in_order_and_never_join_two_families(n: int) -> None:
    families = ["a"] * (n // 3) + ["b"] * (n - n // 3)
    owners = players_of(families)
    assert len(owners) == n
    assert set(np.diff(owners).tolist()) <= {0, 1}
    assert len(set(owners.tolist())) <= MOST_PLAYERS
    assert len(set(zip(owners.tolist(), families, strict=True))) == len(set(owners.tolist()))
    if n <= MOST_PLAYERS:
        assert owners.tolist() == list(range(n))


@pytest.mark.parametrize("model", ["random_forest", "svm_linear"])
def test_no_crop_is_no_row(model: str) -> None:
    learned = sheet()
    found = explained(fitted(model, learned), learned, learned.x[:0], learned.y[:0])
    assert found.values.shape == (0, N_COLUMNS)
    assert found.base.shape == found.output.shape == (0,)
    scored = score_columns(found, [f"c{i}" for i in range(N_COLUMNS)], ["colour"] * N_COLUMNS)
    assert scored["families"] == [{"name": "colour", "mean_abs_shap": 0.0, "share": None}]


def test_values_follow_from_the_seed_and_leave_the_callers_random_numbers_alone() -> None:
    learned = sheet()
    members = fitted("svm_rbf", learned)
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    one, two = (explained(members, learned, learned.x[:3], learned.y[:3], seed=4) for _ in range(2))
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002
    np.testing.assert_array_equal(one.values, two.values)


def test_families_sum_their_columns_and_the_strongest_come_first() -> None:
    values = np.array([[0.1, -0.3, 0.0, 0.2], [0.1, 0.3, 0.0, -0.2]])
    shap = Shap(values, np.zeros(2), values.sum(axis=1), "tree", 0, 4)
    found = score_columns(shap, ["p", "q", "r", "s"], ["one", "one", "two", "two"])
    assert [entry["name"] for entry in found["top"]] == ["q", "s", "p", "r"]
    assert [(entry["name"], round(entry["share"], 6)) for entry in found["families"]] == [
        ("one", round(4 / 6, 6)),
        ("two", round(2 / 6, 6)),
    ]


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    learned = sheet()
    with pytest.raises(MissingExtra, match=r"needs the package 'shap'.*leukofield\[explain\]"):
        explained(fitted("decision_tree", learned), learned, learned.x[:1], learned.y[:1])
