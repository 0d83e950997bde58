"""How much memory this process may still take, on the machine and in its container."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(*, meminfo: Path = Path("/proc/meminfo"), cgroup: Path = CGROUP) -> int | None:
    """Bytes that can be taken without swapping, the smaller of the machine's and the container's; None: the system does not say.

    Sources: proc(5) for `MemAvailable`; the kernel's cgroup-v2.rst for `memory.max`, `memory.current` and `inactive_file`.
    """
    known = [number for number in (_of_machine(meminfo), _of_container(cgroup)) if number is not None]
    return min(known) if known else None


def _of_machine(meminfo: Path) -> int | None:
    fields = _numbers(meminfo)
    if "MemAvailable:" in fields:
        return fields["MemAvailable:"] * 1024
    try:  # no /proc: half of all memory, since nothing says what others hold
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _of_container(cgroup: Path) -> int | None:
    """What is left below the limit of this control group; pages that only cache files count as free."""
    try:
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
    return max(0, limit - used + _numbers(cgroup / "memory.stat").get("inactive_file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """First word → second word of every line that has a number there; empty when the file cannot be read."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
