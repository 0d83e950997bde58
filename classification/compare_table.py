"""From what systems said of the same crops to rows of numbers: one a system and split kind, with intervals, costs and the paper's claim.

For two classes precision, recall, specificity, F1, ROC-AUC and ECE are those of the first class. For more they are macro averages over
one class against the rest, ECE that of the label given. Every crop is scored once, by the model of the fold that had it in its test; areas
are over these pooled scores, so they also pay for folds whose scores differ in level (`per_fold` has each fold's own).
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.compare_runs import Result
from classification.folds import Kind
from classification.recipes import Recipe, Reported
from smear.metrics.classification import confusion_matrix
from smear.metrics.paired import difference_of
from smear.metrics.resampled import NAMES, group_times, resampled_scores
from smear.metrics.statistics import interval_of, resamples

GAPS = ("accuracy", "roc_auc")
CLAIMS = tuple(f"reported_{name}" for name in Reported.model_fields)
COSTS = ("pretrained", "n_parameters", "file_mb", "ms_per_crop", "ms_per_crop_gpu", "train_seconds")
ENDS = ("", "_low", "_high")
COLUMNS = (
    *("system", "paper", "split", "n", "n_groups", "folds"),
    *(name + end for name in NAMES for end in ENDS),
    *(f"gap_{name}{end}" for name in GAPS for end in ENDS),
    *CLAIMS,
    *COSTS,
    *("status", "note"),
)
N_POINTS = 200  # of a ROC curve in compare.json


@dataclass(frozen=True)
class Truth:
    """N crops: labels (N,) index `classes`, groups (N,) of kind `unit`; and R resamples of the groups, the same for all systems."""

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    unit: str
    n_resamples: int = 1000
    seed: int = 0

    @property
    def positive(self) -> int | None:
        """The class that a number is about; None: the average over all."""
        return 0 if len(self.classes) == 2 else None

    @property
    def n_groups(self) -> int:
        return self.times.shape[1]

    @cached_property
    def _counted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        drawn = resamples(len(set(self.groups)), n_resamples=self.n_resamples, seed=self.seed)
        return group_times(self.groups, drawn)

    @property
    def which(self) -> NDArray[np.int64]:
        """(N,) the number of each crop's group."""
        return self._counted[0]

    @property
    def times(self) -> NDArray[np.int64]:
        """(1 + R, G) how often each group counts; the first row is all of them once."""
        return self._counted[1]

    def scores(self, probabilities: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """(1 + R,) of each number of `NAMES`."""
        return resampled_scores(self.labels, probabilities, self.which, self.times, positive=self.positive)

    def score_of(self, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, float]:
        """The numbers of some rows, without intervals."""
        once = np.zeros(len(rows), np.int64), np.ones((1, 1), np.int64)
        found = resampled_scores(self.labels[rows], probabilities, *once, positive=self.positive)
        return {name: float(values[0]) for name, values in found.items()}


@dataclass(frozen=True)
class Run:
    """One system on all folds of one kind: the rows of each fold's test, and how each ended."""

    recipe: Recipe
    split: Kind
    tests: tuple[NDArray[np.int64], ...]
    results: tuple[Result, ...]

    @property
    def is_complete(self) -> bool:
        return all(result.status == "ok" for result in self.results)

    def pooled(self) -> NDArray[np.float32]:
        """(N, C), each row by the model that had not seen it; only of a complete run."""
        found = [result.probabilities for result in self.results if result.probabilities is not None]
        pooled = np.empty((sum(map(len, self.tests)), found[0].shape[1]), np.float32)
        for rows, probabilities in zip(self.tests, found, strict=True):
            pooled[rows] = probabilities
        return pooled


@dataclass(frozen=True)
class Scored:
    """A complete run with its probabilities (N, C) and its numbers on all resamples, (1 + R,) each."""

    run: Run
    probabilities: NDArray[np.float32]
    draws: Mapping[str, NDArray[np.float64]]


def score_runs(truth: Truth, runs: Sequence[Run]) -> list[Scored]:
    """The complete ones among the runs, in their order."""
    complete = [(run, run.pooled()) for run in runs if run.is_complete]
    return [Scored(run, probabilities, truth.scores(probabilities)) for run, probabilities in complete]


def make_rows(truth: Truth, runs: Sequence[Run], scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """One row a run: `COLUMNS` (None where there is no such number), and for the page and compare.json besides

    - `intervals`: name → value, low, high, n_groups, method; `gap`: likewise, with `old` grouped and `new` random.
    - `confusion_matrix` (rows: truth), `roc`: class → [[false positive rate …], [true positive rate …]].
    - `per_fold`: fold, status, message, n_test, train_seconds, ms_per_crop, epochs, stopped_by_budget and `scores`.
    - `history`: fold, best_epoch and `epochs`, a row an epoch, as the system recorded them.
    - `about`, `kind`: of the recipe.

    A run that lacks folds has no numbers of all crops; its `note` and `per_fold` say what ran.
    """
    by_run = {(some.run.recipe.name, some.run.split): some for some in scored}
    return [_row(truth, run, by_run) for run in runs]


def compare_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """`COLUMNS` of every row; what is not known is empty, shares have four decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(name, row.get(name)) for name in COLUMNS] for row in rows)
    return text.getvalue()


def _row(truth: Truth, run: Run, by_run: Mapping[tuple[str, Kind], Scored]) -> dict[str, Any]:
    mine = by_run.get((run.recipe.name, run.split))
    done = [result for result in run.results if result.status == "ok"]
    status, note = _status(truth, run)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"system": run.recipe.name, "paper": run.recipe.paper, "split": run.split, "kind": run.recipe.kind, "about": run.recipe.about}
    row |= {"n": len(truth.labels) if mine else None, "n_groups": truth.n_groups, "folds": len(run.results), "status": status, "note": note}
    row |= {f"reported_{name}": value for name, value in run.recipe.reported.model_dump().items()}
    row |= _costs(done) | _gap(truth, *(by_run.get((run.recipe.name, kind)) for kind in ("grouped", "random")))
    row |= {"per_fold": _per_fold(truth, run), "history": _histories(run), "intervals": None, "confusion_matrix": None, "roc": None}
    return row | _numbers(truth, mine) if mine else row


def _numbers(truth: Truth, scored: Scored) -> dict[str, Any]:
    intervals = {
        name: interval_of(float(draws[0]), draws[1:], n_groups=truth.n_groups, unit=truth.unit) for name, draws in scored.draws.items()
    }
    flat = {name + end: value for name, i in intervals.items() for end, value in zip(ENDS, (i.value, i.low, i.high), strict=True)}
    return {
        **flat,
        "intervals": {name: interval.to_json() for name, interval in intervals.items()},
        "confusion_matrix": confusion_matrix(truth.labels, scored.probabilities).tolist(),
        "roc": _curves(truth, scored.probabilities),
    }


def _gap(truth: Truth, grouped: Scored | None, random: Scored | None) -> dict[str, Any]:
    """How much better the random split looks, on the same crops and the same resamples of groups."""
    if grouped is None or random is None:
        return {"gap": None}
    row: dict[str, Any] = {"gap": {}}
    for name in GAPS:
        old, new = grouped.draws[name], random.draws[name]
        found = difference_of(old[0], new[0], new[1:] - old[1:], n_groups=truth.n_groups, unit=truth.unit)
        row |= {f"gap_{name}{end}": value for end, value in zip(ENDS, (found.change, found.low, found.high), strict=True)}
        row["gap"][name] = found.to_json()
    return row


def _costs(done: Sequence[Result]) -> dict[str, Any]:
    """Of the folds that ran: what one fold's model is and took, the middle one."""
    if not done:
        return {}
    abouts = [result.record["about"] for result in done]
    return {
        "pretrained": all(about["pretrained"] for about in abouts),
        "n_parameters": int(np.median([about["n_parameters"] for about in abouts])),
        "file_mb": float(np.median([about["file_bytes"] for about in abouts])) / 1e6,
        **{name: _middle([result.record[name] for result in done]) for name in ("ms_per_crop", "ms_per_crop_gpu", "train_seconds")},
    }


def _middle(values: Sequence[float | None]) -> float | None:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _status(truth: Truth, run: Run) -> tuple[str, str]:
    """One of ok, stopped by the budget, incomplete, failed, not run; and what a reader of the row must know."""
    told: list[str] = []
    ok = [i for i, result in enumerate(run.results) if result.status == "ok"]
    stopped = [i for i in ok if run.results[i].record["about"]["stopped_by_budget"]]
    if not run.is_complete:
        if ok:
            shares = (f"{truth.score_of(run.tests[i], run.results[i].probabilities)['accuracy']:.3f}" for i in ok)  # type: ignore[arg-type]
            told.append(f"only {_folds(ok)} ran (accuracy {', '.join(shares)}), so there is no number of all crops")
        for message in dict.fromkeys(result.message for result in run.results if result.status != "ok"):
            where = [i for i, result in enumerate(run.results) if result.status != "ok" and result.message == message]
            told.append(f"{_folds(where)}: {message}")
    if stopped:
        told.append(f"{_folds(stopped)} stopped by the budget{_epochs(run, stopped)}")
    notes = "; ".join(str(run.results[i].record["about"].get("note") or "") for i in ok).split("; ")
    told += dict.fromkeys(filter(None, notes))  # what several folds say stands once
    any_failed = any(result.status == "failed" for result in run.results)
    whole = "stopped by the budget" if stopped else "ok"
    return whole if run.is_complete else "incomplete" if ok else "failed" if any_failed else "not run", "; ".join(told)


def _per_fold(truth: Truth, run: Run) -> list[dict[str, Any]]:
    rows = []
    for number, (test, result) in enumerate(zip(run.tests, run.results, strict=True)):
        about = result.record.get("about", {})
        row: dict[str, Any] = {"fold": number, "status": result.status, "message": result.message, "n_test": len(test)}
        row |= {name: result.record.get(name) for name in ("train_seconds", "ms_per_crop", "ms_per_crop_gpu", "device")}
        row |= {name: about.get(name) for name in ("epochs", "stopped_by_budget", "note")}
        rows.append({**row, "scores": None if result.probabilities is None else truth.score_of(test, result.probabilities)})
    return rows


def _histories(run: Run) -> list[dict[str, Any]]:
    abouts = [(number, result.record.get("about", {})) for number, result in enumerate(run.results)]
    return [
        {"fold": number, "best_epoch": about.get("best_epoch"), "epochs": about["history"]}
        for number, about in abouts
        if about.get("history")
    ]


def _curves(truth: Truth, probabilities: NDArray[np.float32]) -> dict[str, list[list[float]]]:
    """A ROC curve for each class that numbers are about, thinned to `N_POINTS`."""
    from sklearn.metrics import roc_curve

    curves = {}
    for c in range(len(truth.classes)) if truth.positive is None else [truth.positive]:
        fpr, tpr, _ = roc_curve(truth.labels == c, probabilities[:, c])
        kept = np.unique(np.linspace(0, len(fpr) - 1, N_POINTS).round().astype(int))
        curves[truth.classes[c]] = [fpr[kept].round(5).tolist(), tpr[kept].round(5).tolist()]
    return curves


def _folds(numbers: Sequence[int]) -> str:
    return f"fold{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _epochs(run: Run, folds: Sequence[int]) -> str:
    """How far they came; "" for what has no epochs."""
    counts = [run.results[i].record["about"]["epochs"] for i in folds]
    if not max(counts):
        return ""
    return (
        f" after {min(counts)} to {max(counts)} epochs" if min(counts) < max(counts) else f" after {counts[0]} epoch{'s'[: counts[0] != 1]}"
    )


def _cell(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else value
