"""What is learned, is learned from the training part: medians, scales, made-up crops and calibrations; and votes are means."""

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from classification.classical.models import MODELS, VOTES, count
from classification.classical.pipeline import Sheet, fit_members, inner_folds
from classification.recipes import Classical
from smear.errors import ConfigError, TrainingError

NAMES = ("a", "b", "c", "d")


def sheet(n: int = 60, n_classes: int = 2, *, seed: int = 0, features: int = 4) -> Sheet:
    """Blobs; a group holds three crops of one class."""
    rng, y = np.random.default_rng(seed), np.arange(n) // 3 % n_classes
    x = rng.normal(0, 1, (n, features)) + y[:, None] * np.arange(features)
    return Sheet(x, y, np.array([f"g{i // 3}" for i in range(n)]), NAMES[:n_classes])


def recipe(name: str, **content: object) -> Classical:
    return Classical.model_validate({"features": ["colour"], "model": {"name": name}, **content})


@pytest.mark.parametrize("name", [*MODELS, *VOTES])
@pytest.mark.parametrize("balance", ["none", "smote", "under"])
def test_every_model_states_probabilities_and_repeats_itself(name: str, balance: str) -> None:
    params = {"random_forest": {"n_estimators": 5}, "mlp": {"hidden_layer_sizes": [16]}, "vote_e2": {"mlp__hidden_layer_sizes": [16]}}
    wanted, some = recipe(name, balance=balance), sheet(48, 4)
    first, second = (fit_members(wanted, params.get(name, {}), some, seed=3) for _ in range(2))
    stated = first.probabilities(some.x, 4)
    np.testing.assert_allclose(stated.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(stated, second.probabilities(some.x, 4))
    assert (stated.argmax(axis=1) == some.y).mean() > 0.6
    assert first.n_parameters() > 0


def test_a_quadratic_svm_parts_a_ring_that_a_linear_one_cannot() -> None:
    rng, y = np.random.default_rng(0), np.arange(120) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, 120), 1 + y + rng.normal(0, 0.1, 120)
    ring = Sheet(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y, np.arange(120).astype(str), NAMES[:2])
    right = {name: fit_members(recipe(name), {}, ring, seed=0).labels(ring.x) == y for name in ("svm_linear", "svm_quadratic")}
    assert right["svm_quadratic"].mean() > 0.98
    assert right["svm_linear"].mean() < 0.7


def test_a_vote_is_that_of_scikit_learn() -> None:
    some, test = sheet(60, 3), sheet(30, 3, seed=1)
    folds, _ = inner_folds(some, seed=0)
    members = {
        "knn": make_pipeline(StandardScaler(), KNeighborsClassifier()),
        "tree": make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
        "svm": CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC()), cv=folds, ensemble=False),
        "nb": make_pipeline(StandardScaler(), GaussianNB()),
    }
    theirs = VotingClassifier(list(members.items()), voting="soft").fit(some.x, some.y).predict_proba(test.x)
    ours = fit_members(recipe("vote_e1"), {}, some, seed=0)
    np.testing.assert_allclose(ours.probabilities(test.x, 3), theirs, atol=1e-6)
    np.testing.assert_array_equal(ours.labels(test.x), theirs.argmax(axis=1))


def test_smote_makes_up_crops_from_what_is_learned_from_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time it works, its rows are the training part or an inner fold's part to learn from, never what that fold holds out."""
    seen = []
    resample = SMOTE.fit_resample

    def spy(self: SMOTE, x: np.ndarray, y: np.ndarray) -> tuple:
        made, labels = resample(self, x, y)
        seen.append((x.copy(), np.bincount(labels)))
        return made, labels

    monkeypatch.setattr(SMOTE, "fit_resample", spy)
    some = sheet(60)
    few = some.take(np.flatnonzero((some.y == 0) | (np.arange(60) < 36)))
    members = fit_members(recipe("svm_rbf", balance="smote", scale="none"), {}, few, seed=0)
    allowed = [few.x, *(few.x[learned] for learned, _ in inner_folds(few, seed=0)[0])]
    assert len(seen) == 4
    assert all(any(np.array_equal(x, part) for part in allowed) for x, _ in seen)
    assert all(counts[0] == counts[1] for _, counts in seen)
    members.probabilities(sheet(30, seed=1).x, 2)
    assert len(seen) == 4  # labelling makes nothing up


