"""The same line on a CUDA device: fields a second, how busy the device is, and what its networks alone could do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contest import Bench
from benchmarks.fields import Kind, repeated
from benchmarks.ours import open_line
from benchmarks.stages import bare_networks, fastest
from benchmarks.timing import interleave, ratio, spread

N_FIELDS = 64  # a round; a device is fed by more fields than a CPU
SAMPLE_EVERY_S = 0.02
SKIPPED = "not run: torch sees no CUDA device here"


@dataclass
class Busy:
    """Samples of the driver's utilisation, in percent: the share of the last moments in which a kernel ran."""

    percent: list[float] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """The mean in [0, 1]; None without a sample."""
        return sum(self.percent) / len(self.percent) / 100 if self.percent else None


@contextmanager
def watched(sample: Callable[[], float]) -> Iterator[Busy]:
    """Sample while the block runs."""
    busy, stop = Busy(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            busy.percent.append(sample())
            time.sleep(SAMPLE_EVERY_S)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield busy
    finally:
        stop.set()
        watcher.join()


def measure(bench: Bench, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    """Per kind: fields a second of the whole line, scale given and measured, its share of the slowest network's own, device busy."""
    import torch

    if not torch.cuda.is_available():
        return {"skipped": SKIPPED}
    return {kind.name: measure_on("cuda", bench, kind, sample=torch.cuda.utilization, n_fields=N_FIELDS) for kind in kinds}


def measure_on(device: str, bench: Bench, kind: Kind, *, sample: Callable[[], float], n_fields: int) -> dict[str, Any]:
    """One kind of field on one device; `sample` says in percent how busy it is."""
    fields = repeated(bench.fields(kind), n_fields)
    out = bench.out / "runs" / "gpu"
    line = open_line(out / "given", runtime=bench.runtime, device=device)
    measured = open_line(out / "measured", runtime=bench.runtime, device=device, given=False, networks=line.networks)
    networks = bare_networks(line, fields)
    with watched(sample) as busy:
        line(fields)
    seconds = interleave({"given": line.contestant(fields), "measured": measured.contestant(fields), **networks}, rounds=bench.rounds)
    best = fastest(seconds, tuple(line.networks))
    slowest = max(best, key=lambda name: spread(best[name]).median)
    return {
        "runtimes": line.names,
        "fields_per_second": {name: spread([1 / s for s in values]).as_json() for name, values in seconds.items()},
        "slowest": slowest,
        "fraction_of_ceiling": ratio(best[slowest], seconds["given"]).as_json(),
        "device_busy": busy.share,
    }
