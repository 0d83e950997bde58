"""Writing files so that a killed run leaves the old file or the new one, never half of one."""

import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

Content = bytes | Callable[[], Iterable[bytes]]  # of a file: its bytes, or what reads them piece by piece


def pieces(content: Content) -> Iterable[bytes]:
    """The bytes of a file, in one piece or in several: what a hash is fed with."""
    return (content,) if isinstance(content, bytes) else content()


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` through a temporary file beside it; the folder is made when missing.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind and an old file stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}"  # short: the name itself may already be as long as a name can be
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
