"""`python -m smear analyze | evaluate | export | regress | card | doctor`: what users type, what they see, and the exit codes."""

import sys
from collections.abc import Sequence

from smear.arguments import make_parser
from smear.commands import MISTAKE, STOPPED, open_command
from smear.errors import SmearError
from smear.quiet import silence


def main(argv: Sequence[str] | None = None) -> int:
    """0 all well, 1 some fields failed (named), 2 a mistake in the request (one line)."""
    silence()
    options = make_parser().parse_args(argv)
    try:
        return open_command(options.command)(options)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, run the same command again to go on", file=sys.stderr)
        return STOPPED
    except OSError as error:  # disk full or a folder taken away while writing; the finished fields stay
        print(
            f"error: {error.filename or 'output'}: {error.strerror}; what was finished is kept, run the same command again", file=sys.stderr
        )
        return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
