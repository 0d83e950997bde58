"""Make one crops table for the classifier: white cells cut by their true boxes from prepared sets, and tables that exist already.

A cell of class ALL or HEM keeps its label; one of class WBC says nothing about its donor and needs `--label WBC=HEM`, for sets of
normal donors only. The square is `--width` red cells wide, by the ruler of the field (`datasets.rulers`; in painted sets the exact one),
and keeps the pixels of the field. Cells that the border of the field cuts are left out, unless `--cut-cells` takes them
in; where the square reaches beyond the border the edge is repeated, and `warnings` says so.

Split, slide and patient are those of the field. A "slide" that lies in several splits is a whole laboratory (TXL-PBC) and stands in
`laboratory` instead. Fields of the given sets that are twins share their `group`, and leave train and val as in `datasets.compose` when
a twin is held out. `stain` is the set. Tables are taken over as they are, if they were cut by the same contract; so that nothing of
two sets is mistaken for one, their patient, slide, field, group and stain are led by the name of the set: `taleqani/3`.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets import convert, finished
from datasets.convert import CropRecord
from datasets.crop_tables import read_table
from datasets.white_cells import LABELS, LeftOut, WhiteCells, contents, cut, read_cells, usable, without_twins
from smear.errors import AnnotationError
from smear.models import CropContract

Table = tuple[dict[str, Any], list[CropRecord]]


@dataclass(frozen=True)
class Choice:
    """Which of the cells to take: their splits, at most so many of a set, drawn by `seed`, and those that the border cuts or not."""

    splits: tuple[str, ...] = convert.SPLITS
    most_per_set: int | None = None
    seed: int = 0
    with_cut: bool = False

    def draw(self, n: int) -> list[int]:
        """Positions of the cells to take of the N of a set, in order."""
        if self.most_per_set is None or n <= self.most_per_set:
            return list(range(n))
        return sorted(np.random.default_rng(self.seed).permutation(n)[: self.most_per_set].tolist())


def join(
    data: Sequence[Path],
    crops: Sequence[Path],
    out: Path,
    *,
    contract: CropContract,
    label_of: Mapping[str, str] | None = None,
    choice: Choice | None = None,
    progress: bool = False,
) -> Path:
    """Write the joint table; returns its crops.csv. A finished one of the same inputs is left alone.

    Raises:
        AnnotationError: nothing given, two sets of one name, or what `read_cells` and `read_table` raise.
    """
    label_of, choice = label_of or {}, choice or Choice()
    if not data and not crops:
        raise AnnotationError("--data, --crops: give at least one set or table")
    tables = [read_table(path, contract) for path in crops]
    options = (contract.model_dump(), label_of, choice.splits, choice.most_per_set, choice.seed, choice.with_cut)
    inputs = finished.inputs_digest(sets=[contents(path) for path in data], tables=[about for about, _ in tables], options=options)
    if finished.is_finished(out, inputs):
        return out / "crops.csv"
    sets = [read_cells(path, label_of, progress=progress) for path in data]
    abouts = [about for about, _ in (*sets, *tables)]
    twice = [name for name, n in Counter(about["name"] for about in abouts).items() if n > 1]
    if twice:
        raise AnnotationError(f"--data, --crops: two sets are named {twice[0]!r}; give each set once")
    fields, left_out, dropped = without_twins([cells for _, found in sets for cells in found], progress=progress)
    fields, unusable = _choose_cells(fields, choice)
    taken = [_choose_rows(records, choice) for _, records in tables]
    counts = _count([(c.source.set_name, c.source.split, label) for c in fields for label in c.labels])
    counts |= _count([(about["name"], r.split, r.label) for (about, _), rows in zip(tables, taken, strict=True) for r in rows])
    about = _describe(abouts, counts, [*left_out, *unusable])
    about |= {"name": out.resolve().name, "seed": choice.seed, "label_of": dict(label_of), "inputs_sha256": inputs, "dropped": dropped}
    total = sum(len(cells.rows) for cells in fields) + sum(map(len, taken))
    return convert.write_crops(_records(fields, taken, contract), out, crop=contract, about=about, total=total, progress=progress)


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.cells", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--data", type=Path, nargs="+", default=[], metavar="YAML", help="data.yaml of each prepared set")
    made.add_argument("--crops", type=Path, nargs="+", default=[], metavar="CSV", help="crops.csv of each prepared table")
    made.add_argument("--label", metavar="WBC=HEM", help="label of cells that are only WBC: for sets whose donors are all normal")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the table goes")
    made.add_argument("--width", type=float, default=3.0, metavar="N", help="side of the square in red-cell diameters (default 3)")
    made.add_argument("--splits", default=",".join(convert.SPLITS), metavar="A,B", help="splits to take (default all)")
    made.add_argument("--most-per-set", type=int, metavar="N", help="take N cells of a set that has more, drawn by --seed")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default 0)")
    made.add_argument("--cut-cells", action="store_true", help="also the cells that the border of the field cuts")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return convert.run(made, argv, _prepare)


def _prepare(arguments: argparse.Namespace) -> Path:
    splits = tuple(arguments.splits.split(","))
    unknown = [split for split in splits if split not in convert.SPLITS]
    if unknown:
        raise AnnotationError(f"--splits: must be some of {', '.join(convert.SPLITS)}, got {unknown[0]!r}")
    for flag, value in (("--width", arguments.width), ("--most-per-set", arguments.most_per_set)):
        if value is not None and not value > 0:
            raise AnnotationError(f"{flag}: must be above 0, got {value:g}")
    label_of = {}
    if arguments.label is not None:
        name, _, label = arguments.label.partition("=")
        if name.upper() != "WBC" or label not in LABELS:
            raise AnnotationError(f"--label: must be WBC=HEM or WBC=ALL, got {arguments.label!r}")
        label_of = {"WBC": label}
    return join(
        arguments.data,
        arguments.crops,
        arguments.out,
        contract=CropContract(unit="rbc", width=arguments.width, background="kept"),
        label_of=label_of,
        choice=Choice(splits, arguments.most_per_set, arguments.seed, arguments.cut_cells),
        progress=not arguments.quiet,
    )


def _choose_cells(fields: Sequence[WhiteCells], choice: Choice) -> tuple[list[WhiteCells], list[LeftOut]]:
    by_set: defaultdict[str, list[WhiteCells]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for cells in fields:
        if cells.source.split in choice.splits:
            whole, partial = usable(cells, with_cut=choice.with_cut)
            by_set[cells.source.set_name].append(whole)
            left_out += partial
    chosen: list[WhiteCells] = []
    for found in by_set.values():
        starts = np.cumsum([0] + [len(cells.rows) for cells in found])
        drawn = np.array(choice.draw(int(starts[-1])), np.int64)
        for cells, low, high in zip(found, starts[:-1], starts[1:], strict=True):
            chosen.append(cells.take((drawn[(drawn >= low) & (drawn < high)] - low).tolist()))
    return chosen, left_out


def _choose_rows(records: Sequence[CropRecord], choice: Choice) -> list[CropRecord]:
    inside = [record for record in records if record.split in choice.splits]
    return [inside[i] for i in choice.draw(len(inside))]


def _records(fields: Sequence[WhiteCells], taken: Sequence[Sequence[CropRecord]], contract: CropContract) -> Iterator[CropRecord]:
    for cells in fields:
        yield from cut(cells, contract)
    for rows in taken:
        yield from rows


def _count(cells: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, dict[str, int]]]:
    """Set → split → label → number of crops."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for (name, split, label), n in sorted(Counter(cells).items()):
        counts.setdefault(name, {}).setdefault(split, {})[label] = n
    return counts


def _describe(abouts: Sequence[dict[str, Any]], counts: Mapping[str, Any], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """The manifest's account of the sets, of what was taken of each, and of what was left out where."""
    missed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    notes: defaultdict[str, list[str]] = defaultdict(list)
    for item in left_out:
        missed[item.set_name][item.why] += item.n
        notes[f"white cell left out, {item.why}"] += [item.file] * item.n
    sets = [about | {"crops": counts.get(about["name"], {}), "left_out": dict(missed[about["name"]])} for about in abouts]
    licences = sorted({str(about["licence"]) for about in abouts})
    return {"source": ", ".join(about["name"] for about in abouts), "licence": ", ".join(licences), "sets": sets, "notes": dict(notes)}


if __name__ == "__main__":
    raise SystemExit(main())
