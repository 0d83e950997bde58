"""A prepared set that was already made from the same inputs: told from its manifest, so that a second run costs nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any

from smear import annotations


def inputs_digest(**inputs: Any) -> str:
    """SHA-256 of everything that decides the result: file hashes, options, model hashes; keys in any order."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def is_finished(out: Path, inputs_sha256: str) -> bool:
    """Whether `out` was completely written from these inputs (`inputs_sha256` in its manifest) and every file is still there."""
    manifest = annotations.read_manifest(out)
    if not manifest or manifest.get("inputs_sha256") != inputs_sha256:
        return False
    return all((out / entry["file"]).is_file() for entry in manifest["files"])
