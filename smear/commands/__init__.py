"""What `python -m smear` can do, by name: one table; a command is imported when it was typed, and nothing else is."""

import argparse
from collections.abc import Callable, Mapping
from importlib import import_module

COMMANDS: Mapping[str, str] = {  # name → "module:function" of run(options) -> exit code
    "analyze": "smear.commands.analyze:analyze_command",
    "evaluate": "smear.commands.evaluate:evaluate_command",
    "regress": "smear.commands.regress:regress_command",
    "card": "smear.commands.card:card_command",
    "export": "smear.commands.export:export_command",
    "doctor": "smear.commands.doctor:doctor_command",
}
OK, SOME_FAILED, MISTAKE = 0, 1, 2
STOPPED = 130  # by the user, as shells count it: 128 and the number of the signal


def open_command(name: str) -> Callable[[argparse.Namespace], int]:
    """The function that does what was typed and returns the exit code; `name` is one of `COMMANDS`."""
    module, _, function = COMMANDS[name].partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return command
