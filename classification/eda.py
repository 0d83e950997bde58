"""`python -m classification.eda --data crops.csv --out OUT`: what a set of crops is like, before anything learns from it.

What a model could cheat with (class by stain, source, size or colour), what leaks (twins in two splits), what contradicts itself
(twins under two labels, labels in doubt) and what is odd; then how classes, sizes and colours are spread, and maps by PCA and UMAP.
Without the package umap-learn (extra `explain`) or cleanlab (extra `audit`) everything else is made, and the page says what to install.

OUT/eda.html shows it on one page. OUT/eda.csv has one row a crop (`exploration.rows.COLUMNS`). OUT/eda.json, schema 1:

- `answer` (`verdict`, `said`), `classes`, `n`, `n_per_class`, `n_groups`, `group` (the column), `made_stains`, `families`, `n_features`,
  `seed`, `warnings`, `dropped` (`file`, `error`), `about` (command, versions, git, hashes of the data);
- `spread`: `split`, `source`, `stain` (counts by class), `groups`; `sizes` and `colours`: quantiles and histograms;
- `clues`: `exploration.clues.find_clues`; `twins`: `exploration.copies`; `odd`; `suspects`: `exploration.doubts.find_doubts`;
- `maps`: what PCA explains, its loadings, and why there is no UMAP (None: there is one).
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from classification.exploration import MAP_CELLS, STAINS
from classification.refusals import refusal
from smear.errors import SmearError
from smear.files import write_atomic
from smear.line import n_cores

SCHEMA = 1


def eda(options: argparse.Namespace, *, command: str, progress: bool = False) -> dict[str, Any]:
    """What the command does, up to printing; returns what it wrote as `eda.json`.

    Raises:
        SmearError: the request or the tables are wrong.
        OSError: OUT cannot be written.
    """
    from classification.exploration.crops import read_all
    from classification.exploration.numbers import FAMILIES, measure
    from classification.exploration.page import Places, picture_cells, render_page, values_of
    from classification.exploration.report import explore
    from classification.exploration.rows import eda_csv
    from classification.readable import bar
    from classification.run_folder import describe_run
    from classification.settings import TrainSettings
    from smear.report.records import jsonable

    def watch(items: Iterable[Any], what: str, n: int | None = None) -> Iterable[Any]:
        return bar(what, shown=progress)(items, n)

    families = [name.strip() for name in options.families.split(",")] if options.families else FAMILIES
    crops = read_all(
        options.data,
        label_column=options.label_column,
        group=options.group,
        max_cells=options.max_cells,
        n_stains=options.stains,
        seed=options.seed,
        watch=bar("crops", shown=progress),
    )
    numbers = measure(crops, families, workers=options.workers, watch=watch)
    found = explore(crops, numbers, map_cells=options.map_cells, seed=options.seed, watch=watch)
    about = describe_run(command, TrainSettings(seed=options.seed), crops.table.about)
    report = jsonable({"schema": SCHEMA, **found.report, "about": about})
    places = Places(found.pca[found.drawn], found.umap[found.drawn], values_of(crops, found.drawn))
    write_atomic(options.out / "eda.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_atomic(options.out / "eda.csv", eda_csv(crops, numbers, found))
    write_atomic(options.out / "eda.html", render_page(report, places, picture_cells(report, crops.table.paths)))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    command = shlex.join(["python", "-m", "classification.eda", *(sys.argv[1:] if argv is None else argv)])
    try:
        found = eda(options, command=command, progress=True)
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out)}", file=sys.stderr)
        return 2
    print(found["answer"]["verdict"])
    for line in found["answer"]["said"]:
        print(f"{'! ' if line['kind'] == 'open' else '  '}{line['text']}")
    for told in found["warnings"]:
        print(f"warning: {told}", file=sys.stderr)
    print(f"page: {options.out / 'eda.html'}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m classification.eda", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="one crops table or more, used together")
    parser.add_argument("--out", type=Path, default=Path("runs/eda"))
    parser.add_argument(
        "--group", help="column that says which crops belong together (default: the first known of patient, slide, group, field)"
    )
    parser.add_argument("--label-column", default="label")
    parser.add_argument(
        "--families", metavar="A,B", help="of classification.features, besides shapes and colours (default: statistics, glcm)"
    )
    parser.add_argument("--max-cells", type=int, metavar="N", help="draw so many crops, every group keeping its share")
    parser.add_argument("--map-cells", type=int, default=MAP_CELLS, metavar="N", help=f"on the maps, at most (default {MAP_CELLS})")
    parser.add_argument("--stains", type=int, default=STAINS, metavar="K", help=f"clusters where no stain is said (default {STAINS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=n_cores(), metavar="N", help="processes; 0: none but this (default: one a core)")
    options = parser.parse_args(argv)
    for name, least in (("max_cells", 1), ("map_cells", 1), ("stains", 1), ("seed", 0), ("workers", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')}: must be at least {least}, got {value}")
    return options


if __name__ == "__main__":
    sys.exit(main())
