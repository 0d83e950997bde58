"""What a command says before and after its work."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smear.build import ROLES, Opened
from smear.commands import OK, SOME_FAILED


def say_runtimes(opened: Opened) -> None:
    """What each model runs on, and why."""
    for task, choice in opened.choices.items():
        print(f"{ROLES[task]}: {choice.text}")


def say_review(opened: Opened) -> None:
    """Which labels will be accepted, and a warning when none will be."""
    if opened.classifier:
        print(f"review: {opened.review.text}")
    if opened.review.warning:
        print(f"warning: {opened.review.warning}", file=sys.stderr)


def conclude(out: Path, report: dict[str, Any]) -> int:
    """How much was found, where it lies, and what failed; returns the exit code."""
    total = report["total"]
    print(f"{total['n_fields']} fields, {total['n_white']} white cells")
    if any((out / "annotated").iterdir()):
        print(f"annotated fields: {out / 'annotated'}")
    print(f"report: {out / 'report.html'}")
    for failure in report["failures"]:
        print(f"failed: {failure['error']}", file=sys.stderr)
    return SOME_FAILED if report["failures"] else OK


def say_written(written: Mapping[str, Path]) -> None:
    """Where each format lies."""
    for name, folder in written.items():
        print(f"{name}: {folder}")
