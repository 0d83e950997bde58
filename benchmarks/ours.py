"""Our line as a contestant: built once as `smear analyze` builds it, run again and again into an empty folder; and its networks, bare."""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fields import UM_PER_PX
from smear.analyze import Analyzer
from smear.build import Opened, build_analyzer, open_models, open_network
from smear.models import ModelCard
from smear.runtimes import RUNTIMES, VARIANTS, is_allowed, is_installed
from smear.settings import AnalyzeSettings
from smear.store import Store
from smear.types import Field, FieldResult, Outcome

Call = tuple[tuple[int, ...], Any]  # shape and dtype of one batch


def allowed_runtimes(cards: Sequence[ModelCard]) -> tuple[str, ...]:
    """Names of the runtimes that are installed and that every card allows."""
    return tuple(n for n in (*RUNTIMES, *VARIANTS) if is_installed(n) and all(is_allowed(card, n) for card in cards))


class Recorder:
    """A runtime that remembers what it was called with; everything else is the runtime's own."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.calls: list[Call] = []
        self.callers: set[int] = set()

    def __call__(self, batch: Any) -> Any:
        self.calls.append((tuple(batch.shape), batch.dtype))
        self.callers.add(threading.get_ident())
        return self.runtime(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)

    def forget(self) -> None:
        """Start a new list."""
        self.calls, self.callers = [], set()


@dataclass(frozen=True)
class Line:
    """A built analyser that writes below `out`; `runtimes` are the detector's and the classifier's."""

    opened: Opened
    analyzer: Analyzer
    runtimes: tuple[Recorder, ...]
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
        return {bundle.task: str(r.name) for bundle, r in zip(self.opened.cards, self.runtimes, strict=True)}


class _Sink:
    """The hooks of an analyser, for the folder of the moment."""

    store: Store

    def recall(self, field: Field, data: bytes) -> Outcome | None:
        return self.store.recall(field, data)  # nothing is known in an empty folder, but hashing the bytes is part of the line

    def keep(self, outcome: Outcome, image: Any) -> None:
        self.store.keep(outcome, image)


def open_line(out: Path, *, runtime: str = "auto", given: bool = True, pictures: bool = False, device: str = "auto", **more: Any) -> Line:
    """The shipped models, wired as `smear analyze` does.

    Args:
        given: the pixel size is known, as it is to whoever chooses an input size by hand; False: the line measures it.
        pictures: write annotated fields too.
    """
    opened = open_models(AnalyzeSettings(runtime=runtime, device=device, um_per_px=UM_PER_PX if given else None, **more))
    bundles = [b for b in (opened.detector, opened.classifier) if b]
    networks = {bundle.card.task: Recorder(open_network(bundle, opened.settings)) for bundle in bundles}
    sink = _Sink()
    analyzer = build_analyzer(opened, networks=networks, recall=sink.recall, keep=sink.keep)
    return Line(opened, analyzer, tuple(networks.values()), out, pictures, sink)


def bare(recorder: Recorder, calls: Sequence[Call], *, n_fields: int, threads: int) -> Callable[[], int]:
    """The bare runtime on the same batches, made beforehand, by so many callers; a unit is a field."""
    batches = {call: _batch(call) for call in set(calls)}

    def run() -> int:
        if threads == 1:
            for call in calls:
                recorder.runtime(batches[call])
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda call: recorder.runtime(batches[call]), calls))
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
