"""Networks compiled before, in the cache folder: by a hash of all they depend on, and with a hash of their own bytes."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smear.files import write_atomic
from smear.quiet import cache_root

KEPT = 16  # files, of 10 to 60 MB each; the one not used for longest goes first
SUFFIX = ".compiled"
_DIGEST_BYTES = hashlib.sha256().digest_size


def place(kind: str, parts: Mapping[str, Any]) -> Path:
    """Where a network of that kind, compiled from these parts (plain JSON values), is kept."""
    digest = hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()
    return cache_root() / kind / f"{digest}{SUFFIX}"


def recall(path: Path) -> bytes | None:
    """What `keep` wrote; None when it is not there or not what was written."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
            return None
        path.touch()  # used now
    except OSError:
        return None
    return data[_DIGEST_BYTES:]


def keep(path: Path, blob: bytes) -> None:
    """Write a compiled network; a folder that cannot be written keeps nothing, and says nothing."""
    try:
        write_atomic(path, hashlib.sha256(blob).digest() + blob)
        by_age = sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda p: p.stat().st_mtime)
        for old in by_age[:-KEPT]:
            old.unlink()
    except OSError:
        return
