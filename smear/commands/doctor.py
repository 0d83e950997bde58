"""`python -m smear doctor`: is this installation fit for work."""

import argparse

from smear.commands import OK, SOME_FAILED
from smear.commands.request import ROOT
from smear.doctor import examine


def doctor_command(_: argparse.Namespace) -> int:
    """Print what was examined; 1 when something is not well."""
    lines, healthy = examine(ROOT / "models")
    print("\n".join(lines))
    return OK if healthy else SOME_FAILED
