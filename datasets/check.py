"""Audit a folder of images before anything is learnt from it: leaks, twins, wrong labels, odd images, how its classes are spread.

The folder is a prepared set (data.yaml), a crops table (crops.csv), a Pascal VOC folder, or just images with or without labels beside
them. Nothing in it is changed. The exit code is 1 when a split leaks, 2 for a mistake in the request, else 0.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import audit_page, convert, data_card, leaks
from datasets.audit import audit
from datasets.listing import list_images
from smear.errors import SmearError
from smear.report.records import jsonable


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.check", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("folder", type=Path, help="a prepared set, a crops table, a VOC folder, or any folder of images")
    made.add_argument("--against", type=Path, nargs="*", default=[], metavar="DIR", help="further sets to look for twins in")
    made.add_argument("--out", type=Path, metavar="DIR", help="where check.json and check.html go")
    made.add_argument("--probabilities", type=Path, metavar="CSV", help="predictions of a crops table, one column a class: better doubts")
    made.add_argument("--card", action="store_true", help="also write what was found into the data card of a prepared set")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = made.parse_args(argv)
    try:
        report = audit(arguments.folder, arguments.against, probabilities=arguments.probabilities, progress=not arguments.quiet)
        if arguments.out:
            text = json.dumps(jsonable(report), indent=1, ensure_ascii=False) + "\n"
            convert.write_changed(arguments.out / "check.json", text.encode("utf-8", "replace"))
            convert.write_changed(arguments.out / "check.html", audit_page.render(report).encode("utf-8", "replace"))
        if arguments.card:
            data_card.write_card(list_images(arguments.folder).root, audit=report)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print("\n".join(describe(report)))
    return 1 if report["leaks"] else 0


def describe(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines: leaks first, then twins by kind and splits, then problems by kind."""
    twins, doubts = report["twins"], report["suspects"]
    lines = [f"{report['n_images']} images, {len(twins)} pairs of twins, {report['leaks']} leaks"]
    lines += [f"leak: {what}: {n}" for what, n in report["leaks_by"].items() if n]
    lines += [f"{n:6d}  {kind:5s}  {splits}" for kind, splits, n in leaks.count_pairs(twins)]
    n_contrary = sum("labels" in row for row in twins)
    lines += [f"{n_contrary:6d}  twins labelled differently"] if n_contrary else []
    for part in ("images", "labels"):
        kinds = Counter(problem["problem"] for problem in report[part]["problems"])
        lines += [f"{n:6d}  {part}: {kind}" for kind, n in sorted(kinds.items())]
    told = doubts["found"] is not None
    return [*lines, f"{len(doubts['found']):6d}  suspected label errors" if told else f"suspected labels not told: {doubts['why_not']}"]


if __name__ == "__main__":
    raise SystemExit(main())
