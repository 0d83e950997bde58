"""`python -m benchmarks`: paint fields, race our line against what people write and against the bare machine, print and keep the ratios."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import regression
from benchmarks.contest import Bench
from benchmarks.fields import FULL, QUICK, Kind
from benchmarks.machine import alone
from benchmarks.measure import measure_all
from benchmarks.tables import render, write_between
from smear.build import open_models
from smear.errors import ConfigError, SmearError
from smear.files import write_atomic
from smear.quiet import silence
from smear.settings import AnalyzeSettings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "performance.md"
OUT = Path("out/bench")
MAIN, QUICK_MAIN = "2592x1944-12", "quick-960x720-2"
ROUNDS, QUICK_ROUNDS = 5, 1
BUSY = 0.25  # load per core above which the numbers are worth little


def main(argv: Sequence[str] | None = None) -> int:
    """0 all well, 1 a ratio fell below what is committed, 2 a mistake in the request (one line)."""
    silence()
    options = _parser().parse_args(argv)
    try:
        report = _read(options.read) if options.read else _measured(options)
        return _conclude(options, report)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    out = options.out or (OUT / "quick" if options.quick else OUT)
    with alone(out):
        return _measure(options, out)


def _measure(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    if options.repeats is not None and options.repeats < 1:
        raise ConfigError(f"--repeats: must be at least 1, got {options.repeats}")
    kinds, main_kind, exports = (QUICK, QUICK_MAIN, ()) if options.quick else (_kinds(options.kind), MAIN, ("openvino", "onnx"))
    rounds = options.repeats or (QUICK_ROUNDS if options.quick else ROUNDS)
    cache = out / "cache"
    shutil.rmtree(cache, ignore_errors=True)  # `auto` measures anew, in the quiet of this run, and remembers for the starts that are timed
    os.environ["LEUKOFIELD_CACHE"] = str(cache.resolve())
    bench = Bench(out, open_models(AnalyzeSettings(runtime=options.runtime)), rounds, options.runtime)
    report = measure_all(
        bench,
        kinds,
        main=main_kind,
        exports=exports,
        judged=not options.quick,
        say=lambda text: print(f"… {text}", file=sys.stderr, flush=True),
    )
    write_atomic(out / "bench.json", json.dumps(report, indent=1) + "\n")
    return report


def _kinds(names: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds asked for, and always the one that runtimes and stages are compared on."""
    unknown = set(names) - {kind.name for kind in FULL}
    if unknown:
        raise ConfigError(f"--kind: must be one of {', '.join(kind.name for kind in FULL)}, got {sorted(unknown)[0]!r}")
    return tuple(kind for kind in FULL if not names or kind.name in (*names, MAIN))


def _conclude(options: argparse.Namespace, report: dict[str, Any]) -> int:
    print(render(report))
    if report["load_before"] > BUSY:
        load = f"load {report['load_before']:.2f} a core"
        print(f"\nnote: others were working here ({load}); measure again when it is quiet", file=sys.stderr)
    if options.write_docs:
        write_between(DOCS, render(report))
    if options.accept:
        write_atomic(regression.EXPECTED, json.dumps(regression.expectation(report), indent=1) + "\n")
    return _check(report) if options.check else 0


def _check(report: dict[str, Any]) -> int:
    expected = regression.read_expected()
    different = regression.other_machine(report, expected)
    if different:
        print(f"note: not the machine of {regression.EXPECTED.name} ({different}); ratios travel, but not far", file=sys.stderr)
    found = regression.falls(report, expected)
    for fall in found:
        print(f"slower: {fall}", file=sys.stderr)
    return 1 if found else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read it ({error}); run `make bench` first") from error
    return found


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").strip())
    made.add_argument("--out", type=Path, metavar="DIR", help=f"fields, peers and bench.json (default {OUT}, {OUT}/quick with --quick)")
    made.add_argument("--quick", action="store_true", help="one small kind of field, once: to see that it runs")
    made.add_argument("--repeats", type=int, metavar="N", help=f"rounds (default {ROUNDS})")
    made.add_argument("--kind", action="append", default=[], metavar="NAME", help=f"only these fields, and {MAIN} (default all)")
    made.add_argument("--runtime", default="auto", help="of our line (default auto)")
    made.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, take this bench.json")
    committed = f"benchmarks/{regression.EXPECTED.name}"
    made.add_argument("--check", action="store_true", help=f"exit code 1 when a ratio is lower than {committed} allows")
    made.add_argument("--accept", action="store_true", help=f"write the ratios to {committed}")
    made.add_argument("--write-docs", action="store_true", help="write the tables to docs/performance.md")
    return made


if __name__ == "__main__":
    sys.exit(main())
