"""Measure the crops of a table: `python -m classification.features --data crops.csv --out features.parquet`. Research use only."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from classification.crops import CropTable, label_names, read_crops
from classification.features.families import FAMILIES as KNOWN
from classification.features.families import HANDCRAFTED, SETS, feature_names
from classification.features.files import Measured, join, measure_files
from classification.features.parquet import write_features
from classification.refusals import refusal
from smear.errors import AnnotationError, ConfigError, SmearError
from smear.line import n_cores

SIZE = 224  # side of a crop where nothing else is asked for, pixels


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: done, but crops could not be read; 2: a mistake of the user."""
    options = _parse(argv)
    try:
        if options.imgsz < 16 or options.workers < 0:
            raise ConfigError(f"--imgsz must be at least 16 and --workers at least 0, got {options.imgsz} and {options.workers}")
        names = feature_names(options.families)
        table = read_crops(options.data, _labels(options.data, options.label_column), label_column=options.label_column)
        with tqdm(total=len(table), desc="features", unit="crop", disable=options.quiet) as bar:
            parts = []
            for part in measure_files(table.paths, options.families, size=options.imgsz, workers=options.workers):
                parts.append(part)
                bar.update(len(part.errors))
        measured = join(parts, names)
        write_features(options.out, table, measured, families=options.families, size=options.imgsz)
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out)}", file=sys.stderr)
        return 2
    return _conclude(options.out, table, measured)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m classification.features", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="one crops table or more")
    parser.add_argument("--out", type=Path, required=True, metavar="FEATURES.PARQUET")
    known = ", ".join([*KNOWN, *SETS])
    parser.add_argument("--families", default=",".join(HANDCRAFTED), metavar="A,B", help=f"of {known} (default: all but raw_pixels)")
    parser.add_argument("--imgsz", type=int, default=SIZE, metavar="PX", help=f"side that crops are brought to (default {SIZE})")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--workers", type=int, default=n_cores(), metavar="N", help="processes; 0: none but this (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(argv)


def _labels(tables: Sequence[Path], column: str) -> list[str]:
    """The values of the label column in all tables, sorted."""
    found = label_names(tables, column)
    if "" in found:
        raise AnnotationError(f"{', '.join(map(str, tables))}: {column}: is empty in some rows; every crop needs a label")
    return sorted(found)


def _conclude(out: Path, table: CropTable, measured: Measured) -> int:
    print(f"{len(table)} crops, {len(measured.names)} features: {out}")
    for text in sorted({text for row in measured.warnings for text in row}):
        print(f"warning: {text}: {sum(text in row for row in measured.warnings)} crops", file=sys.stderr)
    failed = [error for error in measured.errors if error is not None]
    for error in failed:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
