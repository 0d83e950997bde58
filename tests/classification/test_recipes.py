"""Every file under configs/papers is a recipe that says what it is; what is asked for by a wrong name is suggested."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from classification.augment import build_augmentation
from classification.networks import check_input
from classification.recipes import FOLDER, Paper, Recipe, all_recipes, choose, read_recipe
from classification.train import parse, resolve
from smear.errors import ConfigError

FILES = sorted(FOLDER.glob("*/*.yaml"))
NETWORK = {"model": "tiny", "head": "plain"}
BASE = {"name": "a", "paper": "leukodetect", "about": "x", "kind": "network", "network": NETWORK}


def write(folder: Path, content: dict, name: str = "a") -> Path:
    path = folder / "paper" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_named_by_its_place_and_says_where_it_comes_from(path: Path) -> None:
    recipe = read_recipe(path)
    assert path.parent.name == recipe.paper
    assert recipe.name in (f"{recipe.paper}_{path.stem}", path.stem if path.stem == recipe.paper else "")
    head = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    assert head is not None
    assert "# Reported: " in head[0]
    assert "Left open: " in head[0]
    assert (recipe.name == recipe.paper) or recipe.reported.accuracy is None, "only the papers' own systems have a number"


def test_every_system_of_the_papers_is_there() -> None:
    recipes = all_recipes()
    assert list(dict.fromkeys(recipe.paper for recipe in recipes.values())) == list(get_args(Paper))
    assert [name for name in recipes if name in get_args(Paper)] == list(get_args(Paper))
    assert {recipe.network.model for recipe in recipes.values() if recipe.network} == {
        *("densenet121", "mobilenet_v2", "resnet18", "resnet50", "vgg16", "vgg19", "alexnet", "xception"),
        *("efficientnet_b0", "efficientnet_b2", "efficientnet_b3", "plain_cnn", "modified_cnn"),
    }
    assert {recipe.classical.model.name for recipe in recipes.values() if recipe.classical} == {
        *("svm_rbf", "svm_quadratic", "naive_bayes", "decision_tree", "random_forest", "knn", "vote_e1", "vote_e2")
    }


@pytest.mark.parametrize("name", [name for name, recipe in all_recipes().items() if recipe.network])
def test_a_network_recipe_can_be_trained_alone_too(name: str) -> None:
    (path,) = [path for path in FILES if read_recipe(path).name == name]
    settings = resolve(parse(["--data", "x.csv", "--epochs", "3", "--config", str(path)], prog="x", doc=""), config=path)
    assert settings == all_recipes()[name].network.model_copy(update={"epochs": 3})
    check_input(settings.model, settings.imgsz)
    build_augmentation(settings.augment)


def test_systems_are_chosen_by_name_pattern_or_all() -> None:
    everything = all_recipes()
    assert list(choose("all")) == list(everything)
    assert list(choose("compact_net, leukodetect")) == ["leukodetect", "compact_net"]
    assert list(choose("*vgg19,leukodetect")) == ["leukodetect", "compact_net_vgg19"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("leukodetekt", "there is no system 'leukodetekt'; did you mean 'leukodetect'"),
        ("leukodetect,resnet50_cn", "did you mean 'resnet50_cnn'"),
        ("zzz", "there is no system 'zzz'; known: leukodetect, "),
        (" ,", "name at least one, or 'all'"),
    ],
)
def test_an_unknown_system_is_answered_with_the_nearest(words: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        choose(words)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"netwerk": NETWORK}, "netwerk: unknown key; did you mean 'network'"),
        ({"network": {**NETWORK, "optimizer": {}}}, "optimizer: unknown key; did you mean"),
        ({"kind": "classical"}, "so the recipe needs 'classical'"),
        ({"ensemble": {"members": ["a", "b"]}}, "nothing else of its kind, got ['network', 'ensemble']"),
        ({"paper": "leuko"}, "paper: must be 'leukodetect'"),
        ({"reported": {"accuracy": 97.69}}, "reported.accuracy: must be at most 1.0, got 97.69"),
        ({"name": "a b"}, "name: "),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_recipe(write(tmp_path, {**BASE, **changes}))


@pytest.mark.parametrize(("search", "space"), [("grid", {}), ("none", {"C": [1]})])
def test_a_search_needs_a_space_and_a_space_a_search(search: str, space: dict) -> None:
    classical = {"features": ["lbp"], "model": {"name": "svm"}, "search": search, "space": space}
    with pytest.raises(ValueError, match="search and space belong together"):
        Recipe.model_validate({**BASE, "kind": "classical", "network": None, "classical": classical})


def test_two_recipes_of_one_name_members_that_are_none_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no recipes"):
        all_recipes(tmp_path)
    write(tmp_path, BASE)
    ensemble = {**BASE, "network": None, "name": "e", "kind": "ensemble", "ensemble": {"members": ["a", "e"]}}
    write(tmp_path, ensemble, "e")
    with pytest.raises(ConfigError, match=r"e: ensemble\.members: 'e' is no system that can be one"):
        all_recipes(tmp_path)
    write(tmp_path, BASE, "e")
    with pytest.raises(ConfigError, match="name: 'a' is taken"):
        all_recipes(tmp_path)
