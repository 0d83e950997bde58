"""Which runtime is the fastest for a bundle on this machine: measured once, as the line of work calls it, and remembered."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smear.errors import ModelError, SmearError
from smear.files import write_atomic
from smear.machine import describe, has_gpu
from smear.models import Bundle
from smear.quiet import cache_root
from smear.runtimes import RUNTIMES, VARIANTS, is_allowed, is_installed, parse_device
from smear.types import Pixels, Runtime

SCHEMA = 1
TIE = 0.03  # candidates within this of the fastest are as fast; the first of the fixed order is taken, which is the more exact one
WARM_UPS, ROUNDS = 2, 5
WINDOW_PX, N_CROPS = 640, 12
REFERENCE = "onnx"


@dataclass(frozen=True)
class Choice:
    """The runtime of a bundle, and why.

    how: "asked" for by name, the "only" candidate, "measured" now, or "remembered" from a measurement before.
    seconds: of one batch a lane, by candidate, empty when nothing was measured. left_out: candidates that failed, and how.
    """

    name: str
    how: Literal["asked", "only", "measured", "remembered"]
    lanes: int = 1
    device: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """ "openvino on the CPU, 1.2 x onnx (measured here, 2 lanes)"."""
        where = {"": "", "cpu": " on the CPU"}.get(self.device, f" on {self.device}")
        faster = ""
        if self.name != REFERENCE and {self.name, REFERENCE} <= self.seconds.keys():
            faster = f", {self.seconds[REFERENCE] / self.seconds[self.name]:.1f} x {REFERENCE}"
        why = {"asked": "as asked", "only": "the only one here", "measured": "measured here", "remembered": "measured here before"}
        return f"{self.name}{where}{faster} ({why[self.how]}, {self.lanes} {'lane' if self.lanes == 1 else 'lanes'})"


def choose(
    bundle: Bundle,
    candidates: Sequence[str],
    *,
    open_one: Callable[[str], Runtime],
    batch: NDArray,
    device: str = "auto",
    lanes: int = 1,
    threads: int | None = None,
) -> Choice:
    """The fastest candidate for this bundle on this machine, from the cache folder when it was measured there before.

    Each is opened and called by `lanes` threads at once, in turns, so that a busy moment of the machine meets them all.
    Its time is the shortest of a few rounds: everything else that runs can only add to it.

    Args:
        candidates: names of runtimes, in the order that decides ties.
        open_one: opens a candidate for `device`, `lanes` and `threads`; one that raises is left out.
        batch: what one call gets, as `sample_batch` makes it.

    Raises:
        ModelError: no candidate, or none that opens.
    """
    if len(candidates) == 1:
        return Choice(candidates[0], "only", lanes)
    path = cache_root() / "tuning" / f"{_key(bundle, candidates, device, lanes, threads, batch)}.json"
    known = _recall(path, candidates)
    if known:
        return known
    opened, left_out = _open_all(candidates, open_one, batch)
    seconds = measure({name: runtime for name, (runtime, _) in opened.items()}, batch, lanes=lanes) if opened else {}
    if not seconds:
        told = "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "none is installed"
        raise ModelError(f"{bundle.root}: no runtime can run it ({told}); install onnxruntime")
    name = pick(seconds)
    choice = Choice(name, "measured", lanes, opened[name][1], seconds, left_out)
    _keep(path, choice)
    return choice


def candidates_for(bundle: Bundle, device: str = "auto") -> tuple[str, ...]:
    """The runtimes that are installed, may run the bundle and could be the fastest on that device; the most exact first.

    torch is left out where there is no GPU: on CPUs it took more than twice the time of the others, and its import seconds.
    """
    kind, _ = parse_device(device)
    gpu = kind != "cpu" and has_gpu()
    names = [name for name in (*RUNTIMES, *VARIANTS) if is_allowed(bundle.card, name) and is_installed(name)]
    names = [name for name in names if gpu or not name.startswith(("torch", "tensorrt"))]
    return tuple(name for name in names if kind != "cuda" or not name.startswith("openvino"))


def sample_batch(bundle: Bundle, pixels: Pixels | None) -> NDArray:
    """One window for a detector, a field's cells for a classifier: noise of the shape and type that the network takes."""
    side = WINDOW_PX if bundle.card.task == "detect" else bundle.card.input_px
    n = 1 if bundle.card.task == "detect" else N_CROPS
    noise = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    return noise if pixels else np.ascontiguousarray(noise.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def measure(runtimes: Mapping[str, Runtime], batch: NDArray, *, lanes: int) -> dict[str, float]:
    """Seconds in which `lanes` threads at once get a batch each through, by name: the shortest of a few rounds, taken in turns."""
    together = threading.Barrier(lanes + 1)

    def call(runtime: Runtime) -> None:
        together.wait()
        runtime(batch)

    rounds: dict[str, list[float]] = {name: [] for name in runtimes}
    with ThreadPoolExecutor(lanes) as pool:  # the same threads each time: a runtime may keep something for each
        for i in range(WARM_UPS + ROUNDS):
            for name, runtime in runtimes.items():
                waiting = [pool.submit(call, runtime) for _ in range(lanes)]
                together.wait()
                started = time.perf_counter()
                for one in waiting:
                    one.result()
                rounds[name] += [time.perf_counter() - started] if i >= WARM_UPS else []
    return {name: min(values) for name, values in rounds.items()}


def pick(seconds: Mapping[str, float]) -> str:
    """The fastest; among those within `TIE` of it the first."""
    limit = min(seconds.values()) * (1 + TIE)
    return next(name for name, value in seconds.items() if value <= limit)


def _open_all(
    candidates: Sequence[str], open_one: Callable[[str], Runtime], batch: NDArray
) -> tuple[dict[str, tuple[Runtime, str]], dict[str, str]]:
    opened: dict[str, tuple[Runtime, str]] = {}
    left_out: dict[str, str] = {}
    for name in candidates:
        try:
            runtime = open_one(name)
            runtime(batch)
        except (SmearError, ImportError, OSError, RuntimeError) as error:  # a broken installation is no reason to stop
            left_out[name] = " ".join(str(error).split())[:300]
        else:
            opened[name] = (runtime, runtime.device)
    return opened, left_out


def _key(bundle: Bundle, candidates: Sequence[str], device: str, lanes: int, threads: int | None, batch: NDArray) -> str:
    """A hash of all that the fastest runtime may depend on."""
    parts = {
        "schema": SCHEMA,
        "files": dict(bundle.card.files),
        "candidates": list(candidates),
        "call": [device, lanes, threads, list(batch.shape), str(batch.dtype)],
        "machine": describe(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _recall(path: Path, candidates: Sequence[str]) -> Choice | None:
    """The choice that was kept; None when there is none or the file is damaged, which is then written anew."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        choice = Choice(
            name=str(record["name"]),
            how="remembered",
            lanes=int(record["lanes"]),
            device=str(record["device"]),
            seconds={str(name): float(value) for name, value in record["seconds"].items()},
            left_out={str(name): str(why) for name, why in record["left_out"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return choice if choice.name in candidates and all(value > 0 for value in choice.seconds.values()) else None


def _keep(path: Path, choice: Choice) -> None:
    try:
        write_atomic(path, json.dumps({"schema": SCHEMA, **asdict(choice)}, indent=1) + "\n")
    except OSError:  # measured again the next time
        return
