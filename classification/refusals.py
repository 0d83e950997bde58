"""What a command of this room says when it cannot go on, in one line."""

from pathlib import Path

from smear.errors import SmearError


def refusal(error: SmearError | OSError, out: Path, *, kept: str = "") -> str:
    """The mistake in words.

    Args:
        out: what could not be written, when it is an OSError. kept: what is not lost then, and how to go on.
    """
    if isinstance(error, SmearError):
        return str(error)
    return f"{out}: cannot write it ({error.strerror}){kept and f'; {kept}'}"
