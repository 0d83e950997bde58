"""Our line as a contestant: built once as `smear analyze` builds it, run again and again into an empty folder; and its networks, bare."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fields import UM_PER_PX
from smear.analyze import Analyzer
from smear.build import Opened, build_analyzer, load_network, open_models, open_network
from smear.errors import SmearError
from smear.models import Bundle
from smear.settings import AnalyzeSettings
from smear.store import Store
from smear.tuning import candidates_for
from smear.types import Field, FieldResult, Outcome

Call = tuple[tuple[int, ...], Any]  # shape and dtype of one batch


def runtimes_by_hand(opened: Opened) -> tuple[str, ...]:
    """Names of the runtimes that a user of this machine would try: those that `auto` chooses from and that open here, for every model."""
    bundles = [b for b in (opened.detector, opened.classifier) if b]
    names = [candidates_for(bundle, str(opened.settings.device)) for bundle in bundles]
    return tuple(name for name in names[0] if all(name in each for each in names) and all(_opens(opened, b, name) for b in bundles))


class Recorder:
    """A runtime that remembers what it was called with; everything else is the runtime's own."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.calls: list[Call] = []

    def __call__(self, batch: Any) -> Any:
        self.calls.append((tuple(batch.shape), batch.dtype))
        return self.runtime(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)


@dataclass(frozen=True)
class Line:
    """A built analyser that writes below `out`; `networks` by task."""

    opened: Opened
    analyzer: Analyzer
    networks: Mapping[str, Recorder]
    out: Path
    pictures: bool
    sink: "_Sink"

    def __call__(self, fields: Sequence[Field]) -> list[FieldResult]:
        """Analyse the fields into an empty folder.

        Raises:
            RuntimeError: a field failed: its time would be worth nothing.
        """
        shutil.rmtree(self.out, ignore_errors=True)
        self.sink.store = Store(self.out, fields, key=self.opened.key(), with_annotated=self.pictures)
        outcomes = list(self.analyzer(fields))
        failed = [o for o in outcomes if not isinstance(o, FieldResult)]
        if failed:
            raise RuntimeError(f"{failed[0].field.id}: {failed[0]}")
        return [o for o in outcomes if isinstance(o, FieldResult)]

    def contestant(self, fields: Sequence[Field]) -> Callable[[], int]:
        """A unit is a field."""
        return lambda: len(self(fields))

    @property
    def names(self) -> dict[str, str]:
        """Which runtime each model runs in."""
        return {task: choice.name for task, choice in self.opened.choices.items()}

    @property
    def lanes(self) -> int:
        """How many threads call the networks at once."""
        return self.opened.choices["detect"].lanes

    def calls(self, fields: Sequence[Field]) -> dict[str, list[Call]]:
        """The batches that each network is called with for these fields."""
        for network in self.networks.values():
            network.calls.clear()
        self(fields)
        return {task: list(network.calls) for task, network in self.networks.items()}


class _Sink:
    """The hooks of an analyser, for the folder of the moment."""

    store: Store

    def recall(self, field: Field, data: bytes) -> Outcome | None:
        return self.store.recall(field, data)  # nothing is known in an empty folder, but hashing the bytes is part of the line

    def keep(self, outcome: Outcome, image: Any) -> None:
        self.store.keep(outcome, image)


def open_line(
    out: Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    given: bool = True,
    pictures: bool = False,
    networks: Mapping[str, Recorder] | None = None,
) -> Line:
    """The shipped models, wired as `smear analyze` does.

    Args:
        given: the pixel size is known, as it is to whoever chooses an input size by hand; False: the line measures it.
        pictures: write annotated fields too.
        networks: those of another line of the same runtime and device, to share.
    """
    opened = open_models(AnalyzeSettings(runtime=runtime, device=device, um_per_px=UM_PER_PX if given else None))
    bundles = [b for b in (opened.detector, opened.classifier) if b]
    networks = networks or {bundle.card.task: Recorder(load_network(opened, bundle)) for bundle in bundles}
    sink = _Sink()
    analyzer = build_analyzer(opened, networks=networks, recall=sink.recall, keep=sink.keep)
    return Line(opened, analyzer, networks, out, pictures, sink)


def open_bare(opened: Opened, *, lanes: int) -> dict[str, Any]:
    """The runtimes that were chosen, by task, opened to be called by so many threads at once."""
    bundles = [b for b in (opened.detector, opened.classifier) if b]
    chosen = {b.card.task: {"runtime": opened.choices[b.card.task].name, "lanes": lanes} for b in bundles}
    return {b.card.task: open_network(b, opened.settings.model_copy(update=chosen[b.card.task])) for b in bundles}


def _opens(opened: Opened, bundle: Bundle, runtime: str) -> bool:
    try:
        open_network(bundle, opened.settings.model_copy(update={"runtime": runtime}))
    except (SmearError, ImportError, OSError, RuntimeError):  # a CPU without bfloat16, a broken installation
        return False
    return True


def bare(runtime: Any, calls: Sequence[Call], *, n_fields: int, threads: int) -> Callable[[], int]:
    """The bare runtime on the same batches, made beforehand, by so many callers; a unit is a field."""
    batches = {call: _batch(call) for call in set(calls)}

    def run() -> int:
        if threads == 1:
            for call in calls:
                runtime(batches[call])
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda call: runtime(batches[call]), calls))
        return n_fields

    return run


def _batch(call: Call) -> Any:
    """Noise of that shape; a network takes as long for it as for a field."""
    shape, dtype = call
    rng = np.random.default_rng(0)
    if str(dtype).startswith("torch"):
        import torch

        return torch.from_numpy(rng.integers(0, 256, shape).astype(np.float32)).to(dtype).cuda()
    return rng.integers(0, 256, shape).astype(dtype) if np.issubdtype(dtype, np.integer) else rng.random(shape).astype(dtype)
