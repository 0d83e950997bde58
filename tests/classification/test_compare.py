"""The bench with systems that are made for the test: what is run, what is not run again, and what is said of what went wrong."""

import csv
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from classification import compare, compare_plan, compare_runs
from classification.compare_data import read_bench
from classification.compare_plan import make_plan
from classification.compare_runs import Limits, allowance
from classification.recipes import Recipe, all_recipes, choose
from classification.systems import KINDS, Cells
from smear.errors import TrainingError


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now, self.a_look = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.a_look
        return self.now


CLOCK = Clock()


class Darkness:
    """Calls dark crops ALL: with a threshold that it learned, so it is right on discs."""

    def __init__(self, between: float, about: dict[str, Any]) -> None:
        self.between, self.about = between, about

    def probabilities(self, cells: Cells) -> np.ndarray:
        p = 1 / (1 + np.exp((brightness(cells) - self.between) / 10))
        return np.stack([p, 1 - p], axis=1).astype(np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "between.txt").write_text(str(self.between))


class Broken(Darkness):
    def probabilities(self, cells: Cells) -> np.ndarray:
        return super().probabilities(cells) * np.where(np.arange(len(cells)) == 0, math.nan, 1).astype(np.float32)[:, None]


class FakeSystem:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def fit(self, train: Cells, val: Cells, *, seed: int, deadline: float | None, out: Path, **limits: Any) -> Darkness:
        self.log.append(self.name)
        (out / "scratch.txt").write_text("not kept")
        if self.name == "raises" and seed == 1:
            raise TrainingError("the loss is nan; try a lower rate")
        if self.name == "crashes":
            raise ZeroDivisionError("a bug of a library\nwith more to say")
        stopped = self.name == "endless" and deadline is not None
        if stopped:
            CLOCK.now = max(CLOCK.now, deadline)
        values = brightness(train)
        between = float(np.mean([values[train.labels == c].mean() for c in (0, 1)]))
        about = {"n_parameters": 1, "file_bytes": 2_000_000, "pretrained": False, "epochs": 3, "history": [], "note": ""}
        return (Broken if self.name == "nan" else Darkness)(between, about | {"stopped_by_budget": stopped})


def brightness(cells: Cells) -> np.ndarray:
    return cells.images(20)[:, 8:12, 8:12].mean(axis=(1, 2, 3)) if len(cells) else np.zeros(0)


