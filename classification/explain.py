"""`python -m classification.explain MODEL --data crops.csv --out OUT`: why a model labels cells as it does.

MODEL is a bundle (model.json) or a system that `classification.compare --keep-models` saved (fitted.json). Up to `--pool` crops are
labelled first; of these `--cells` are explained, in turn from each class, right and wrong, and from each group. What is explained is the
label that the model gives, also where it is wrong; of an ensemble every member is explained, for the label of the whole.

Networks: Grad-CAM at the last map and LayerCAM at a finer one, each with ROAD, its faithfulness, beside that of a random map and of a
spot in the middle, and the share of its heat in the nucleus, in the cytoplasm and outside. Models on features: SHAP.

OUT/explain.csv has one row a cell, OUT/overlays/ the crop beside its maps, OUT/explain.html shows all of it. OUT/explain.json, schema 1:

- `model` (`path`, `name`, `classes`, `files` with their SHA-256), `split`, `group` (the column), `n_groups` (of the cells explained),
  `n_labelled`, `labelled` (class → `right`, `wrong`), `cells_asked`, `n_resamples`, `seed`, `device`, `warnings`, `dropped` (`file`,
  `error`);
- `parts`: a network (`explanations.scores.score_looks`) or a model on features (`explanations.columns.score_columns`) each;
- `cells`: `file`, `group`, `label`, `predicted`, `right`, `p` and, by part, the numbers of the cell;
- `about`: command, versions, git, data (manifests and hashes), as a training records them.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.refusals import refusal
from smear.errors import SmearError
from smear.files import write_atomic

if TYPE_CHECKING:
    from classification.compare_data import Bench
    from classification.explanations.subject import Subject

SCHEMA = 1
PACKAGES = ("grad-cam", "shap")
DEFAULT_CELLS, DEFAULT_POOL = 40, 2000
OF_A_FOLD = "the model is of one fold of a comparison; it may have learned from some of these crops"
NOT_TEST = "crops of split {!r}: the model may have learned from them, or have been chosen by them"


def explain(options: argparse.Namespace, *, command: str, progress: bool = False) -> dict[str, Any]:
    """What the command does, up to printing; returns what it wrote as `explain.json`.

    Raises:
        SmearError: the model or the tables are wrong, or a package is missing; said before anything is explained.
        OSError: OUT cannot be written.
    """
    from classification.compare_data import read_bench
    from classification.explanations.choice import choose_explained, count_kinds
    from classification.explanations.page import render_page
    from classification.explanations.record import explain_csv, explain_parts, require
    from classification.explanations.subject import open_subject
    from classification.readable import bar
    from classification.steps import choose_device
    from smear.images import encode
    from smear.report.records import jsonable

    device = choose_device(options.device)
    subject = open_subject(options.model, device)
    require(subject)
    bench = read_bench(
        options.data,
        classes=subject.classes,
        label_column=options.label_column,
        group=options.group,
        split=None if options.split == "all" else options.split,
        max_cells=options.pool,
        seed=options.seed,
        watch=bar("crops", shown=progress),
    )
    _refuse_other_crops(subject, bench)
    p = subject.probabilities(bench.cells)
    labels, predicted = bench.table.labels, p.argmax(axis=1)
    rows = choose_explained(labels, predicted, bench.groups, most=options.cells, seed=options.seed)
    how = {"n_resamples": options.resamples, "seed": options.seed}
    explained, pictures = explain_parts(subject, bench, rows, p, watch=bar("explained", shown=progress), **how)
    found = _about(options, subject, bench, str(device), command)
    found |= {"labelled": count_kinds(labels, predicted, subject.classes), "n_groups": len(set(bench.groups[rows].tolist()))}
    found = jsonable(found | explained)
    for name, picture in pictures.items():
        if name.endswith(".png"):
            write_atomic(options.out / name, encode(picture, ".png"))
    write_atomic(options.out / "explain.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_atomic(options.out / "explain.csv", explain_csv(found))
    write_atomic(options.out / "explain.html", render_page(found, pictures))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    command = shlex.join(["python", "-m", "classification.explain", *(sys.argv[1:] if argv is None else argv)])
    try:
        found = explain(options, command=command, progress=True)
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out)}", file=sys.stderr)
        return 2
    from classification.explanations.words import console_lines

    for line in console_lines(found):
        print(line)
    print(f"page: {options.out / 'explain.html'}")
    return 0


def _about(options: argparse.Namespace, subject: "Subject", bench: "Bench", device: str, command: str) -> dict[str, Any]:
    from classification.run_folder import describe_run
    from classification.settings import TrainSettings

    about = describe_run(command, TrainSettings(seed=options.seed), bench.table.about)
    about["versions"] |= {name: found for name in PACKAGES if (found := _version(name))}
    return {
        "schema": SCHEMA,
        "model": {"path": str(options.model), "name": subject.name, "classes": subject.classes, "files": subject.files},
        "split": options.split,
        "group": bench.unit,
        "n_labelled": len(bench.table),
        "cells_asked": options.cells,
        "n_resamples": options.resamples,
        "seed": options.seed,
        "device": device,
        "warnings": [*bench.warnings, *_learned(options, subject)],
        "dropped": bench.dropped,
        "about": about,
    }


def _refuse_other_crops(subject: "Subject", bench: "Bench") -> None:
    from classification.evaluate import refuse_other_crops

    if subject.card:
        refuse_other_crops(subject.card, bench.table)


def _learned(options: argparse.Namespace, subject: "Subject") -> list[str]:
    """A warning where the model may know the crops already."""
    if not subject.card:
        return [OF_A_FOLD]
    return [] if options.split == "test" else [NOT_TEST.format(options.split)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m classification.explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a bundle folder, or a model that classification.compare kept")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="one crops table or more, used together")
    parser.add_argument("--out", type=Path, default=Path("runs/explain"))
    parser.add_argument(
        "--cells", type=int, default=DEFAULT_CELLS, metavar="N", help="how many are explained at most (default: %(default)s)"
    )
    parser.add_argument(
        "--pool", type=int, default=DEFAULT_POOL, metavar="N", help="how many are labelled at most, to choose from (default: %(default)s)"
    )
    parser.add_argument("--split", choices=("train", "val", "test", "all"), default="test", help="default: %(default)s")
    parser.add_argument("--group", help="column that says which crops belong together (default: the first of patient, slide, group, field)")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=1000, help="of the groups, for intervals")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    options = parser.parse_args(argv)
    for name, least in (("cells", 0), ("pool", 1), ("seed", 0), ("resamples", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: must be at least {least}, got {getattr(options, name)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
