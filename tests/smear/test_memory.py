from pathlib import Path

import pytest

from smear.memory import free_bytes

GB = 2**30


def machine(folder: Path, available: int | None) -> Path:
    path = folder / "meminfo"
    path.write_text("MemTotal: 99999999 kB\n" + (f"MemAvailable: {available // 1024} kB\n" if available is not None else ""))
    return path


def group(folder: Path, *, limit: str, used: int, cached: int = 0) -> Path:
    for name, text in (("memory.max", limit), ("memory.current", str(used)), ("memory.stat", f"anon 5\ninactive_file {cached}\n")):
        (folder / name).write_text(text + "\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "used", "cached", "expected"),
    [("max", GB, 0, 8 * GB), (str(4 * GB), GB, 0, 3 * GB), (str(4 * GB), 3 * GB, GB, 2 * GB), (str(40 * GB), GB, 0, 8 * GB)]
    + [(str(GB), 2 * GB, 0, 0)],
)
def test_the_smaller_of_machine_and_container_counts(tmp_path: Path, limit: str, used: int, cached: int, expected: int) -> None:
    cgroup = group(tmp_path, limit=limit, used=used, cached=cached)
    assert free_bytes(meminfo=machine(tmp_path, 8 * GB), cgroup=cgroup) == expected


def test_without_proc_half_of_the_memory_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__)
    assert free_bytes(meminfo=tmp_path / "none", cgroup=tmp_path / "none") == 2_048_000


def test_a_system_that_does_not_say_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert free_bytes(meminfo=tmp_path / "none", cgroup=tmp_path / "none") is None


def test_this_machine_has_some() -> None:
    assert free_bytes() is None or free_bytes() > 0
