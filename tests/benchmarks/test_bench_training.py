"""Both loops learn the same thing from the same pictures; what is printed is what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import training
from benchmarks.training_loops import OurLoop, PlainLoop, paint_crops
from classification.settings import TrainSettings
from smear.watch import IMAGES_PER_S, WAITING_SHARE


def tiny(px: int, batch: int, *, seed: int) -> TrainSettings:
    settings = training_recipe(px, batch, seed=seed)
    return settings.model_copy(update={"model": "tiny", "precision": "float32"})


training_recipe = training.recipe


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of seconds, and no processes."""
    monkeypatch.setattr(training, "recipe", tiny)
    monkeypatch.setattr(training, "n_cores", lambda: 0)
    monkeypatch.setattr(training, "CASES", {"64": (64, 4), "80": (80, 4)})


def test_crops_are_painted_by_their_seed() -> None:
    crops = paint_crops(4, px=64, seed=1)
    assert crops.images.shape == (4, 64, 64, 3)
    assert crops.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(crops.images, paint_crops(4, px=64, seed=1).images)
    assert not np.array_equal(crops.images[0], crops.images[2])
    assert crops.images[:, 28:36, 28:36].mean() < crops.images[:, :4, :4].mean() - 20  # a cell in the middle, plasma in the corner


def test_both_loops_see_the_same_and_learn_the_same() -> None:
    """In float32 nothing but the order of additions differs; three epochs, each with the rates of its place in the run."""
    crops, order = paint_crops(16, px=64, seed=1), np.random.default_rng(0).permutation(16)
    plain, ours = (kind(crops, tiny(64, 4, seed=3), n_steps=12) for kind in (PlainLoop, OurLoop))
    curves = [np.concatenate([loop.run(order).losses for _ in range(3)]) for loop in (plain, ours)]
    assert len(curves[0]) == 12
    np.testing.assert_allclose(curves[0], curves[1], rtol=2e-3)
    assert np.ptp(curves[0]) > 0.01  # it learns: equal constants would say nothing
    assert plain.optimiser.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_running_means() -> None:
    np.testing.assert_allclose(training.smoothed([0, 0, 0, 0, 10, 10]), [2, 4])
    np.testing.assert_allclose(training.smoothed([1, 3]), [2])


@pytest.mark.usefixtures("small")
def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--cases", "64", "--rounds", "2", "--steps", "2", "--curve-steps", "3", "--out", str(tmp_path)]
    assert training.main(words) == 0
    case = json.loads((tmp_path / "training.json").read_text())["cases"]["64"]
    assert case["ratio"]["plain"]["n"] == 2
    assert all(0 <= share["low"] <= share["high"] < 1 for share in case[WAITING_SHARE].values())
    assert {len(curve) for curves in case["curves"]["losses"].values() for curve in curves.values()} == {3}
    assert case["curves"]["apart_in_noise"] == pytest.approx(case["curves"]["apart"] / case["curves"]["noise"])
    printed = capsys.readouterr().out
    assert f"| ours | {case[IMAGES_PER_S]['ours']['median']:.1f} [" in printed
    page = tmp_path / "page.md"
    page.write_text(f"before\n{training.BEGIN}\nold\n{training.END}\nafter\n")
    monkeypatch.setattr(training, "DOCS", page)
    assert training.main(["--write-docs", "--out", str(tmp_path)]) == 0
    assert page.read_text().startswith("before")
    assert "| ours |" in page.read_text()
    assert "old" not in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "0"], "--rounds and --steps must be at least 1"),
        (["--write-docs", "--out", "nowhere"], "nowhere/training.json: cannot read it"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(words) == 2
    assert said in capsys.readouterr().err


def test_the_page_has_its_marks() -> None:
    page = training.DOCS.read_text()
    assert page.index(training.BEGIN) < page.index(training.END)
