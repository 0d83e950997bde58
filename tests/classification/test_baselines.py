"""The classical recipes as systems: they learn, state probabilities, do the same twice, and come back from their folder."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from classification import baselines
from classification.classical import deep
from classification.crops import read_crops
from classification.recipes import Classical, Recipe, all_recipes
from classification.systems import FITTED, Cells, Fitted, open_fitted, open_system
from smear.errors import ConfigError, ModelError, TrainingError

TREES = "n_estimators"
TWO, FOUR = ("ALL", "HEM"), ("Benign", "Early", "Pre", "Pro")
SIDE = 32


def small(wanted: Recipe) -> Recipe:
    """The same with forests of a tenth as many trees."""
    classical = wanted.classical
    assert classical is not None
    params = {key: value // 10 if key == TREES else value for key, value in classical.model.params.items()}
    space = {key: tuple(n // 10 for n in values) if key == TREES else values for key, values in classical.space.items()}
    model = classical.model.model_copy(update={"params": params})
    return wanted.model_copy(update={"classical": classical.model_copy(update={"model": model, "space": space})})


CLASSICAL = {name: small(recipe) for name, recipe in all_recipes().items() if recipe.kind == "classical"}


def paint(rng: np.random.Generator, label: int) -> np.ndarray:
    """A nucleus in a cell on glass, (32, 32, 3) uint8; the larger the label, the larger and paler the nucleus."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2 + rng.integers(-1, 2, (2, 1, 1))
    picture = np.full((SIDE, SIDE, 3), 225.0)
    picture[x**2 + y**2 < 12**2] = 190, 175, 210
    picture[x**2 + (y * 1.2) ** 2 < (6 + label) ** 2] = 60 + 20 * label, 25 + 10 * label, 110
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def cells(classes: tuple[str, ...] = TWO, n: int = 60, seed: int = 0) -> Cells:
    """n crops, classes by turns, four of a group."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % len(classes)
    groups = np.array([f"g{i // 4}" for i in range(n)])
    return Cells.of(np.stack([paint(rng, label) for label in labels]), labels, classes, groups)


def recipe(**content: object) -> Recipe:
    classical = Classical.model_validate({"features": ["colour"], "model": {"name": "naive_bayes"}, **content})
    return Recipe(name="mine", paper="deep_leuko", about="", kind="classical", classical=classical)


def fit(wanted: Recipe, train: Cells, *, seed: int = 0, deadline: float | None = None, weights: str = "none") -> Fitted:
    system = open_system(wanted, weights=weights)
    nothing = Path("unused")
    return system.fit(train, train.take([]), seed=seed, device="cpu", deadline=deadline, out=nothing, epochs=1, imgsz=SIDE)


@pytest.mark.parametrize("classes", [TWO, FOUR], ids=["two", "four"])
@pytest.mark.parametrize("name", CLASSICAL)
def test_every_recipe_learns_and_comes_back_from_its_folder(name: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    wanted, test = CLASSICAL[name], cells(classes, 12, seed=1)
    fitted = fit(wanted, cells(classes))
    stated = fitted.probabilities(test)
    assert stated.shape == (12, len(classes))
    assert stated.dtype == np.float32
    np.testing.assert_allclose(stated.sum(axis=1), 1, atol=1e-5)
    assert (stated.argmax(axis=1) == test.labels).mean() > 1.3 / len(classes)
    fitted.save(tmp_path)
    again = open_fitted(tmp_path)
    np.testing.assert_array_equal(again.probabilities(test), stated)
    assert dict(again.about) == json.loads(json.dumps(dict(fitted.about)))
    assert again.probabilities(test.take([])).shape == (0, len(classes))


@pytest.mark.parametrize("name", ["modified_cnn_e1", "modified_cnn_e2", "modified_cnn_random_forest", "deep_leuko_knn", "deep_leuko_svm"])
def test_fitting_twice_gives_the_same(name: str) -> None:
    train, test = cells(FOUR), cells(FOUR, 12, seed=1)
    first, second = (fit(CLASSICAL[name], train).probabilities(test) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_seed_reaches_the_model() -> None:
    wanted = recipe(model={"name": "random_forest", "params": {"n_estimators": 5}})
    first, second = (fit(wanted, cells(), seed=seed).probabilities(cells(seed=1)) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_what_a_system_says_of_itself(tmp_path: Path) -> None:
    fitted = fit(CLASSICAL["leukodetect_random_forest_deep"], cells(n=16))
    assert fitted.about["pretrained"] is False
    assert deep.NO_WEIGHTS in fitted.about["note"]
    assert fitted.about["n_parameters"] > 23_000_000
    fitted.save(tmp_path)
    written = sum((tmp_path / name).stat().st_size for name in (baselines.MEMBERS, baselines.WEIGHTS))
    assert fitted.about["file_bytes"] == pytest.approx(written, rel=1e-3)
    assert fitted.about["n_features"] == deep.N_FEATURES


def test_imagenet_weights_are_told_apart_from_random_ones(tmp_path: Path) -> None:
    other = deep.open_extractor("none").weights()
    (tmp_path / "resnet50.safetensors").write_bytes(other)
    fitted = fit(CLASSICAL["leukodetect_random_forest_deep"], cells(n=16), weights=str(tmp_path))
    assert fitted.about["pretrained"] is True
    fitted.save(tmp_path / "saved")
    assert open_fitted(tmp_path / "saved").about["pretrained"] is True


def test_crops_without_a_cell_are_labelled_and_told() -> None:
    """Their features are NaN; the median of the training part stands in."""
    train = cells()
    blank = np.where(np.arange(60)[:, None, None, None] < 6, np.uint8(230), train.images(SIDE))
    gaps = Cells.of(blank, train.labels, TWO, train.groups)
    fitted = fit(recipe(features=["nucleus_shape", "colour"], model={"name": "svm_rbf"}), gaps)
    assert "6 of 60 training crops lack features" in fitted.about["note"]
    assert np.isfinite(fitted.probabilities(gaps)).all()


def test_a_cell_is_labelled_the_same_whoever_comes_with_it() -> None:
    fitted, test = fit(CLASSICAL["leukodetect_svm"], cells()), cells(n=10, seed=2)
    np.testing.assert_allclose(fitted.probabilities(test)[[3]], fitted.probabilities(test.take([3])), atol=1e-4)


def test_what_others_had_measured_is_counted_all_the_same(table: Path) -> None:
    crops = read_crops([table], TWO)
    of_files = Cells.of_table(crops, crops.column("slide"))
    first = fit(recipe(features=["glcm"]), of_files)
    second = fit(recipe(features=["glcm"], model={"name": "knn"}), of_files)
    assert first.about["seconds_saved"] < 0.1 * first.about["feature_seconds"]
    assert second.about["feature_seconds"] == pytest.approx(first.about["feature_seconds"])
    assert second.about["seconds_saved"] > 0


def test_one_class_cannot_be_learned() -> None:
    train = cells()
    with pytest.raises(TrainingError, match=r"only crops of 'ALL'; a classifier needs two classes"):
        fit(recipe(), train.take(train.labels == 0))
    with pytest.raises(TrainingError, match="no crops"):
        fit(recipe(), train.take([]))


def test_a_class_without_crops_has_probability_0() -> None:
    train = cells(FOUR)
    fitted = fit(recipe(model={"name": "svm_rbf"}), train.take(train.labels != 2))
    stated = fitted.probabilities(cells(FOUR, 8, seed=1))
    assert (stated[:, 2] == 0).all()
    np.testing.assert_allclose(stated.sum(axis=1), 1, atol=1e-5)
    assert "no crop of Pre to learn from" in fitted.about["note"]


def test_an_argument_that_a_model_does_not_have_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match=r"params.n_neighbours: 'knn' has no such argument; did you mean 'n_neighbors'"):
        open_system(recipe(model={"name": "knn", "params": {"n_neighbours": 3}}))
    with pytest.raises(ConfigError, match=r"params.gama"):
        open_system(recipe(model={"name": "svm_rbf"}, search="grid", space={"gama": [1, 2]}))


def test_a_deadline_that_is_over_ends_the_fit() -> None:
    with pytest.raises(TrainingError, match="time was up when 0 of 60 crops were measured"):
        fit(recipe(), cells(), deadline=time.monotonic() - 1)


def test_a_folder_that_was_changed_is_refused(tmp_path: Path) -> None:
    fit(recipe(), cells(n=16)).save(tmp_path)
    content = json.loads((tmp_path / FITTED).read_text())
    (tmp_path / FITTED).write_text(json.dumps({**content, "scikit_learn": "0.1"}))
    with pytest.raises(ModelError, match=r"saved with scikit-learn 0\.1"):
        open_fitted(tmp_path)
    (tmp_path / FITTED).write_text(json.dumps({**content, "features": "other"}))
    with pytest.raises(ModelError, match="measured other features"):
        open_fitted(tmp_path)
    (tmp_path / FITTED).write_text(json.dumps({key: value for key, value in content.items() if key != "classes"}))
    with pytest.raises(ModelError, match="'classes' is missing"):
        open_fitted(tmp_path)
    (tmp_path / FITTED).write_text(json.dumps(content))
    (tmp_path / baselines.MEMBERS).unlink()
    with pytest.raises(ModelError, match="cannot read it"):
        open_fitted(tmp_path)
