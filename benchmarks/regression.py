"""Has anything become slower: the ratios of a run against the committed ones, each with its tolerance."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPECTED = Path(__file__).parent / "expected.json"
RATIOS = ("ratio_naive", "ratio_export", "ratio_sahi", "fraction_of_ceiling", "auto")  # higher is better in all of them
TOLERANCE = 0.15  # of the committed ratio: what two quiet runs on one machine differ by, and some


@dataclass(frozen=True)
class Fall:
    """A ratio that is lower than the committed one allows; `got` None: it was not measured."""

    name: str
    least: float
    got: float | None

    def __str__(self) -> str:
        return f"{self.name}: {'not measured' if self.got is None else f'{self.got:.3g}'}, at least {self.least:.3g} was expected"


def flatten(report: Mapping[str, Any]) -> dict[str, float]:
    """Every ratio of a report by its dotted name; of a spread its median."""
    return {name: value for key in RATIOS for name, value in _leaves(key, report.get(key, {}))}


def expectation(report: Mapping[str, Any], *, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """What to commit of a report: its ratios, the tolerance, and the machine that they were measured on."""
    return {"machine": report["machine"], "tolerance": tolerance, "ratios": flatten(report)}


def falls(report: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[Fall, ...]:
    """The committed ratios that the report does not reach, less the tolerance."""
    got = flatten(report)
    least = {name: value * (1 - expected["tolerance"]) for name, value in expected["ratios"].items()}
    return tuple(Fall(name, bound, got.get(name)) for name, bound in least.items() if not got.get(name, float("-inf")) >= bound)


def other_machine(report: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """What makes the two machines incomparable, in words; None when nothing does."""
    for key in ("cores", "processor", "instructions", "gpus"):
        if report["machine"][key] != expected["machine"][key]:
            return f"{key}: measured on {report['machine'][key]!r}, expected for {expected['machine'][key]!r}"
    return None


def read_expected(path: Path | None = None) -> dict[str, Any]:
    """The committed ratios."""
    found: dict[str, Any] = json.loads((path or EXPECTED).read_text(encoding="utf-8"))
    return found


def _leaves(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
    elif isinstance(value, Mapping) and "median" in value:
        yield name, float(value["median"])
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
