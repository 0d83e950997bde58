"""The output folder of an analysis, read back: the outcomes that its `report.json` is about."""

import json
from pathlib import Path
from typing import Any

from smear.errors import ConfigError
from smear.report.records import from_json
from smear.types import Outcome


def read_outcomes(out: Path) -> list[Outcome]:
    """The outcomes of the last finished run in `out`, sorted by field id; records that an earlier run left there are passed over.

    Raises:
        ConfigError: there is no finished run, or the record of one of its fields is missing or damaged.
    """
    report = _read(out / "report.json", "run the analysis to its end first")
    try:
        wanted = sorted(str(row["field"]) for row in [*report["fields"], *report["failures"]])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{out / 'report.json'}: not a report of ours ({error!r}); run the analysis again") from error
    found: dict[str, Outcome] = {}
    for path in sorted((out / "fields").rglob("*.json")):
        try:
            outcome = from_json(_read(path, "run the analysis again"))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}; run the analysis again") from error
        found[outcome.field.id] = outcome
    missing = [name for name in wanted if name not in found]
    if missing:
        n = f"{len(missing)} of {len(wanted)} fields"
        raise ConfigError(f"{out / 'fields'}: {n} have no record, {missing[0]} first; run the analysis again")
    return [found[name] for name in wanted]


def _read(path: Path, advice: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it ({error.strerror}); {advice}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}); {advice}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected an object, got {type(content).__name__}; {advice}")
    return content