def recipe(name: str) -> Recipe:
    said = {"accuracy": 0.99, "split": "random 80/20", "data": "C-NMC"}
    classical = {"features": ["colour"], "model": {"name": "knn"}}
    content = {"name": name, "paper": "deep_leuko", "about": "a test", "reported": said, "kind": "classical", "classical": classical}
    return Recipe.model_validate(content)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the systems that were fitted, in order; systems have any name that recipes give them."""
    fitted: list[str] = []
    module = ModuleType("systems_of_the_tests")
    module.make = lambda recipe, weights: FakeSystem(recipe.name, fitted)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(KINDS, "classical", module.__name__)
    monkeypatch.setattr(compare, "choose", lambda words: choose(words, {name: recipe(name) for name in words.split(",")}))
    return fitted


Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(log: list[str], table: Path, tmp_path: Path) -> Bench:
    """Run the command on 64 discs and give back compare.json."""

    def run(systems: str = "dark", *words: object, data: Path = table) -> dict[str, Any]:
        fixed = ["--group", "slide", "--folds", "2", "--resamples", "30", "--device", "cpu", "--out", str(tmp_path / "out")]
        assert compare.main(["--data", str(data), "--systems", systems, *fixed, *map(str, words)]) == 0
        found: dict[str, Any] = json.loads((tmp_path / "out" / "compare.json").read_text())
        return found

    return run


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()


def rows_of(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["system"], row["split"]): row for row in found["rows"]}


def test_systems_are_scored_on_all_crops_by_models_that_had_not_seen_them(bench: Bench, tmp_path: Path) -> None:
    found = bench("dark,other")
    assert (found["n"], found["n_groups"], found["classes"], found["positive"]) == (64, 16, ["ALL", "HEM"], "ALL")
    for row in found["rows"]:
        assert (row["n"], row["status"], row["accuracy"], row["roc_auc"]) == (64, "ok", 1.0, 1.0)
        assert row["accuracy_low"] < 1.0 == row["accuracy_high"]
        assert (row["reported_accuracy"], row["reported_split"], row["file_mb"]) == (0.99, "random 80/20", 2.0)
        assert row["gap_accuracy"] == 0.0
    with (tmp_path / "out" / "compare.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [(row["system"], row["split"]) for row in written] == [(s, k) for s in ("dark", "other") for k in ("grouped", "random")]
    assert written[0]["accuracy"] == "1.0000"
    assert written[0]["pretrained"] == "no"


def test_every_system_has_its_first_fold_before_any_has_its_second(bench: Bench, log: list[str]) -> None:
    bench("a,b", "--splits", "grouped")
    assert log == ["a", "b", "a", "b"]


def test_a_finished_fold_is_never_run_again(bench: Bench, log: list[str], tmp_path: Path) -> None:
    first = bench("a,b")
    assert len(log) == 8
    again = bench("a,b")
    assert len(log) == 8
    assert again["rows"] == first["rows"]
    (tmp_path / "out" / "runs" / "a" / "random-1" / "result.json").write_text("{")  # a kill in the middle leaves nothing better
    bench("a,b,c", "--splits", "random")
    assert log[8:] == ["c", "a", "c"]
    assert not list(tmp_path.rglob("scratch.txt"))


@pytest.mark.parametrize("change", [("--seed", 1), ("--folds", 3), ("--max-cells", 40), ("--epochs", 2), ("--group", "field")])
def test_what_numbers_depend_on_makes_another_fold(bench: Bench, log: list[str], change: tuple[str, object]) -> None:
    bench("a", "--splits", "grouped")
    before = len(log)
    bench("a", "--splits", "grouped", *change)
    assert len(log) == before + (3 if change[0] == "--folds" else 2)


def test_a_picture_that_changed_makes_another_fold(
    bench: Bench, log: list[str], rows: Callable, write_table: Callable, tmp_path: Path
) -> None:
    data = write_table(tmp_path / "own", rows(32))
    bench("a", "--splits", "grouped", data=data)
    files = sorted((tmp_path / "own" / "crops").iterdir())
    files[0].write_bytes(files[8].read_bytes())  # of another slide
    assert "same picture" in " ".join(bench("a", "--splits", "grouped", data=data)["warnings"])
    assert len(log) == 4


def test_one_failure_does_not_stop_the_rest_and_is_told(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(bench("raises,crashes,nan,dark", "--splits", "grouped"))
    assert rows["dark", "grouped"]["status"] == "ok"
    row = rows["raises", "grouped"]
    assert (row["status"], row["accuracy"], row["n"]) == ("incomplete", None, None)
    assert row["note"] == "only fold 0 ran (accuracy 1.000), so there is no number of all crops; fold 1: the loss is nan; try a lower rate"
    assert row["per_fold"][0]["scores"]["accuracy"] == 1.0
    assert rows["crashes", "grouped"]["note"] == "folds 0, 1: ZeroDivisionError: a bug of a library"
    assert "in fit" in json.loads((tmp_path / "out/runs/crashes/grouped-0/result.json").read_text())["traceback"]
    assert rows["nan", "grouped"]["status"] == "failed"
    assert "1 of 32 crops have a probability that is not finite" in rows["nan", "grouped"]["note"]
    assert "crashes grouped: failed" in capsys.readouterr().out


def test_a_failed_fold_is_tried_again(bench: Bench, log: list[str]) -> None:
    bench("raises", "--splits", "grouped")
    bench("raises", "--splits", "grouped")
    assert log == ["raises"] * 3


def test_no_budget_runs_nothing_and_shows_what_there_is(bench: Bench, log: list[str]) -> None:
    rows = rows_of(bench("a,raises", "--budget", 0))
    assert log == []
    assert {row["status"] for row in rows.values()} == {"not run"}
    assert rows["a", "grouped"]["note"] == "folds 0, 1: the budget ended before it began"
    bench("a,raises", "--splits", "grouped")
    n = len(log)
    rows = rows_of(bench("a,raises", "--budget", 0))
    assert len(log) == n
    assert rows["a", "grouped"]["status"] == "ok"
    assert rows["a", "random"]["status"] == "not run"
    assert "try a lower rate" in rows["raises", "grouped"]["note"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    CLOCK.now, CLOCK.a_look = 0.0, 0.0
    monkeypatch.setattr(time, "monotonic", CLOCK)
    return CLOCK


def test_a_budget_is_shared_and_a_fit_that_it_ends_says_so(bench: Bench, log: list[str], clock: Clock) -> None:
    rows = rows_of(bench("endless,dark", "--splits", "grouped", "--budget", 1))
    assert log == ["endless", "dark"] * 2  # the endless one did not take what the other needed
    assert clock.now == pytest.approx(0.9 * 15 + 0.9 * (60 - 0.9 * 15))  # the last one may take what nobody needs
    assert rows["dark", "grouped"]["status"] == "ok"
    row = rows["endless", "grouped"]
    assert (row["status"], row["note"]) == ("stopped by the budget", "folds 0, 1 stopped by the budget after 3 epochs")
    assert row["accuracy"] == 1.0
    bench("endless", "--splits", "grouped")
    assert len(log) == 4  # and is not run again


def test_a_budget_that_ends_leaves_folds_out_and_no_number(bench: Bench, log: list[str], clock: Clock) -> None:
    clock.a_look = 1.0
    row = rows_of(bench("a", "--splits", "grouped", "--budget", 5 / 60))["a", "grouped"]
    assert log == ["a"]
    assert (row["status"], row["accuracy"]) == ("incomplete", None)
    assert row["note"].endswith("fold 1: the budget ended before it began")


def test_an_interrupt_keeps_what_ran(bench: Bench, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_task = compare_runs.run_task

    def until_told(task: Any, *words: Any, **options: Any) -> Any:
        if len(log) == 1:
            raise KeyboardInterrupt
        return run_task(task, *words, **options)

    monkeypatch.setattr(compare_plan, "run_task", until_told)
    row = rows_of(bench("a", "--splits", "grouped"))["a", "grouped"]
    assert row["status"] == "incomplete"
    assert "fold 1: interrupted before it began" in row["note"]


@pytest.mark.parametrize("weights", ["equal", "validation"])
def test_an_ensemble_is_made_of_what_its_members_said(
    bench: Bench, log: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str
) -> None:
    content = {"name": "both", "paper": "deep_leuko", "about": "a test", "kind": "ensemble"}
    both = Recipe.model_validate({**content, "ensemble": {"members": ["a", "b"], "weights": weights}})
    known = {"a": recipe("a"), "b": recipe("b"), "both": both}
    monkeypatch.setattr(compare, "choose", lambda words: choose(words, known))
    monkeypatch.setattr(compare_runs, "all_recipes", lambda: known)
    row = rows_of(bench("all", "--splits", "grouped"))["both", "grouped"]
    assert log == ["a", "b"] * 2  # nobody was trained for the ensemble
    assert (row["status"], row["n_parameters"], row["accuracy"]) == ("ok", 2, 1.0)
    said = {name: np.load(tmp_path / f"out/runs/{name}/grouped-0/predictions.npz")["probabilities"] for name in known}
    assert said["both"] == pytest.approx((said["a"] + said["b"]) / 2)  # both are right on all of validation
    bench("both,a,b", "--splits", "grouped")
    assert len(log) == 4


def test_beside_a_gpu_a_system_is_timed_on_the_cpu_too(
    log: list[str], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is only a word here, so that the test runs without one."""
    opened: list[Path] = []
    monkeypatch.setattr(compare_runs, "open_fitted", lambda folder: opened.append(folder) or Darkness(120, {}))
    crops = read_bench([table], group="slide")
    limits = Limits(0, "cuda")
    plan = make_plan([recipe("a")], crops, limits, tmp_path, kinds=["grouped"], k=2)
    record = compare_runs.run_task(plan.tasks[0], crops, limits, deadline=None).record
    assert record["ms_per_crop"] > 0
    assert record["ms_per_crop_gpu"] > 0
    assert len(opened) == 1
    assert not opened[0].exists()


