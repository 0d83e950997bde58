"""How long a user waits: a fresh process from its start to the first finished field, and `smear --help`."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fields import UM_PER_PX
from smear.types import Field

LOOK_EVERY_S = 0.002
LONGEST_S = 120.0


def seconds_to_first_field(fields: Sequence[Field], out: Path, *, given: bool) -> float:
    """From starting `python -m smear analyze` until the first record is complete; the process is then left to finish.

    Raises:
        RuntimeError: it ended, or took longer than `LONGEST_S`, without a record.
    """
    shutil.rmtree(out, ignore_errors=True)
    folder = out / "in"
    folder.mkdir(parents=True)
    for field in fields:
        shutil.copy(field.path, folder / field.path.name)
    scale = ["--um-per-px", str(UM_PER_PX)] if given else []
    command = [sys.executable, "-m", "smear", "analyze", str(folder), "--out", str(out / "run"), *scale]
    log = out / "log.txt"
    with log.open("w") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while not list((out / "run" / "fields").glob("*.json")):
                if process.poll() is not None or time.perf_counter() - started > LONGEST_S:
                    process.kill()
                    raise RuntimeError(f"no field was finished: {' '.join(command[1:])}: {log.read_text()[-300:]}")
                time.sleep(LOOK_EVERY_S)
            return time.perf_counter() - started
        finally:
            process.wait(LONGEST_S)


def seconds_of_help() -> float:
    """Of `python -m smear --help`, start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "smear", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
