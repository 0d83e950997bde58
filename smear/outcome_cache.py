"""Outcomes of fields that are known by their bytes alone: a long run that is killed does not analyse them again."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from smear.files import Content, pieces, write_atomic
from smear.report.records import from_json, to_json
from smear.types import Field, FieldResult, Image, Outcome


class OutcomeCache:
    """One file an outcome below `folder`, named by the hash of the field's bytes, its pixel size and `key` (models and settings)."""

    def __init__(self, folder: Path, *, key: str) -> None:
        self._folder, self._key = folder, key
        self._paths: dict[Path, Path] = {}

    def recall(self, field: Field, data: Content) -> Outcome | None:
        """The outcome of the same bytes; None when there is none, or it is damaged."""
        digest = hashlib.sha256(f"{self._key} {field.page} {field.um_per_px} ".encode())
        for piece in pieces(data):
            digest.update(piece)
        path = self._paths[field.path] = self._folder / f"{digest.hexdigest()}.json"
        try:
            known = from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        return replace(known, field=field) if isinstance(known, FieldResult) else None

    def keep(self, outcome: Outcome, image: Image | None) -> None:
        """Write what was found; failures are tried again."""
        if isinstance(outcome, FieldResult):
            write_atomic(self._paths[outcome.field.path], json.dumps(to_json(outcome), allow_nan=False) + "\n")
