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

OUT/compare.html shows all of it on one page: the table, figures, the crops that every system gets wrong, and in words what was run.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from classification.compare_console import console_lines, console_table
from classification.compare_data import Bench, read_bench
from classification.compare_page import picture_cells, render_page
from classification.compare_pairs import all_wrong, compare_pairs
from classification.compare_plan import Plan, make_plan, run_plan
from classification.compare_runs import Limits, Result
from classification.compare_table import Truth, compare_csv, make_rows, score_runs
from classification.folds import KINDS, Kind
from classification.readable import bar
from classification.recipes import choose
from classification.refusals import refusal
from classification.run_folder import describe_run
from classification.settings import TrainSettings
from classification.steps import choose_device
from smear.errors import ConfigError, SmearError
from smear.files import write_atomic
from smear.report.records import jsonable

SCHEMA = 1
WIDTH = 120  # of the table in a file


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
    bench = read_bench(
        options.data,
        classes=tuple(filter(None, (options.classes or "").split(","))),
        label_column=options.label_column,
        group=options.group,
        max_cells=options.max_cells,
        seed=options.seed,
        watch=bar("crops", shown=progress, unit="crop"),
    )
    plan = make_plan(recipes, bench, limits, options.out, kinds=kinds, k=options.folds)
    seconds = None if options.budget is None else 60 * options.budget
    results = run_plan(plan, bench, limits, budget_seconds=seconds, keep_models=options.keep_models, progress=progress)
    found = _about(options, plan, bench, limits, results, command)
    found |= summarise(plan, bench, results, n_resamples=options.resamples, seed=options.seed)
    found = jsonable(found)
    write_atomic(options.out / "compare.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_atomic(options.out / "compare.csv", compare_csv(found["rows"]))
    write_atomic(options.out / "compare.html", render_page(found, picture_cells(found, bench.table.paths)))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    command = shlex.join(["python", "-m", "classification.compare", *(sys.argv[1:] if argv is None else argv)])
    try:
        found = compare(options, command=command, progress=True)
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out, kept='finished folds are kept, the same command goes on')}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else WIDTH).print(console_table(found))
    for line in console_lines(found):
        print(line)
    print(f"table: {options.out / 'compare.csv'}")
    print(f"page: {options.out / 'compare.html'}")
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
