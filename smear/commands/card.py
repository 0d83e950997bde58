"""`python -m smear card`: the model card of a bundle, as a page and JSON, with the open items of CLAIM 2024 and TRIPOD+AI."""

import argparse

from smear.bundles import record_answers
from smear.cards import parse_answers, write_cards
from smear.commands import OK
from smear.models import open_bundle


def card_command(options: argparse.Namespace) -> int:
    """Record the answers that were given, write the card, print what is open."""
    if options.answer:
        record_answers(options.bundle, parse_answers(options.answer))
    record = write_cards(options.bundle, open_bundle(options.bundle).card, out=options.out)
    for checklist in record["checklists"].values():
        print(f"{checklist['name']}: " + ", ".join(f"{n} {status}" for status, n in checklist["counts"].items()))
    print(f"model card: {(options.out or options.bundle) / 'card.html'}")
    return OK