def test_models_are_kept_when_asked_for(bench: Bench, tmp_path: Path) -> None:
    bench("a", "--keep-models", "--splits", "grouped")
    assert len(list(tmp_path.rglob("model/between.txt"))) == 2


@pytest.mark.parametrize(
    ("left", "needs", "expected"),
    [
        (60, [None, None, None], 20),
        (60, [None, 5, 5], 50),
        (60, [5, None, None], 27.5),
        (60, [50, 50, None], 20),  # less than it needs, for the third must not go without
        (60, [5, 5], math.inf),
        (0, [None], 0),
        (-1, [5, None], 0),
    ],
)
def test_time_is_shared_such_that_nobody_waits_for_what_is_not_used(left: float, needs: list, expected: float) -> None:
    assert allowance(left, needs) == expected


def test_one_corrupt_crop_is_left_out_by_name(bench: Bench, rows: Callable, write_table: Callable, tmp_path: Path) -> None:
    data = write_table(tmp_path / "own", rows(48))
    (tmp_path / "own" / "crops" / "c007.png").write_bytes(b"not a picture")
    found = bench(data=data)
    assert found["n"] == 47
    assert [entry["file"] for entry in found["dropped"]] == ["crops/c007.png"]
    assert "1 of 48 crops cannot be read and were left out" in found["warnings"][0]
    assert rows_of(found)["dark", "grouped"]["n"] == 47


