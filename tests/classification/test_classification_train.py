"""The loop: it learns, resumes exactly, stops at nan, and nothing but the training split teaches it."""

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from classification import learner, loop, run_folder
from classification.networks import build
from classification.train import Trained, main, train
from smear.errors import AnnotationError, ConfigError, ModelError, TrainingError
from smear.models import open_bundle
from smear.watch import IMAGES_PER_S, WAITING_SHARE

ROOT = Path(__file__).resolve().parents[2]


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = load_file(first / run_folder.BEST), load_file(second / run_folder.BEST)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def learned(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without what the clock says."""
    with (run / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in (IMAGES_PER_S, WAITING_SHARE)} for row in csv.DictReader(file)]


def test_the_network_learns_and_the_run_tells_how(run: tuple[Path, Trained], table: Path) -> None:
    out, done = run
    with (out / "metrics.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == [str(epoch) for epoch in range(1, 9)]
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    assert done.card.metrics["validation"]["roc_auc"] > 0.95
    about = json.loads((out / "about.json").read_text())
    assert about["data"][0]["name"] == "discs"
    assert about["versions"].keys() >= {"python", "torch", "numpy"}
    assert yaml.safe_load((out / "config.yaml").read_text())["seed"] == 0
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_says_everything_about_the_model(run: tuple[Path, Trained]) -> None:
    card = open_bundle(run[0] / "bundle").card
    assert set(card.files) == {"weights.onnx", "weights.safetensors"}
    assert (card.classes, card.head, card.input_px, card.normalise) == (("ALL", "HEM"), "sigmoid", 64, "unit")
    assert card.crop is not None
    assert card.crop.width == 2.5
    assert 0.5 <= card.thresholds["needs_review"] <= 1
    assert card.metrics["onnx_max_abs_probability_error"] < 1e-4
    assert card.training["config"]["model"] == "tiny"
    assert card.data[0]["manifest_sha256"]


@pytest.mark.parametrize("killed_at", ["write_checkpoint", "write_history"])
@pytest.mark.usefixtures("no_export")
def test_a_killed_run_resumes_to_the_same_weights(
    tmp_path: Path, table: Path, smoke: Callable, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    settings = smoke(epochs=3, balance={"by": "class_stain"})
    train(settings, [table], tmp_path / "whole")
    real, calls = getattr(run_folder, killed_at), []

    def killed(*args: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, killed_at, killed)
        with pytest.raises(KeyboardInterrupt):
            train(settings, [table], tmp_path / "cut")
    train(settings, [table], tmp_path / "cut", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert learned(tmp_path / "whole") == learned(tmp_path / "cut")
    assert len(learned(tmp_path / "cut")) == 3


@pytest.mark.usefixtures("no_export")
def test_neither_workers_nor_memory_change_what_is_learned(tmp_path: Path, table: Path, smoke: Callable) -> None:
    """Prepared in the loop or by threads, kept in memory or read again each time: the same losses, the same weights."""
    for name, changes in (("plain", {"workers": 0}), ("helped", {"workers": 2}), ("no_cache", {"workers": 1, "cache": 0})):
        train(smoke(epochs=2, **changes), [table], tmp_path / name)
    for name in ("helped", "no_cache"):
        assert learned(tmp_path / "plain") == learned(tmp_path / name)
        assert_same_weights(tmp_path / "plain", tmp_path / name)


@pytest.mark.usefixtures("no_export")
def test_a_resumed_run_may_have_other_workers(tmp_path: Path, table: Path, smoke: Callable) -> None:
    train(smoke(epochs=1, workers=0), [table], tmp_path / "out")
    assert train(smoke(epochs=1, workers=1, cache=0.1), [table], tmp_path / "out", resume=True).card.training["throughput"]["threads"] == 1


def test_every_epoch_says_how_fast_it_was_and_how_long_it_waited(run: tuple[Path, Trained]) -> None:
    out, done = run
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row[IMAGES_PER_S]) > 0 and 0 < float(row[WAITING_SHARE]) < 1 for row in rows)
    found = done.card.training["throughput"]
    assert json.loads((out / "about.json").read_text())["throughput"] == found
    assert found[IMAGES_PER_S] == pytest.approx(np.median([float(row[IMAGES_PER_S]) for row in rows]))
    assert (found["threads"], found["processes"], found["kept_share"]) == (1, 0, 1.0)
    assert (found["device"], found["precision"]) == ("cpu", "float32")


def test_the_history_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    scores = {"train_loss": 1.0, "val_loss": 1.0, "val_auc": 0.5, "worst_stain_auc": 0.5, "worst_pair_auc": 0.5}
    run_folder.write_history(tmp_path, [{"epoch": 1, **scores}, {"epoch": 2, **scores, IMAGES_PER_S: 5.0}])
    with (tmp_path / "metrics.csv").open() as file:
        assert [row[IMAGES_PER_S] for row in csv.DictReader(file)] == ["", "5.0"]


@pytest.mark.usefixtures("no_export")
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(tmp_path: Path, table: Path, smoke: Callable) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(smoke(epochs=1, seed=seed), [table], tmp_path / name)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "a", tmp_path / "c")


@pytest.mark.usefixtures("no_export")
def test_only_the_training_split_teaches(tmp_path: Path, rows: Callable, write_table: Callable, smoke: Callable) -> None:
    """Validation and test may hold other cells in other proportions: the weights after one epoch are the same."""
    made = rows(64)
    fewer = [r for r in made if r["split"] == "train" or (r["split"] == "val" and (r["label"] == "ALL" or r["stain"] == "a"))]
    settings = smoke(epochs=1, balance={"by": "class_stain", "how": "loss"})
    train(settings, [write_table(tmp_path / "all" / "set", made)], tmp_path / "a")
    train(settings, [write_table(tmp_path / "few" / "set", fewer)], tmp_path / "b")
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_a_nan_loss_stops_the_run_and_keeps_the_epochs_before(
    tmp_path: Path, table: Path, smoke: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = smoke(epochs=3)
    real = learner.cell_losses

    def breaking(logits: torch.Tensor, labels: torch.Tensor, *, smoothing: float) -> torch.Tensor:
        made.append(1)
        return real(logits, labels, smoothing=smoothing) * (torch.nan if len(made) > 5 else 1)  # the second step of epoch 2

    made: list[int] = []
    monkeypatch.setattr(learner, "cell_losses", breaking)
    with pytest.raises(TrainingError, match=r"epoch 2, step 2: the training loss is nan; stopped, epoch 1 is kept"):
        train(settings, [table], tmp_path / "out")
    kept = run_folder.read_checkpoint(tmp_path / "out" / "last.pt")
    assert len(kept["history"]) == 1
    assert all(torch.isfinite(tensor.float()).all() for tensor in kept["network"].values())
    assert (tmp_path / "out" / "best.safetensors").is_file()


def test_weights_that_are_not_numbers_stop_at_the_first_step(
    tmp_path: Path, table: Path, smoke: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    state = build("tiny", "leukodetect", 2).state_dict()
    save_file({**state, "features.0.weight": torch.full_like(state["features.0.weight"], torch.nan)}, tmp_path / "w.safetensors")
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(smoke().model_dump(mode="json")))
    words = ["--data", str(table), "--config", str(config), "--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "error: epoch 1, step 1: the training loss is nan; stopped, no epoch was finished" in said
    assert main([*words, "--weights", "nowhere.safetensors"]) == 2  # nothing was finished: the folder may be used again
    assert "nowhere.safetensors: no such file" in capsys.readouterr().err


@pytest.mark.usefixtures("no_export")
def test_a_held_out_stain_is_scored_and_never_learned(tmp_path: Path, table: Path, smoke: Callable) -> None:
    done = train(smoke(epochs=2, holdout={"stain": "b"}), [table], tmp_path / "out")
    assert done.card.training["n_train"] == 16  # of 32, the other half is stain b
    assert done.card.training["splits"]["train"]["files"] == 16
    assert done.card.metrics["held_out_stain"]["n"] == 32
    assert set(done.card.metrics["validation"]["per_stain"]) == {"a"}
    assert done.held_out_probabilities.shape == (32, 2)
    with pytest.raises(ConfigError, match="no crop has stain 'z'; it is one of a, b"):
        train(smoke(holdout={"stain": "z"}), [table], tmp_path / "other")


@pytest.mark.usefixtures("no_export")
def test_a_run_is_not_overwritten_and_a_resumed_one_keeps_its_settings(tmp_path: Path, table: Path, smoke: Callable) -> None:
    train(smoke(epochs=1), [table], tmp_path / "out")
    with pytest.raises(ConfigError, match="already holds a run"):
        train(smoke(epochs=1), [table], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"batch was 8 in .*, now 16"):
        train(smoke(epochs=1, batch=16), [table], tmp_path / "out", resume=True)


@pytest.mark.usefixtures("no_export")
def test_a_checkpoint_that_is_a_foreign_pickle_is_refused(tmp_path: Path, table: Path, smoke: Callable) -> None:
    train(smoke(epochs=1), [table], tmp_path / "out")
    torch.save({"network": Path("code could run here")}, tmp_path / "out" / "last.pt")
    with pytest.raises(ModelError, match=r"last\.pt: not a checkpoint"):
        train(smoke(epochs=1), [table], tmp_path / "out", resume=True)
    (tmp_path / "out" / "last.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"last\.pt: not a checkpoint"):
        train(smoke(epochs=1), [table], tmp_path / "out", resume=True)


@pytest.mark.usefixtures("no_export")
def test_training_stops_early_when_validation_has_stalled(
    tmp_path: Path, table: Path, smoke: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, found = loop.validation_scores, []

    def stalled(*args: object) -> dict[str, float]:
        found.append(real(*args) if not found else found[0])
        return found[-1]

    monkeypatch.setattr(loop, "validation_scores", stalled)
    train(smoke(epochs=9, patience=2), [table], tmp_path / "out")
    assert len(found) == 3


def test_a_split_that_cannot_be_used_is_refused_before_the_first_step(
    tmp_path: Path, rows: Callable, write_table: Callable, smoke: Callable
) -> None:
    one_class = [r for r in rows(64) if r["split"] != "val" or r["label"] == "ALL"]
    with pytest.raises(AnnotationError, match="split 'val' has no crop of class 'HEM'"):
        train(smoke(), [write_table(tmp_path / "a", one_class)], tmp_path / "out")
    stainless = [{k: v for k, v in r.items() if k != "stain"} for r in rows(64)]
    with pytest.raises(ConfigError, match="need a stain for every crop"):
        train(smoke(select="worst_pair_auc"), [write_table(tmp_path / "b", stainless)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_smoke_config_trains_from_the_command_line(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(table), "--config", str(ROOT / "configs/smoke/classify.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--epochs", "1", "--set", "export.half=true", "--set", "export.safetensors=false"]) == 0
    card = open_bundle(tmp_path / "out" / "bundle").card
    assert card.name == "smoke"
    assert list(card.files) == ["weights.onnx"]
    assert "bundle:" in capsys.readouterr().out


def test_a_recipe_of_a_paper_becomes_a_bundle(tmp_path: Path, table: Path) -> None:
    recipe = ROOT / "configs/papers/modified_cnn/modified_cnn.yaml"
    words = ["--data", str(table), "--config", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu", "--epochs", "1"]
    assert main([*words, "--set", "mix.mixup=0.2", "--set", "optimiser.name=sgd"]) == 0
    card = open_bundle(tmp_path / "out" / "bundle").card
    assert (card.architecture, card.input_px, card.head) == ("modified_cnn", 50, "softmax")
    assert card.training["network"] == {"head": "modified_cnn", "front": "grey_median"}
    assert card.training["config"]["mix"]["mixup"] == 0.2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "segment=cell"], "segment: a bundle has no room for it, got 'cell'"),
        (["--model", "tiny", "--set", "train_last=1"], "train_last: what does not learn must have been learned before; give --weights"),
        (["--model", "vgg16", "--imgsz", "16"], "imgsz: must be at least 32 for 'vgg16', got 16"),
        (["--set", "mix.mixup=-1"], "mix.mixup: must be at least 0"),
        (["--set", "optimizer.lr=1"], "optimizer: unknown key; did you mean 'optimiser'"),
        (["--epochs", "0"], "epochs: must be at least 1, got 0"),
        (["--model", "densenet12"], "model: must be one of densenet121"),
        (["--device", "cuda:99"], "device: 'cuda:99' is not there"),
        (["--set", "augment=[{name: blurr}]"], "augment[0]: name: must be one of"),
        (["--resume"], "--resume: there is no run in"),
    ],
)
def test_a_mistake_in_the_request_is_one_line(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["--data", str(table), "--out", str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert said in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.usefixtures("no_export")
def test_a_full_disk_is_one_line_and_the_epochs_before_are_kept(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = run_folder.write_checkpoint, []

    def full(out: Path, state: dict) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(out, state)

    monkeypatch.setattr(run_folder, "write_checkpoint", full)
    words = ["--data", str(table), "--config", str(ROOT / "configs/smoke/classify.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 2
    assert "cannot write it (No space left on device); finished epochs are kept" in capsys.readouterr().err
    assert len(run_folder.read_checkpoint(tmp_path / "out" / "last.pt")["history"]) == 1
    assert main(["--data", str(table), "--out", str(tmp_path / "out"), "--resume"]) == 0  # with the settings that it began with


@pytest.mark.usefixtures("no_export")
def test_four_classes_train_with_a_softmax(tmp_path: Path, rows: Callable, write_table: Callable, smoke: Callable) -> None:
    made = [{**r, "subtype": f"{r['label']}-{r['stain']}"} for r in rows(64)]
    settings = smoke(head="compact_net", classes=("ALL-a", "ALL-b", "HEM-a", "HEM-b"), label_column="subtype", epochs=1)
    done = train(settings, [write_table(tmp_path / "set", made)], tmp_path / "out")
    assert done.card.head == "softmax"
    assert np.array(done.card.metrics["validation"]["confusion_matrix"]).shape == (4, 4)
