"""`python -m smear regress`: two bundles of one task on a labelled set, number by number and cell by cell."""

import argparse
import json
from functools import partial

from tqdm import tqdm

from smear import annotations
from smear.commands import OK, SOME_FAILED
from smear.commands.request import settings_of
from smear.files import write_atomic
from smear.regress import compare, freeze, gather, open_sides, result_lines
from smear.report.records import jsonable
from smear.rule import Rule


def regress_command(options: argparse.Namespace) -> int:
    """Compare, write `regress.json`, print the table; 1 when the new bundle is worse."""
    settings = settings_of(options)
    frozen = freeze(annotations.read_data_yaml(options.data), options.split, expect=options.expect)
    role, *sides = open_sides(settings, options.old, options.new)
    n_fields = len(frozen.labelled.fields)
    runs = [
        gather(side, frozen.labelled, progress=partial(tqdm, total=n_fields, desc=name, unit="field"))
        for name, side in zip(("old", "new"), sides, strict=True)
    ]
    rule = Rule(options.tolerance, options.certain, options.resamples, options.seed)
    result = compare(frozen, *runs, role=role, rule=rule)
    write_atomic(options.out / "regress.json", json.dumps(jsonable(result), indent=1, allow_nan=False) + "\n")
    print("\n".join(result_lines(result)))
    print(f"result: {options.out / 'regress.json'}")
    return SOME_FAILED if result["regressions"] else OK
