"""`python -m classification.compare --data crops.csv --systems all --folds 5 --group slide --out OUT`: systems on the same folds.

Every system learns and is scored k times on whole groups apart (`grouped`), and k times on crops parted at random (`random`), the same
crops in both; all crops of the tables are used, whatever their `split` column says. Cheap systems come first, and fold 0 of all systems
before fold 1 of any, so that a run that ends early has looked at everything once. A finished fold is never run again: it lies in
OUT/runs/<system>/<split>-<fold>/ as `result.json` and `predictions.npz` (rows, labels, probabilities), under a key of all that its numbers
depend on; a failed one is tried again by the next run, one that the budget stopped is not (delete its folder to have it longer).
`--budget 0` runs nothing and makes the tables of what there is.

OUT/compare.csv has one row a system and split kind (`compare_table.COLUMNS`). OUT/compare.json, schema 1:

- `classes`, `positive` (None: more than two classes, numbers are macro averages), `n`, `n_per_class`, `n_groups`, `group` (the column),
  `folds`, `seed`, `splits`, `device`, `weights`, `budget_minutes`, `epochs`, `imgsz`, `warnings`, `dropped` (`file`, `error`),
  `seconds` (of all finished fits together), `n_resamples`;
- `about`: command, versions, git, data (manifests and hashes), as a training records them;
- `rows`: `compare_table.make_rows`; `tests` and `all_wrong`: by split kind, `compare_pairs.compare_pairs` and `compare_pairs.all_wrong`.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from classification.compare_data import Bench, read_bench
from classification.compare_pairs import all_wrong, compare_pairs
from classification.compare_runs import DEEP, Limits, Result, Task, allowance, make_task, read_result, run_task
from classification.compare_table import Run, Truth, compare_csv, make_rows, score_runs
from classification.folds import KINDS, Folds, Kind, make_folds
from classification.recipes import Recipe, choose
from classification.run_folder import describe_run
from classification.settings import TrainSettings
from classification.steps import choose_device
from smear.errors import ConfigError, SmearError
from smear.files import write_atomic
from smear.report.records import jsonable

SCHEMA = 1
ENDED = "not run: the budget ended before"
INTERRUPTED = "not run: interrupted"
FIT_SHARE = 0.9  # of a task's time; the rest is for labelling the test and being timed, which have no deadline
BAR = {"leave": False, "dynamic_ncols": True}


@dataclass(frozen=True)
class Plan:
    """All systems on all folds: the tasks in the order in which they are run, and the folds of each kind."""

    recipes: tuple[Recipe, ...]
    folds: tuple[Folds, ...]
    tasks: tuple[Task, ...]

    def runs(self, results: Mapping[str, Result]) -> list[Run]:
        """A run for each system and kind, systems in the order of the recipes; `results` by `Task.name`."""
        found = {task.name: results[task.name] for task in self.tasks}
        return [
            Run(
                recipe,
                parted.kind,
                tuple(fold.test for fold in parted.folds),
                tuple(found[f"{recipe.name} {parted.kind} {fold.number}"] for fold in parted.folds),
            )
            for recipe in self.recipes
            for parted in self.folds
        ]


def make_plan(recipes: Sequence[Recipe], bench: Bench, limits: Limits, out: Path, *, kinds: Sequence[Kind], k: int) -> Plan:
    """Folds 0 of all systems, cheap ones first and both kinds of split, then folds 1, and so on.

    Raises:
        ConfigError, AnnotationError: the crops cannot be parted so, as `make_folds` says.
    """
    labels, classes = bench.table.labels, bench.table.classes
    parted = tuple(make_folds(labels, bench.groups, classes, kind=kind, k=k, seed=limits.seed, unit=bench.unit) for kind in kinds)
    tasks = tuple(
        make_task(recipe, each.kind, each.folds[number], bench=bench, limits=limits, folder=out / "runs")
        for number in range(k)
        for recipe in sorted(recipes, key=_cost)
        for each in parted
    )
    return Plan(tuple(recipes), parted, tasks)


def run_plan(
    plan: Plan, bench: Bench, limits: Limits, *, budget_seconds: float | None = None, keep_models: bool = False, progress: bool = False
) -> dict[str, Result]:
    """Every task's result by its name: read if it is finished, else run, else "not run" when the budget has ended or ^C came.

    Raises:
        OSError: a folder cannot be written.
    """
    known = {task.name: read_result(task) for task in plan.tasks}
    results = {name: result for name, result in known.items() if result and result.status == "ok"}
    left = [task for task in plan.tasks if task.name not in results]
    end = None if budget_seconds is None else time.monotonic() + budget_seconds
    told = ENDED
    bar = tqdm(total=len(plan.tasks), initial=len(results), desc="folds", unit="fold", disable=not progress, **BAR)
    try:
        with bar:
            for i, task in enumerate(left):
                if end is not None and time.monotonic() >= end:
                    break
                bar.set_postfix_str(task.name)
                results[task.name] = run_task(task, bench, limits, deadline=_deadline(end, left[i:], results), keep_model=keep_models)
                bar.update()
    except KeyboardInterrupt:
        told = INTERRUPTED
    earlier = {name: result for name, result in known.items() if result and result.status == "failed"}
    nothing = {task.name: Result("not run", {"message": told}) for task in plan.tasks}
    return nothing | earlier | results


def summarise(plan: Plan, bench: Bench, results: Mapping[str, Result], *, n_resamples: int, seed: int) -> dict[str, Any]:
    """`rows`, `tests` and `all_wrong` of compare.json."""
    truth = Truth(bench.table.labels, bench.table.classes, tuple(bench.groups.tolist()), bench.unit, n_resamples, seed)
    runs = plan.runs(results)
    scored = score_runs(truth, runs)
    by_kind = {parted.kind: [some for some in scored if some.run.split == parted.kind] for parted in plan.folds}
    return {
        "rows": make_rows(truth, runs, scored),
        "tests": {kind: compare_pairs(truth, some) for kind, some in by_kind.items()},
        "all_wrong": {kind: all_wrong(truth, some, bench.files) for kind, some in by_kind.items()},
    }


def compare(options: argparse.Namespace, *, command: str, progress: bool = False) -> dict[str, Any]:
    """What the command does, up to printing; returns what it wrote as `compare.json`.

    Raises:
        SmearError: the request or the tables are wrong; said before anything is fitted.
        OSError: OUT cannot be written.
    """
    kinds = _kinds(options.splits)
    recipes = list(choose(options.systems).values())
    limits = Limits(options.seed, str(choose_device(options.device)), options.weights, options.epochs, options.imgsz)

    def watch(crops: Iterable[Any], n: int) -> Iterable[Any]:
        return tqdm(crops, total=n, desc="crops", unit="crop", disable=not progress, **BAR)

    bench = read_bench(
        options.data,
        classes=tuple(filter(None, (options.classes or "").split(","))),
        label_column=options.label_column,
        group=options.group,
        max_cells=options.max_cells,
        seed=options.seed,
        watch=watch,
    )
    plan = make_plan(recipes, bench, limits, options.out, kinds=kinds, k=options.folds)
    seconds = None if options.budget is None else 60 * options.budget
    results = run_plan(plan, bench, limits, budget_seconds=seconds, keep_models=options.keep_models, progress=progress)
    found = _about(options, plan, bench, limits, results, command)
    found |= summarise(plan, bench, results, n_resamples=options.resamples, seed=options.seed)
    found = jsonable(found)
    write_atomic(options.out / "compare.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_atomic(options.out / "compare.csv", compare_csv(found["rows"]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    command = shlex.join(["python", "-m", "classification.compare", *(sys.argv[1:] if argv is None else argv)])
    try:
        found = compare(options, command=command, progress=True)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {options.out}: cannot write it ({error.strerror}); finished folds are kept, the same command goes on", file=sys.stderr
        )
        return 2
    _show(found)
    print(f"table: {options.out / 'compare.csv'}")
    return 0


def _deadline(end: float | None, left: Sequence[Task], results: Mapping[str, Result]) -> float | None:
    """When the first of the tasks that are left must be ready, in the seconds of `time.monotonic`."""
    if end is None:
        return None
    needs: dict[str, float] = {}
    for name, result in results.items():
        if result.status == "ok" and not result.record["about"]["stopped_by_budget"]:
            needs[name.split()[0]] = result.record["seconds"]
    now = time.monotonic()
    return min(end, now + FIT_SHARE * allowance(end - now, [needs.get(task.recipe.name) for task in left]))


def _cost(recipe: Recipe) -> tuple[int, int]:
    """An order by what a fit roughly takes: kind first, then pixels × epochs."""
    if recipe.network:
        return 1, recipe.network.imgsz**2 * recipe.network.epochs
    if recipe.classical:
        is_deep = any(family.startswith(DEEP) for family in recipe.classical.features)
        return int(is_deep), len(recipe.classical.features) * (recipe.classical.trials if recipe.classical.search != "none" else 1)
    return 2, len(recipe.ensemble.members) if recipe.ensemble else 0


def _kinds(words: str) -> tuple[Kind, ...]:
    asked = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in asked if word not in KINDS]
    if unknown or not asked:
        raise ConfigError(f"--splits: must be one or more of {', '.join(KINDS)}, got {unknown[0] if unknown else words!r}")
    return tuple(kind for kind in KINDS if kind in asked)


def _about(
    options: argparse.Namespace, plan: Plan, bench: Bench, limits: Limits, results: Mapping[str, Result], command: str
) -> dict[str, Any]:
    table = bench.table
    counts = np.bincount(table.labels, minlength=len(table.classes))
    return {
        "schema": SCHEMA,
        "classes": table.classes,
        "positive": table.classes[0] if len(table.classes) == 2 else None,
        "n": len(table),
        "n_per_class": {name: int(n) for name, n in zip(table.classes, counts, strict=True)},
        "n_groups": len(set(bench.groups.tolist())),
        "group": bench.unit,
        "folds": options.folds,
        "splits": [parted.kind for parted in plan.folds],
        "n_resamples": options.resamples,
        "budget_minutes": options.budget,
        **{name: getattr(limits, name) for name in ("seed", "device", "weights", "epochs", "imgsz")},
        "warnings": [*bench.warnings, *(told for parted in plan.folds for told in parted.warnings)],
        "dropped": bench.dropped,
        "seconds": sum(result.record["seconds"] for result in results.values() if result.status == "ok"),
        "about": describe_run(command, TrainSettings(seed=limits.seed), table.about),
    }


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m classification.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="one crops table or more, used together")
    parser.add_argument("--systems", required=True, help="names or patterns between commas, or all; see configs/papers")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--group", default="group", help="column that says which crops belong together: patient, slide, field, group")
    parser.add_argument("--splits", default=",".join(KINDS), help="kinds of split: grouped, random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--classes", help="between commas, the positive one first; default: those of the table, ALL first")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="shared among the folds that are left; 0 only makes the tables")
    parser.add_argument("--epochs", type=int, help="at most, for every network")
    parser.add_argument("--imgsz", type=int, help="at most, pixels, for every network")
    parser.add_argument("--max-cells", type=int, metavar="N", help="draw so many crops, every group keeping its share")
    parser.add_argument("--weights", default="none", metavar="DIR", help="none, imagenet (downloaded once), or a folder of .safetensors")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--resamples", type=int, default=1000, help="of the groups, for intervals")
    parser.add_argument("--keep-models", action="store_true", help="also save every fold's model beside its result")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    options = parser.parse_args(argv)
    for name, least in (("epochs", 1), ("imgsz", 16), ("max_cells", 1), ("resamples", 1), ("budget", 0), ("seed", 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:  # also refuses NaN
            parser.error(f"--{name.replace('_', '-')}: must be at least {least}, got {value}")
    return options


def _show(found: Mapping[str, Any]) -> None:
    groups = f"{found['n_groups']} groups by {found['group']}"
    shown = Table(title=f"{found['n']} crops, {groups}, {found['folds']} folds; 95 % intervals by group; research use only")
    headings = ("system", "split", "accuracy", "ROC-AUC", "F1", "gap of accuracy", "the paper says", "train s", "ms a crop", "status")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("system", "split", "status") else "right", no_wrap=heading == "system")
    for row in found["rows"]:
        numbers = [_range(row, name) for name in ("accuracy", "roc_auc", "f1", "gap_accuracy")]
        costs = [_short(row["train_seconds"], 1), _short(row["ms_per_crop"], 2)]
        shown.add_row(row["system"], row["split"], *numbers, _short(row["reported_accuracy"], 3), *costs, row["status"])
    Console().print(shown)
    for row in found["rows"]:
        if row["status"] != "ok":
            print(f"{row['system']} {row['split']}: {row['status']}: {row['note']}")
    for told in found["warnings"]:
        print(f"warning: {told}")


def _range(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    return f"{row[name]:.3f} ({_short(row[f'{name}_low'], 3)} to {_short(row[f'{name}_high'], 3)})"


def _short(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
