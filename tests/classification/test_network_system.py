"""Every network of the papers learns a step, is saved, and says the same when it is opened again; the clock ends a fit."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from classification.learner import Learner
from classification.network_system import WEIGHTS, FittedNetwork, NetworkSystem
from classification.networks import build, smallest_input
from classification.recipes import Recipe, all_recipes
from classification.segmented import cut_out
from classification.settings import TrainSettings
from classification.systems import FITTED, Cells, open_fitted, open_system
from smear.errors import ConfigError, ModelError

NETWORKS = {name: recipe for name, recipe in all_recipes().items() if recipe.network}
LARGE = ("vgg16", "vgg19", "resnet50", "densenet121", "efficientnet_b2", "efficientnet_b3", "xception")
TINY = {"model": "tiny", "head": "plain", "imgsz": 32, "epochs": 8, "batch": 8, "normalise": "unit", "precision": "float32"}
OPTIMISER = {"name": "adam", "lr": 0.01, "schedule": "constant", "weight_decay": 0, "warmup_epochs": 0, "ema": 0}


def recipe_of(**changes: Any) -> Recipe:
    network = {**TINY, "optimiser": OPTIMISER, "select": "val_accuracy", **changes}
    return Recipe.model_validate({"name": "x", "paper": "leukodetect", "about": "", "kind": "network", "network": network})


def fit(recipe: Recipe, train: Cells, val: Cells, out: Path, *, weights: str = "none", **options: Any) -> FittedNetwork:
    given = {"seed": 0, "device": "cpu", "deadline": None, **options}
    return open_system(recipe, weights=weights).fit(train, val, out=out, **given)


@pytest.fixture(scope="module")
def learned(cells: Callable[..., Cells], tmp_path_factory: pytest.TempPathFactory) -> FittedNetwork:
    return fit(recipe_of(), cells(48), cells(16), tmp_path_factory.mktemp("learned"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if recipe.network.model in LARGE else []) for n, recipe in NETWORKS.items()]
)
def test_every_network_takes_a_step_and_is_the_same_when_opened_again(name: str, cells: Callable[..., Cells], tmp_path: Path) -> None:
    """At the smallest size that its backbone takes; the deadline has passed, so it is one step."""
    few, side = cells(6), smallest_input(NETWORKS[name].network.model)
    done = fit(NETWORKS[name], few, few, tmp_path, deadline=time.monotonic(), imgsz=side)
    assert done.settings.imgsz == side
    assert done.about["epochs"] == 1
    assert done.about["stopped_by_budget"]
    assert not done.about["pretrained"]
    assert math.isfinite(done.about["history"][0]["train_loss"])
    torch.manual_seed(0)
    began = build(done.settings.model, done.settings.head, 2, front=done.settings.front)
    assert any(not torch.equal(old, new) for old, new in zip(began.parameters(), done.network.parameters(), strict=True))
    said = done.probabilities(few)
    assert (said.shape, said.dtype) == ((6, 2), np.float32)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    done.save(tmp_path / "saved")
    again = open_fitted(tmp_path / "saved")
    np.testing.assert_array_equal(again.probabilities(few), said)
    assert (tmp_path / "saved" / WEIGHTS).stat().st_size == pytest.approx(done.about["file_bytes"], rel=0.02, abs=50_000)
    assert again.about["n_parameters"] == sum(tensor.numel() for tensor in done.network.parameters())


def test_a_network_learns_and_the_best_epoch_is_kept(learned: FittedNetwork, cells: Callable[..., Cells]) -> None:
    history, val = learned.about["history"], cells(16)
    assert len(history) == 8
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert not learned.about["stopped_by_budget"]
    accuracy = float((learned.probabilities(val).argmax(axis=1) == val.labels).mean())
    assert accuracy == max(row["val_accuracy"] for row in history) > 0.9
    assert learned.about["best_epoch"] == [row["val_accuracy"] for row in history].index(accuracy) + 1 or accuracy == 1


def test_the_same_seed_gives_the_same_network(learned: FittedNetwork, cells: Callable[..., Cells], tmp_path: Path) -> None:
    train, val = cells(48), cells(16)
    np.testing.assert_array_equal(fit(recipe_of(), train, val, tmp_path).probabilities(val), learned.probabilities(val))
    assert not np.array_equal(fit(recipe_of(), train, val, tmp_path, seed=1).probabilities(val), learned.probabilities(val))


def test_labels_and_neighbours_of_a_cell_do_not_change_what_is_said_of_it(learned: FittedNetwork, cells: Callable[..., Cells]) -> None:
    some = cells(10)
    others = Cells(some.pictures, 1 - some.labels, some.classes, some.groups)
    np.testing.assert_array_equal(learned.probabilities(others), learned.probabilities(some))
    np.testing.assert_allclose(learned.probabilities(some.take([7])), learned.probabilities(some)[[7]], atol=1e-6)
    assert learned.probabilities(some.take(np.zeros(0, np.int64))).shape == (0, 2)


def test_a_budget_that_ends_within_an_epoch_ends_the_fit_after_that_step(
    cells: Callable[..., Cells], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    real, now = Learner.step, [0.0]

    def counted(self: Learner, *args: Any, **options: Any) -> torch.Tensor:
        steps.append(options["number"])
        now[0] += 1
        return real(self, *args, **options)

    monkeypatch.setattr(Learner, "step", counted)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    done = fit(recipe_of(), cells(32), cells(8), tmp_path, deadline=5.5)  # four steps an epoch
    assert steps == [0, 1, 2, 3, 4, 5]
    assert done.about["stopped_by_budget"]
    assert [row.get("share", 1.0) for row in done.about["history"]] == [1.0, 0.5]


def test_fewer_epochs_and_smaller_crops_are_noted(cells: Callable[..., Cells], tmp_path: Path) -> None:
    recipe = recipe_of(epochs=4, optimiser={**OPTIMISER, "warmup_epochs": 2})
    done = fit(recipe, cells(8), cells(8), tmp_path, epochs=1, imgsz=8)
    assert done.about["epochs"] == 1
    assert done.about["note"] == "1 of 4 epochs; 16 px instead of 32"
    assert not done.about["stopped_by_budget"]


def test_more_than_two_classes_get_a_softmax_of_the_same_head(cells: Callable[..., Cells], tmp_path: Path) -> None:
    four = cells(16, classes=("a", "b", "c", "d"))
    done = fit(recipe_of(head="leukodetect", select="val_auc"), four, four, tmp_path, epochs=1)
    assert done.probabilities(four).shape == (16, 4)
    assert "one logit cannot tell 4 classes" in done.about["note"]
    assert "the best epoch is that of the best accuracy" in done.about["note"]
    assert done.about["history"][0]["selected"] == done.about["history"][0]["val_accuracy"]


def write_weights(folder: Path, architecture: str) -> dict[str, torch.Tensor]:
    """What a library would publish: names without `features.`, and a classifier that fits nothing."""
    torch.manual_seed(5)
    state = {name.removeprefix("features."): tensor for name, tensor in build(architecture, "plain", 2).state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    save_file({**state, "fc.weight": torch.zeros(1000, 512)}, folder / f"{architecture}.safetensors")
    return state


def test_weights_are_found_by_the_name_of_the_architecture(cells: Callable[..., Cells], tmp_path: Path) -> None:
    state, few = write_weights(tmp_path, "resnet18"), cells(6)
    recipe = recipe_of(model="resnet18", optimiser={**OPTIMISER, "lr": 1e-9})
    done = fit(recipe, few, few, tmp_path, weights=str(tmp_path), epochs=1)
    assert done.about["pretrained"]
    torch.testing.assert_close(done.network.features.conv1.weight, state["conv1.weight"])
    other = fit(recipe_of(model="mobilenet_v2"), few, few, tmp_path, weights=str(tmp_path), epochs=1)
    assert not other.about["pretrained"]
    assert "random start: no mobilenet_v2.safetensors among the weights" in other.about["note"]
    with pytest.raises(ConfigError, match="--weights: must be 'none', 'imagenet' or a folder"):
        fit(recipe, few, few, tmp_path, weights=str(tmp_path / "nowhere"))


def test_only_the_last_layers_learn_and_only_where_there_is_something_to_keep(cells: Callable[..., Cells], tmp_path: Path) -> None:
    state, few = write_weights(tmp_path, "resnet18"), cells(6)
    recipe = recipe_of(model="resnet18", train_last=1)
    done = fit(recipe, few, few, tmp_path, weights=str(tmp_path), epochs=2)
    now = done.network.features.state_dict()
    moved = {name.split(".")[0] for name, tensor in state.items() if not torch.equal(now[name], tensor)}
    assert moved == {"layer4"}, "neither weights nor batch statistics of the others"
    alone = fit(recipe, few, few, tmp_path, epochs=1)
    assert "all layers learn: there were no ImageNet weights to keep" in alone.about["note"]
    assert alone.settings.train_last is None


def test_what_is_outside_the_cell_is_black_and_an_empty_crop_stays(cells: Callable[..., Cells], tmp_path: Path) -> None:
    few = cells(8, size=64)
    crops = few.images(64).copy()
    crops[3] = 230
    cut = cut_out(crops, "cell")
    np.testing.assert_array_equal(cut[3], crops[3])
    assert (cut[0, :4] == 0).all()
    np.testing.assert_array_equal(cut[0, 30:34, 30:34], crops[0, 30:34, 30:34])
    done = fit(recipe_of(segment="cell"), few, few, tmp_path, epochs=1)
    done.save(tmp_path / "saved")
    bare = Cells.of(cut_out(few.at(32)[:], "cell"), few.labels, few.classes, few.groups)
    plain = FittedNetwork(done.network, done.settings.model_copy(update={"segment": "none"}), {})
    np.testing.assert_array_equal(open_fitted(tmp_path / "saved").probabilities(few), plain.probabilities(bare))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "resnet5"}, "model: must be one of"),
        ({"imgsz": 16, "model": "resnet18"}, "imgsz: must be at least 32 for 'resnet18', got 16"),
        ({"augment": [{"name": "blurr"}]}, r"augment\[0\]: name: must be one of"),
    ],
)
def test_a_recipe_that_cannot_be_built_is_refused_at_once(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_system(recipe_of(**changes))


def test_a_saved_network_that_was_damaged_is_refused(learned: FittedNetwork, tmp_path: Path) -> None:
    learned.save(tmp_path)
    state = load_file(tmp_path / WEIGHTS)
    save_file({name: tensor for name, tensor in state.items() if name != "head.2.bias"}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"weights\.safetensors: does not hold the weights of tiny"):
        open_fitted(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x04junk")
    with pytest.raises(ModelError, match="does not hold the weights"):
        open_fitted(tmp_path)
    described = json.loads((tmp_path / FITTED).read_text())
    (tmp_path / FITTED).write_text(json.dumps({**described, "settings": {"modell": "tiny"}}))
    with pytest.raises(ModelError, match="settings: modell: unknown key"):
        open_fitted(tmp_path)
    (tmp_path / FITTED).write_text(json.dumps({**described, "kind": "pickle"}))
    with pytest.raises(ModelError, match="kind must be one of network, classical, ensemble, got 'pickle'"):
        open_fitted(tmp_path)
    (tmp_path / FITTED).write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        open_fitted(tmp_path)
    with pytest.raises(ModelError, match="cannot read it"):
        open_fitted(tmp_path / "nowhere")


def test_a_system_is_a_value_that_fits_any_cells(cells: Callable[..., Cells], tmp_path: Path) -> None:
    """Fitting twice leaves no trace of the first time."""
    system = NetworkSystem(TrainSettings.model_validate({**TINY, "epochs": 1, "optimiser": OPTIMISER}), "none")
    few, out = cells(16), tmp_path
    how = {"seed": 0, "device": "cpu", "deadline": None, "out": out}
    first, _, second = (system.fit(few, few, **{**how, "seed": seed}).probabilities(few) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first, second)
