"""A report as Markdown tables, for the terminal and for docs/performance.md, where they stand between two marks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: written by `python -m benchmarks --write-docs` -->", "<!-- end of measured -->"


def render(report: Mapping[str, Any]) -> str:
    """All tables of a report."""
    parts = [
        _machine(report),
        _title("What was asked", _goals(report["goals"])),
        _title("Fields per second", _rates(report)),
        _title("Times as fast as the script", _ratios(report, "ratio_naive")),
        _title("Times as fast as the script on ultralytics' own exports", _ratios(report, "ratio_export")),
        _title("Times as fast as SAHI, detection alone", _pairs(report["ratio_sahi"])),
        _title("The whole line as a share of its ceiling", _fractions(report)),
        _title("Stages, milliseconds a field on all cores", _stages(report)),
        _title("Start, seconds", _pairs(report["startup"])),
        _title("GPU", _gpu(report["gpu"])),
    ]
    return "\n\n".join(parts)


def write_between(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: the page has no marks.
    """
    page = path.read_text(encoding="utf-8")
    head, found, rest = page.partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path}: has no {begin!r} … {end!r}")
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def _title(title: str, body: str) -> str:
    return f"**{title}**\n\n{body}"


def _machine(report: Mapping[str, Any]) -> str:
    about = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
    instructions = ", ".join(about["instructions"]).upper().replace("_", "-")
    gpus = ", ".join(about["gpus"]) or "no GPU"
    picked = ", ".join(f"{task}: {name}" for task, name in report["picked"].items())
    found = report["auto"]
    auto = f"; {found['share_of_best']['median']:.2f} of the speed of the best by hand ({found['best']})" if found else ""
    return (
        f"{about['cores']} cores of {about['processor']} ({instructions}), {about['memory_gb']:.0f} GB, {gpus}; "
        f"Python {about['python']}, {versions}. {report['rounds']} rounds; load before the start {report['load_before']:.2f} a core. "
        f"`--runtime auto` picked {picked}{auto}."
    )


def _goals(found: Sequence[Mapping[str, Any]]) -> str:
    reached = {True: "yes", False: "no", None: ""}
    return _table(("", "wanted", "measured", "reached"), [(g["name"], _wanted(g), f"{g['got']:.3g}", reached[g["reached"]]) for g in found])


def _wanted(goal: Mapping[str, Any]) -> str:
    return f"≥ {goal['least']:g}" if "least" in goal else f"< {goal['most']:g}" if "most" in goal else ""


def _rates(report: Mapping[str, Any]) -> str:
    kinds = report["fields_per_second"]
    names = list(dict.fromkeys(name for kind in kinds.values() for name in kind))
    rows = [(name, *(_spread(kind[name]) if name in kind else "" for kind in kinds.values())) for name in names]
    return _table(("", *kinds), rows)


def _ratios(report: Mapping[str, Any], key: str) -> str:
    kinds = report[key]
    names = list(dict.fromkeys(name for kind in kinds.values() for name in kind))
    return _table(("", *kinds), [(name, *(_spread(kind[name]) if name in kind else "" for kind in kinds.values())) for name in names])


def _fractions(report: Mapping[str, Any]) -> str:
    kinds = report["fraction_of_ceiling"]
    names = [name for name in next(iter(kinds.values())) if name != "slowest"]
    rows = [("slowest bare stage", *(kind["slowest"] for kind in kinds.values()))]
    return _table(("", *kinds), rows + [(name, *(_spread(kind[name]) for kind in kinds.values())) for name in names])


def _stages(report: Mapping[str, Any]) -> str:
    kinds = report["stages"]
    names = list(next(iter(kinds.values())))
    header = [f"{kind}, {what}" for kind in kinds for what in ("ours", "bare")]
    rows = [(n, *(_ms(kind[n], what) for kind in kinds.values() for what in ("ours_ms", "bare_ms"))) for n in names]
    return _table(("stage", *header), rows)


def _pairs(found: Mapping[str, Any]) -> str:
    return _table(("", "median (extremes)"), [(name, _spread(s)) for name, s in found.items()])


def _ms(stage: Mapping[str, Any], what: str) -> str:
    return f"{stage[what]['median']:.1f}" if what in stage else ""


def _gpu(found: Mapping[str, Any]) -> str:
    if "skipped" in found:
        return f"{found['skipped']}."
    rows = []
    for kind, one in found.items():
        rows += [(kind, f"fields per second, {name}", _spread(s)) for name, s in one["fields_per_second"].items()]
        rows += [(kind, f"share of the bare `{one['slowest']}`", _spread(one["fraction_of_ceiling"]))]
        busy = "unknown" if one["device_busy"] is None else f"{one['device_busy']:.2f}"
        rows += [(kind, "share of the time that the device is busy", busy)]
    return _table(("", "", "median (extremes)"), rows)


def _spread(found: Mapping[str, Any]) -> str:
    """Median and, where they differ, the extremes."""
    if found["n"] == 1 or found["low"] == found["high"]:
        return f"{found['median']:.3g}"
    return f"{found['median']:.3g} ({found['low']:.3g} – {found['high']:.3g})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "not measured"
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
