"""What the bench does in which order, within which time: every system on every fold, once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from classification.compare_data import Bench
from classification.compare_runs import DEEP, Limits, Result, Task, allowance, make_task, read_result, run_task
from classification.compare_table import Run
from classification.folds import Folds, Kind, make_folds
from classification.recipes import Recipe

ENDED = "the budget ended before it began"
INTERRUPTED = "interrupted before it began"
FIT_SHARE = 0.9  # of a task's time; the rest is for labelling the test and being timed, which have no deadline


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
    bar = tqdm(
        total=len(plan.tasks), initial=len(results), desc="folds", unit="fold", leave=False, dynamic_ncols=True, disable=not progress
    )
    try:
        with bar:
            for i, task in enumerate(left):
                if end is not None and time.monotonic() >= end:
                    break
                bar.set_postfix_str(task.name)
                deadline, members = _deadline(end, left[i:], results), () if keep_models else _members(task, results)
                results[task.name] = run_task(task, bench, limits, deadline=deadline, keep_model=keep_models, members=members)
                bar.update()
    except KeyboardInterrupt:
        told = INTERRUPTED
    earlier = {name: result for name, result in known.items() if result and result.status == "failed"}
    nothing = {task.name: Result("not run", {"message": told}) for task in plan.tasks}
    return nothing | earlier | results


def _members(task: Task, results: Mapping[str, Result]) -> list[Result]:
    """How the members of an ensemble ended on its fold, if all of them ended well; else none."""
    names = task.recipe.ensemble.members if task.recipe.ensemble else ()
    found = [results.get(f"{name} {task.kind} {task.fold.number}") for name in names]
    done = [result for result in found if result is not None and result.status == "ok"]
    return done if len(done) == len(names) else []


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
