"""All measurements of one run, in order, as one report: plain JSON values, ratios with their spread."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks import gpu, machine
from benchmarks.contest import ALL_CORES, MODES, OURS, SAHI, SCRIPT, Bench, Contest, contest, contest_sliced
from benchmarks.fields import Kind, repeated
from benchmarks.goals import goals
from benchmarks.ours import runtimes_by_hand
from benchmarks.stages import Stages, time_stages
from benchmarks.startup import seconds_of_help, seconds_to_first_field
from benchmarks.timing import ratio, spread

Say = Callable[[str], None]
SCHEMA = 1


def measure_all(bench: Bench, kinds: tuple[Kind, ...], *, main: str, exports: tuple[str, ...], judged: bool, say: Say) -> dict[str, Any]:
    """Everything, kind by kind; `main` is the kind for which runtimes, stages and SAHI are compared, `say` hears what is done next.

    Args:
        judged: these are the kinds that the goals were stated for.

    Returns:
        ratio_naive, ratio_export: by kind and contestant, how many times the script's fields a second ours is. ratio_sahi.
        fraction_of_ceiling: by kind. auto: picked runtimes and their speed over the best one's by hand. stages: milliseconds a field.
        fields_per_second, same_cells, startup, gpu, machine. goals: what was asked, and whether it was reached.
    """
    started, load = time.perf_counter(), machine.busy()
    contests = {}
    for kind in kinds:
        say(f"{kind.name}: our line and the script")
        is_main = kind.name == main
        contests[kind.name] = contest(bench, kind, exports=exports if is_main else (), every_runtime=is_main)
    chosen = next(kind for kind in kinds if kind.name == main)
    say(f"{main}: SAHI")
    sliced = contest_sliced(bench, chosen)
    stages = {}
    for kind in {k.name: k for k in (kinds[0], chosen)}.values():
        say(f"{kind.name}: stages")
        stages[kind.name] = _stages(bench, kind)
    say("start")
    startup = _startup(bench, kinds[0])
    say("GPU")
    report = {
        "schema": SCHEMA,
        "main": main,
        "rounds": bench.rounds,
        "machine": machine.describe(),
        "load_before": load,
        "ratio_naive": {name: _ratios(c) for name, c in contests.items()},
        "ratio_export": {name: _exports(c) for name, c in contests.items() if _exports(c)},
        "ratio_sahi": _sliced_ratios(sliced),
        "fraction_of_ceiling": {name: _fractions(s) for name, s in stages.items()},
        "auto": _auto(contests[main]),
        "picked": contests[main].runtimes,
        "runtimes": list(runtimes_by_hand(bench.opened)),
        "fields_per_second": {name: {who: s.as_json() for who, s in c.rates().items()} for name, c in contests.items()},
        "sahi_seconds": {name: spread(values).as_json() for name, values in sliced.items()},
        "stages": {name: _milliseconds(s) for name, s in stages.items()},
        "same_cells": {name: c.same_cells for name, c in contests.items()},
        "startup": startup,
        "gpu": gpu.measure(bench, (kinds[0], chosen)),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return {**report, "goals": goals(report) if judged else []}


def _ratios(found: Contest) -> dict[str, Any]:
    """Against the script at the same input scale: each mode, each runtime; and our line against other forms of the script."""
    ours = {name: found.ratio(SCRIPT, name).as_json() for name in found.seconds if name.startswith(OURS)}
    others = {f"{OURS} / {name}": found.ratio(name).as_json() for name in found.seconds if name.endswith((" px", ALL_CORES))}
    return ours | others


def _sliced_ratios(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Against SAHI as it comes, and with all cores."""
    ours = [name for name in seconds if name.startswith(OURS)]
    plain = {name: ratio(seconds[SAHI], seconds[name]).as_json() for name in ours}
    return plain | {f"{name} / {SAHI}{ALL_CORES}": ratio(seconds[f"{SAHI}{ALL_CORES}"], seconds[name]).as_json() for name in ours}


def _exports(found: Contest) -> dict[str, Any]:
    return {name: found.ratio(name).as_json() for name in found.seconds if name.endswith("export")}


def _auto(found: Contest) -> dict[str, Any]:
    """How fast `auto` is, as a share of the fastest runtime by hand; 1 is as fast."""
    by_hand = {name: spread(values).median for name, values in found.seconds.items() if name.startswith(OURS) and name not in MODES}
    if not by_hand:
        return {}
    best = min(by_hand, key=lambda name: by_hand[name])
    return {"best": best.removeprefix(f"{OURS}, "), "share_of_best": found.ratio(best).as_json()}


def _stages(bench: Bench, kind: Kind) -> Stages:
    fields = bench.fields(kind)
    return time_stages(
        bench.lines(), repeated(fields, len(fields)), repeated(fields, kind.n_timed), bench.out / "runs", rounds=bench.rounds
    )


def _fractions(found: Stages) -> dict[str, Any]:
    whole = {name: found.fraction(name).as_json() for name in found.lines}
    return {"slowest": found.slowest, **whole, **{f"{name}, of the sum": found.fraction_of_sum(name).as_json() for name in found.lines}}


def _milliseconds(found: Stages) -> dict[str, Any]:
    def told(values: list[float]) -> dict[str, Any]:
        return spread([s * 1e3 for s in values]).as_json()

    bare = {name: {"bare_ms": told(values)} for name, values in found.bare.items()}
    return {name: {"ours_ms": told(values), **bare.get(name, {})} for name, values in found.ours.items()}


def _startup(bench: Bench, kind: Kind) -> dict[str, Any]:
    fields = [replace(field, id=field.path.name) for field in bench.fields(kind)[:2]]
    rounds = range(max(1, min(bench.rounds, 3)))
    found = {}
    for name, given in (("first field, scale given", True), ("first field, scale measured", False)):
        seconds_to_first_field(fields, bench.out / "runs" / "start", given=given)  # fills the caches
        found[name] = spread([seconds_to_first_field(fields, bench.out / "runs" / "start", given=given) for _ in rounds]).as_json()
    seconds_of_help()
    return {**found, "help": spread([seconds_of_help() for _ in rounds]).as_json()}
