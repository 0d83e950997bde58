"""Rows of numbers and tests of pairs: what complete runs say, and what runs that lack folds must not say."""

import csv
import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from classification.compare_pairs import TESTS, all_wrong, compare_pairs
from classification.compare_runs import Result
from classification.compare_table import COLUMNS, Run, Truth, compare_csv, make_rows, score_runs
from classification.recipes import Recipe
from smear.metrics.classification import classification_intervals, classification_metrics
from smear.metrics.delong import delong, placements
from smear.metrics.paired import paired_bootstrap
from smear.metrics.resampled import NAMES

CLASSES = ("ALL", "HEM")
ABOUT = {"n_parameters": 10, "file_bytes": 3_000_000, "pretrained": True, "epochs": 2, "stopped_by_budget": False, "note": ""}


def truth_of(n_classes: int = 2, n: int = 120, *, n_groups: int = 12) -> Truth:
    rng = np.random.default_rng(7)
    groups = tuple(f"s{i}" for i in rng.permutation(np.arange(n) % n_groups))
    return Truth(rng.permutation(np.arange(n) % n_classes), tuple("ABCDEF"[:n_classes]) if n_classes > 2 else CLASSES, groups, "slide", 50)


def answer(truth: Truth, seed: int, skill: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n_classes = len(truth.classes)
    p = np.exp(skill * np.eye(n_classes)[truth.labels] + rng.normal(size=(len(truth.labels), n_classes)))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def run_of(name: str, probabilities: np.ndarray, *, split: str = "grouped", missing: dict[int, str] | None = None, **about: Any) -> Run:
    """Three folds, rows dealt in turn; `missing`: fold → why it has no numbers."""
    recipe = Recipe.model_validate(
        {
            "name": name,
            "paper": "compact_net",
            "about": "a test",
            "reported": {"accuracy": 0.97, "f1": 0.96, "split": "80/20", "data": "C-NMC"},
            "kind": "classical",
            "classical": {"features": ["glcm"], "model": {"name": "svm"}},
        }
    )
    tests = tuple(np.arange(len(probabilities))[i::3] for i in range(3))
    results = []
    for i, rows in enumerate(tests):
        record = {"ms_per_crop": 2.0 + i, "ms_per_crop_gpu": None, "train_seconds": 10.0 * i, "about": ABOUT | about}
        told = (missing or {}).get(i)
        results.append(Result("ok", record, probabilities[rows]) if told is None else Result("failed", {"message": told}))
    return Run(recipe, split, tests, tuple(results))  # type: ignore[arg-type]


def only_row(truth: Truth, *runs: Run) -> dict[str, Any]:
    return make_rows(truth, runs, score_runs(truth, runs))[0]


def test_what_several_folds_note_stands_once() -> None:
    truth = truth_of()
    run = run_of("one", answer(truth, 1))
    for i, result in enumerate(run.results):
        result.record["about"] |= {"note": f"64 px instead of 224; {i // 2} of 80 crops lack features"}  # type: ignore[index]
    assert only_row(truth, run)["note"] == "64 px instead of 224; 0 of 80 crops lack features; 1 of 80 crops lack features"


def test_a_row_has_the_numbers_and_intervals_of_all_crops() -> None:
    truth = truth_of()
    p = answer(truth, 1)
    row = only_row(truth, run_of("one", p))
    values = classification_metrics(truth.labels, p, CLASSES)
    intervals = classification_intervals(truth.labels, p, CLASSES, truth.groups, n_resamples=50, unit="slide")
    for name in NAMES:
        assert row[name] == pytest.approx(values[name]), name
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((intervals[name].low, intervals[name].high)), name
    assert row["intervals"]["accuracy"]["method"] == intervals["accuracy"].method
    assert row["confusion_matrix"] == values["confusion_matrix"]
    assert (row["n"], row["n_groups"], row["folds"], row["status"], row["note"]) == (120, 12, 3, "ok", "")
    assert (row["pretrained"], row["n_parameters"], row["file_mb"], row["ms_per_crop"], row["train_seconds"]) == (True, 10, 3.0, 3.0, 10.0)


def test_more_than_two_classes_are_averaged_and_have_a_curve_each() -> None:
    truth = truth_of(4)
    row = only_row(truth, run_of("one", answer(truth, 1)))
    recalls = np.diag(row["confusion_matrix"]) / np.sum(row["confusion_matrix"], axis=1)
    assert row["recall"] == pytest.approx(recalls.mean()) == pytest.approx(row["balanced_accuracy"])
    assert list(row["roc"]) == list("ABCD")
    areas = [np.trapezoid(tpr, fpr) for fpr, tpr in row["roc"].values()]
    assert row["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-3)


def test_the_papers_number_stands_beside_ours_and_never_in_it() -> None:
    truth = truth_of()
    row = only_row(truth, run_of("one", answer(truth, 1), missing={0: "a", 1: "a", 2: "a"}))
    assert (row["reported_accuracy"], row["reported_f1"], row["reported_split"], row["reported_data"]) == (0.97, 0.96, "80/20", "C-NMC")
    assert row["reported_precision"] is None
    assert all(row[name + end] is None for name in NAMES for end in ("", "_low", "_high"))
    assert (row["status"], row["note"]) == ("failed", "folds 0, 1, 2: a")


def test_a_run_that_lacks_a_fold_has_no_number_but_says_what_ran() -> None:
    truth = truth_of()
    p = answer(truth, 1)
    row = only_row(truth, run_of("one", p, missing={1: "out of memory"}))
    right = [float((p[i::3].argmax(axis=1) == truth.labels[i::3]).mean()) for i in (0, 2)]
    assert (row["status"], row["accuracy"], row["n"], row["roc"]) == ("incomplete", None, None, None)
    assert row["note"] == (
        f"only folds 0, 2 ran (accuracy {right[0]:.3f}, {right[1]:.3f}), so there is no number of all crops; fold 1: out of memory"
    )
    assert [fold["status"] for fold in row["per_fold"]] == ["ok", "failed", "ok"]
    assert [fold["scores"] and fold["scores"]["accuracy"] for fold in row["per_fold"]] == [
        pytest.approx(right[0]),
        None,
        pytest.approx(right[1]),
    ]
    assert row["ms_per_crop"] == 3.0  # of those that ran


@pytest.mark.parametrize(("epochs", "after"), [(0, ""), (1, " after 1 epoch"), (2, " after 2 epochs")])
def test_what_the_budget_stopped_says_so(epochs: int, after: str) -> None:
    truth = truth_of()
    row = only_row(truth, run_of("one", answer(truth, 1), stopped_by_budget=True, epochs=epochs, note="random start"))
    assert (row["status"], row["note"]) == ("stopped by the budget", f"folds 0, 1, 2 stopped by the budget{after}; random start")
    assert row["accuracy"] is not None


def test_the_gap_is_random_minus_grouped_on_the_same_resamples() -> None:
    truth = truth_of()
    low, high = answer(truth, 1, 0.5), answer(truth, 2, 2.0)
    runs = [run_of("one", low), run_of("one", high, split="random"), run_of("two", low)]
    grouped, random, alone = make_rows(truth, runs, score_runs(truth, runs))
    assert grouped["gap_accuracy"] == random["gap_accuracy"] == pytest.approx(random["accuracy"] - grouped["accuracy"])

    def accuracy(p: np.ndarray) -> Any:
        return lambda index: {"accuracy": float((p.argmax(axis=1) == truth.labels)[index].mean())}

    expected = paired_bootstrap(truth.groups, accuracy(low), accuracy(high), n_resamples=50)["accuracy"]
    assert (grouped["gap_accuracy_low"], grouped["gap_accuracy_high"]) == pytest.approx((expected.low, expected.high))
    assert alone["gap_accuracy"] is None
    assert alone["gap"] is None


def test_a_pair_is_tested_by_delong_and_mcnemar_and_by_group() -> None:
    truth = truth_of()
    first, second = answer(truth, 1, 0.8), answer(truth, 2, 1.6)
    (pair,) = compare_pairs(truth, score_runs(truth, [run_of("one", first), run_of("two", second)]))["pairs"]
    right, other = (p.argmax(axis=1) == truth.labels for p in (first, second))
    only, only_other = int((right & ~other).sum()), int((other & ~right).sum())
    assert (pair["first"], pair["second"], pair["first_right"], pair["second_right"]) == ("one", "two", only, only_other)
    assert pair["mcnemar_p"] == pytest.approx(binomtest(only, only + only_other).pvalue)
    placed = [placements(truth.labels == 0, p[:, 0]) for p in (first, second)]
    assert pair["delong_p"] == pytest.approx(delong(*placed))
    assert 0 < pair["delong_group_p"] < 1
    change = pair["differences"]["accuracy"]
    assert change["change"] == pytest.approx(right.mean() - other.mean())
    assert change["low"] < change["change"] < change["high"]


def test_all_pairs_are_adjusted_together_and_those_with_the_best_alone() -> None:
    truth = truth_of()
    names = ("weak", "good", "fair")
    runs = [run_of(name, answer(truth, i, skill)) for i, (name, skill) in enumerate(zip(names, (0.2, 2.5, 1.0), strict=True))]
    found = compare_pairs(truth, score_runs(truth, runs))
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == list(itertools.combinations(names, 2))
    assert found["best"] == "good"
    assert [(pair["first"], pair["second"]) for pair in found["against_best"]] == [("good", "weak"), ("good", "fair")]
    for test in TESTS:
        smallest = min(found["pairs"], key=lambda pair: pair[test])
        assert smallest[f"{test}_holm"] == pytest.approx(min(1, 3 * smallest[test]))
        smallest = min(found["against_best"], key=lambda pair: pair[test])
        assert smallest[f"{test}_holm"] == pytest.approx(min(1, 2 * smallest[test]))
    assert "independent" in found["caveat"]


def test_only_complete_runs_are_compared() -> None:
    truth = truth_of()
    runs = [run_of("one", answer(truth, 1)), run_of("two", answer(truth, 2), missing={0: "failed"})]
    found = compare_pairs(truth, score_runs(truth, runs))
    assert (found["best"], found["pairs"], found["against_best"]) == ("one", [], [])
    assert compare_pairs(truth, [])["best"] is None


def test_delong_is_not_asked_about_four_classes() -> None:
    truth = truth_of(4)
    (pair,) = compare_pairs(truth, score_runs(truth, [run_of("one", answer(truth, 1)), run_of("two", answer(truth, 2))]))["pairs"]
    assert math.isnan(pair["delong_p"])
    assert math.isnan(pair["delong_group_p_holm"])
    assert pair["differences"]["roc_auc"]["low"] < pair["differences"]["roc_auc"]["high"]
    assert pair["mcnemar_p_holm"] == pair["mcnemar_p"]


def test_crops_that_all_get_wrong_are_named() -> None:
    truth = truth_of(3, n=6, n_groups=3)
    right = np.eye(3)[truth.labels].astype(np.float32)
    one, other = right.copy(), right.copy()
    one[[2, 4]] = np.eye(3)[(truth.labels[[2, 4]] + 1) % 3]
    other[[2, 5]] = np.eye(3)[(truth.labels[[2, 5]] + 2) % 3]
    files = [f"c{i}.png" for i in range(6)]
    scored = score_runs(truth, [run_of("one", one), run_of("two", other)])
    found = all_wrong(truth, scored, files)
    label = int(truth.labels[2])
    given = {"ABC"[c]: 1 for c in range(3) if c != label}
    assert found == {
        "n_systems": 2,
        "cells": [{"row": 2, "file": "c2.png", "label": "ABC"[label], "group": truth.groups[2], "given": given}],
    }
    assert all_wrong(truth, scored[:1], files) == {"n_systems": 1, "cells": []}


def test_the_csv_says_nothing_where_nothing_is_known() -> None:
    truth = truth_of()
    runs = [run_of("one", answer(truth, 1)), run_of("two", answer(truth, 1), missing={0: "a, comma"})]
    first, second = csv.DictReader(io.StringIO(compare_csv(make_rows(truth, runs, score_runs(truth, runs)))))
    assert tuple(first) == COLUMNS
    assert float(first["accuracy"]) == pytest.approx(classification_metrics(truth.labels, answer(truth, 1), CLASSES)["accuracy"], abs=1e-4)
    assert (second["accuracy"], second["gap_accuracy"], second["status"]) == ("", "", "incomplete")
    assert second["note"].endswith("fold 0: a, comma")
    assert (first["pretrained"], first["reported_accuracy"]) == ("yes", "0.9700")


def test_one_group_cannot_vary_and_has_no_interval() -> None:
    truth = Truth(truth_of().labels, CLASSES, ("s",) * 120, "slide", 50)
    row = only_row(truth, run_of("one", answer(truth, 1)))
    assert 0 < row["accuracy"] < 1
    assert math.isnan(row["accuracy_low"])