def test_crops_without_the_group_are_grouped_by_the_next_finer_thing(
    bench: Bench, rows: Callable, write_table: Callable, tmp_path: Path
) -> None:
    table = rows(48)
    for row in table[:8]:
        row["slide"] = ""
    found = bench(data=write_table(tmp_path / "own", table))
    assert "8 of 48 crops have no slide; their field stands in" in found["warnings"]
    assert found["n_groups"] == 10 + 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--group", "slid"], "--group: there is no column 'slid'; group by one of slide, field"),
        (["--group", "patient"], "--group: column 'patient' is empty; group by one of slide, field"),
        (["--folds", "40"], "--folds 40: there are only 16 slides"),
        (["--splits", "groupd"], "--splits: must be one or more of grouped, random, got 'groupd'"),
        (["--label-column", "kind"], "column 'kind' is missing"),
        (["--classes", "ALL,AML"], "label: must be one of ALL, AML, got 'HEM'"),
        (["--label-column", "stain", "--classes", "a,b,c"], "class 'c' has 0 crops"),
        (["--device", "cuda:99"], "cuda"),
        (["--data", "nowhere/crops.csv"], "cannot read it"),
    ],
)
def test_a_mistake_is_one_line(log: list[str], table: Path, tmp_path: Path, words: list[str], message: str, capsys: Any) -> None:
    asked = ["--data", str(table), "--systems", "a", "--group", "slide", "--out", str(tmp_path / "out"), *words]
    assert compare.main(asked) == 2
    told = capsys.readouterr().err
    assert message in told
    assert log == []


def test_a_table_of_one_class_is_refused(log: list[str], rows: Callable, write_table: Callable, tmp_path: Path, capsys: Any) -> None:
    data = write_table(tmp_path / "own", [row for row in rows(24) if row["label"] == "ALL"])
    assert compare.main(["--data", str(data), "--systems", "a", "--group", "slide", "--out", str(tmp_path / "out")]) == 2
    assert "all crops are 'ALL'; systems need two classes" in capsys.readouterr().err


def test_an_unknown_system_is_suggested(table: Path, tmp_path: Path, capsys: Any) -> None:
    assert compare.main(["--data", str(table), "--systems", "leukodetct", "--out", str(tmp_path / "out")]) == 2
    assert "there is no system 'leukodetct'; did you mean 'leukodetect'" in capsys.readouterr().err


def test_a_real_network_goes_through(table: Path, tmp_path: Path, capsys: Any) -> None:
    """The small network of the modified CNN, one epoch at a size of 32 pixels."""
    words = ["--group", "slide", "--folds", "2", "--splits", "grouped", "--epochs", "1", "--imgsz", "32", "--resamples", "20"]
    asked = ["--data", str(table), "--systems", "modified_cnn", *words, "--device", "cpu", "--out", str(tmp_path / "out")]
    assert compare.main(asked) == 0
    (row,) = json.loads((tmp_path / "out" / "compare.json").read_text())["rows"]
    assert row["status"] == "ok"
    assert row["n_parameters"] > 1000
    assert 0 < row["ms_per_crop"] < 1000
    assert len(row["history"]) == 2
    assert "1 of 30 epochs" in row["note"]
    assert row["pretrained"] is False


@pytest.mark.slow
def test_systems_of_every_kind_go_through_together(table: Path, tmp_path: Path) -> None:
    """Random weights, one epoch at a size of 32 pixels; that each recipe by itself learns and is opened again has tests of its own."""
    recipes = all_recipes()
    systems = ("modified_cnn", "modified_cnn_hybrid", "modified_cnn_e1", "leukodetect_random_forest_nucleus", "deep_leuko_knn")
    assert {recipes[name].kind for name in systems} == {recipe.kind for recipe in recipes.values()}
    small = ["--folds", "2", "--splits", "grouped", "--epochs", "1", "--imgsz", "32", "--resamples", "20", "--device", "cpu"]
    asked = ["--data", str(table), "--systems", ",".join(systems), "--group", "slide", *small, "--out", str(tmp_path / "out")]
    assert compare.main(asked) == 0
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {row["system"] for row in found["rows"]} == set(systems)
    assert {row["system"]: row["note"] for row in found["rows"] if row["status"] != "ok"} == {}
    for row in found["rows"]:
        assert 0 <= row["accuracy"] <= 1
        assert row["n"] == 64
        assert row["n_parameters"] > 0
        assert row["file_mb"] > 0
        assert row["ms_per_crop"] > 0
        assert row["pretrained"] is False
    n = len(found["rows"])
    assert len(found["tests"]["grouped"]["pairs"]) == n * (n - 1) // 2