def test_gaps_are_filled_with_the_median_of_the_training_part() -> None:
    some = sheet()
    some.x[::7, 1] = np.nan
    members = fit_members(recipe("naive_bayes", scale="none"), {}, some, seed=0)
    (pipeline,) = members.estimators
    np.testing.assert_allclose(pipeline.named_steps["impute"].statistics_, np.nanmedian(some.x, axis=0))
    gap, filled = some.x[:1].copy(), some.x[:1].copy()
    gap[0, 1], filled[0, 1] = np.nan, np.nanmedian(some.x[:, 1])
    np.testing.assert_array_equal(members.probabilities(gap, 2), members.probabilities(filled, 2))


def test_a_feature_that_is_always_missing_does_not_stop_the_others() -> None:
    some = sheet()
    some.x[:, 2] = np.nan
    assert (fit_members(recipe("svm_rbf"), {}, some, seed=0).labels(some.x) == some.y).mean() > 0.9


def test_pca_keeps_as_many_components_as_asked_for() -> None:
    (pipeline,) = fit_members(recipe("knn", pca=2), {}, sheet(), seed=0).estimators
    assert pipeline.named_steps["pca"].components_.shape == (2, 4)
    with pytest.raises(TrainingError, match="knn: cannot be fitted to these crops: n_components=9"):
        fit_members(recipe("knn", pca=9), {}, sheet(), seed=0)


def test_inner_folds_share_no_group_and_have_every_class() -> None:
    some = sheet(60, 4)
    folds, note = inner_folds(some, seed=0)
    assert note == ""
    np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in folds])), np.arange(60))
    for learned, held in folds:
        assert not set(some.groups[learned]) & set(some.groups[held])
        assert set(some.y[learned]) == {0, 1, 2, 3}


def test_inner_folds_say_when_groups_cannot_be_kept_together() -> None:
    some = sheet(24)
    folds, note = inner_folds(Sheet(some.x, some.y, some.y.astype(str), some.classes), seed=0)
    assert "share groups" in note
    assert len(folds) == 3


def test_a_class_of_one_crop_is_an_error_for_what_holds_crops_out() -> None:
    some = sheet(24)
    one = some.take(np.flatnonzero((some.y == 0) | (np.arange(24) == 3)))
    with pytest.raises(TrainingError, match="class 'b' has one crop"):
        fit_members(recipe("svm_rbf"), {}, one, seed=0)
    assert fit_members(recipe("decision_tree"), {}, one, seed=0).labels(one.x).shape == (13,)


def test_smote_says_when_a_class_is_small() -> None:
    some = sheet(60)
    small = some.take(np.flatnonzero((some.y == 0) | (np.arange(60) < 6)))
    notes = fit_members(recipe("naive_bayes", balance="smote"), {}, small, seed=0).notes
    assert notes == ("SMOTE between 2 neighbours instead of 5: 'b' has 3 crops in a part",)
    one = some.take(np.flatnonzero((some.y == 0) | (np.arange(60) == 3)))
    with pytest.raises(TrainingError, match=r"has 1 crop of 'b': bring more"):
        fit_members(recipe("naive_bayes", balance="smote"), {}, one, seed=0)


def test_values_that_scikit_learn_does_not_take_are_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match="svm_rbf: The 'C' parameter"):
        fit_members(recipe("svm_rbf"), {"C": -1}, sheet(), seed=0)
    with pytest.raises(TrainingError, match="knn: cannot be fitted to these crops"):
        fit_members(recipe("knn"), {"n_neighbors": 500}, sheet(), seed=0)
    with pytest.raises(ConfigError, match="must be one of its members knn,"):
        fit_members(recipe("vote_e1"), {"C": 1}, sheet(), seed=0)


def test_a_network_that_did_not_settle_is_told() -> None:
    members = fit_members(recipe("mlp"), {"max_iter": 2}, sheet(), seed=0)
    assert any("converge" in note for note in members.notes)


def test_parameters_are_counted_as_said() -> None:
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    assert count(DecisionTreeClassifier().fit(x, y)) == 2 + 2 * 2  # one fork, two leaves of two shares
    assert count(SVC(kernel="linear").fit(x, y)) == 2  # a slope and an intercept
    assert count(KNeighborsClassifier(1).fit(x, y)) == 4 * 2
    assert count(GaussianNB().fit(x, y)) == 2 + 2 + 2
