"""`python -m smear export`: the results of an analysis in the formats of other tools, or a model bundle in another precision."""

import argparse

from smear.commands import OK
from smear.commands.said import say_written
from smear.errors import ConfigError
from smear.exports import FOLDER, parse_formats
from smear.exports.read import read_outcomes
from smear.exports.write import export
from smear.models import CARD_NAME
from smear.types import FieldFailure


def export_command(options: argparse.Namespace) -> int:
    """Write what an earlier analysis found, where nothing is analysed; or a variant of a model (`smear.commands.export_variant`).

    Raises:
        ConfigError: neither was asked for, or both.
    """
    if options.runtime or (options.folder / CARD_NAME).is_file():
        return _export_model(options)
    if not options.to:
        raise ConfigError(f"export {options.folder}: --to is missing; say which formats, such as --to coco")
    formats = parse_formats(options.to)
    outcomes = read_outcomes(options.folder)
    out = options.out or options.folder / FOLDER
    say_written(export(outcomes, out, formats, images=options.images, with_images=options.with_images))
    failed = [o for o in outcomes if isinstance(o, FieldFailure)]
    print(f"{len(outcomes) - len(failed)} fields" + (f"; {len(failed)} that failed are not among them" if failed else ""))
    return OK


def _export_model(options: argparse.Namespace) -> int:
    if not options.runtime or options.to:
        raise ConfigError(f"export {options.folder}: a model needs --runtime with --bf16, --fp16 or --int8, and takes no --to")
    from smear.commands.export_variant import export_variant_command

    return export_variant_command(options)
