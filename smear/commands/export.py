"""`python -m smear export`: the results of an analysis in the formats of other tools."""

import argparse

from smear.commands import OK
from smear.commands.said import say_written
from smear.exports import FOLDER, parse_formats
from smear.exports.read import read_outcomes
from smear.exports.write import export
from smear.types import FieldFailure


def export_command(options: argparse.Namespace) -> int:
    """Write what an earlier analysis found; nothing is analysed."""
    formats = parse_formats(options.to)
    outcomes = read_outcomes(options.folder)
    out = options.out or options.folder / FOLDER
    say_written(export(outcomes, out, formats, images=options.images, with_images=options.with_images))
    failed = [o for o in outcomes if isinstance(o, FieldFailure)]
    print(f"{len(outcomes) - len(failed)} fields" + (f"; {len(failed)} that failed are not among them" if failed else ""))
    return OK
