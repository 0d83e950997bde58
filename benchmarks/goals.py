"""What was asked of the line on two CPU cores, and what a run reached."""

from collections.abc import Mapping
from typing import Any

from benchmarks.contest import ALL_CORES, OURS, SAHI, SCRIPT

SCRIPT_RATIO, SCRIPT_RATIO_PLAIN, SAHI_RATIO = 6.0, 4.0, 4.0
CEILING_SHARE, AUTO_SHARE = 0.75, 0.95
START_S, HELP_S = 3.0, 0.5


def goals(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal as name, least or most, got and reached (None: nothing was asked); what was not measured is left out.

    Spreads count by their median.
    """
    main = report["main"]
    naive = report["ratio_naive"][main]
    plain = [s["median"] for name, s in naive.items() if name.startswith(f"{OURS}, ") and _is_plain(name, report)]
    found = [
        _least(f"times as fast as the script, {main}", SCRIPT_RATIO, naive[OURS]["median"]),
        _told(f"the same given all cores, {main}", naive.get(f"{OURS} / {SCRIPT}{ALL_CORES}")),
        _least(f"the same by hand, without 8-bit networks, {main}", SCRIPT_RATIO_PLAIN, max(plain)) if plain else None,
        _least("times as fast as SAHI in the same windows", SAHI_RATIO, report["ratio_sahi"]["ours, same windows"]["median"]),
        _told("the same given all cores", report["ratio_sahi"].get(f"ours, same windows / {SAHI}{ALL_CORES}")),
        *(
            _least(f"share of the slowest bare stage, {kind}", CEILING_SHARE, told[OURS]["median"])
            for kind, told in report["fraction_of_ceiling"].items()
        ),
        _least("auto as a share of the best by hand", AUTO_SHARE, report["auto"]["share_of_best"]["median"]) if report["auto"] else None,
        *(_most(f"{name}, seconds", START_S, s["median"]) for name, s in report["startup"].items() if name != "help"),
        _most("smear --help, seconds", HELP_S, report["startup"]["help"]["median"]),
    ]
    return [goal for goal in found if goal]


def _is_plain(name: str, report: Mapping[str, Any]) -> bool:
    """Whether a contestant is one of our runtimes by hand, and not in 8 bits."""
    runtime = name.removeprefix(f"{OURS}, ")
    return runtime in report["runtimes"] and not runtime.endswith("int8")


def _told(name: str, spread: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Nothing was asked of it, and it stands beside what was."""
    return {"name": name, "got": spread["median"], "reached": None} if spread else None


def _least(name: str, wanted: float, got: float) -> dict[str, Any]:
    return {"name": name, "least": wanted, "got": got, "reached": got >= wanted}


def _most(name: str, wanted: float, got: float) -> dict[str, Any]:
    return {"name": name, "most": wanted, "got": got, "reached": got <= wanted}
