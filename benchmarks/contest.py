"""Our line against what people write, field for field on the same weights: fields a second, ratios, and whether the cells are the same."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.fields import RBC_PX, Kind, painted, repeated
from benchmarks.ours import Line, open_line, runtimes_by_hand
from benchmarks.timing import Spread, interleave, ratio, spread
from detection.detector import YoloDetector
from smear import boxes
from smear.build import Opened
from smear.images import read_image, resize
from smear.plan import Plan
from smear.tiles import merge, plan_tiles
from smear.types import Detections, Field, FieldResult, Image

OURS = "ours"  # knows the pixel size and draws nothing, like the script
MODES: Mapping[str, dict[str, bool]] = {
    OURS: {"given": True, "pictures": False},
    "ours, pictures": {"given": True, "pictures": True},
    "ours, measured": {"given": False, "pictures": False},
    "ours, measured, pictures": {"given": False, "pictures": True},
}
SCRIPT, SAHI = "script", "sahi"
ALL_CORES = ", all cores"
SMALLER_PX = 1280  # an input size that people take for large fields
SLICE_PX, OVERLAP_PX = 640, 192  # SAHI's comparison: at the detector's scale
SAME_CELL_IOU = 0.5


@dataclass(frozen=True)
class Bench:
    """What all measurements share: where things are written, the opened bundles, how many rounds, and our runtime."""

    out: Path
    opened: Opened
    rounds: int
    runtime: str = "auto"

    @property
    def plan(self) -> Plan:
        return Plan.for_cards(self.opened.settings, *self.opened.cards)

    def fields(self, kind: Kind) -> tuple[Field, ...]:
        """The different fields of a kind."""
        return painted(kind, self.out / "fields")

    def line(self, name: str, **options: Any) -> Line:
        """Our line, writing to a folder of that name."""
        return open_line(self.out / "runs" / name.replace(", ", "-"), **{"runtime": self.runtime, **options})

    def lines(self) -> dict[str, Line]:
        """Our line in every mode; the networks are loaded once."""
        first = self.line(OURS, **MODES[OURS])
        return {OURS: first} | {name: self.line(name, networks=first.networks, **MODES[name]) for name in MODES if name != OURS}


@dataclass(frozen=True)
class Contest:
    """What one kind of field gave: seconds a field by contestant, one number a round, and our runtimes."""

    kind: Kind
    seconds: dict[str, list[float]]
    runtimes: dict[str, str]
    same_cells: dict[str, float]

    def ratio(self, slow: str, fast: str = OURS) -> Spread:
        """How many times the fields a second of `slow` the other does."""
        return ratio(self.seconds[slow], self.seconds[fast])

    def rates(self) -> dict[str, Spread]:
        """Fields a second."""
        return {name: spread([1 / s for s in values]) for name, values in self.seconds.items()}


def contest(bench: Bench, kind: Kind, *, exports: Sequence[str] = tuple(peers.EXPORTS), every_runtime: bool = False) -> Contest:
    """Time every mode of our line and every form of the script on one kind of field, in turn."""
    few = bench.fields(kind)
    many = repeated(few, kind.n_timed)
    lines = bench.lines()
    if every_runtime:
        lines |= {f"{OURS}, {name}": bench.line(name, runtime=name) for name in runtimes_by_hand(bench.opened)}
    written = scripts(bench, kind, exports)
    contestants = {name: line.contestant(many) for name, line in lines.items()}
    contestants |= {name: _script_contestant(script, few, bench.out / "script.csv") for name, script in written.items()}
    seconds = interleave(contestants, rounds=bench.rounds)
    same = agreement(lines[OURS](few), written[SCRIPT](few, bench.out / "script.csv"), bench.opened)
    return Contest(kind, seconds, lines[OURS].names, same)


def contest_sliced(bench: Bench, kind: Kind) -> dict[str, list[float]]:
    """Detection alone on whole fields at the detector's scale: SAHI, ours in the same windows, ours in the windows that it chooses."""
    plan = bench.plan
    assert plan.ruler is not None
    images = [resize(read_image(field.path), plan.ruler.rbc_px / RBC_PX) for field in bench.fields(kind)[:2]]
    line = bench.line("sliced")
    detector = YoloDetector(line.networks["detect"], bench.opened.detector.card, confidence=plan.confidence, iou=plan.iou)
    sizes = {"confidence": plan.confidence, "slice_px": SLICE_PX, "overlap_px": OVERLAP_PX}
    as_it_comes, with_all = (peers.Sliced.of(_checkpoint(bench), all_cores=all_cores, **sizes) for all_cores in (False, True))
    return interleave(
        {
            SAHI: _each(as_it_comes, images, 1),
            f"{SAHI}{ALL_CORES}": _each(with_all, images, 1),
            "ours, same windows": _each(partial(_find, detector, plan, SLICE_PX, OVERLAP_PX, False), 2 * images, line.lanes),
            "ours, own windows": _each(partial(_find, detector, plan, plan.tile_px, plan.overlap_px, True), 2 * images, line.lanes),
        },
        rounds=bench.rounds,
    )


def agreement(ours: Sequence[FieldResult], theirs: Sequence[peers.Found], opened: Opened) -> dict[str, float]:
    """Whether two ways find the same: the share of our cells that they have too (IoU ≥ 0.5), theirs that we have, and labels that agree.

    Cells are white cells. Labels are compared where both have the cell; the share is NaN where none is.
    """
    n_ours = n_theirs = n_both = n_same = 0
    for result, found in zip(ours, theirs, strict=True):
        cells = list(result.cells())
        own = np.array([c.box for c in cells], np.float32).reshape(-1, 4)
        white = np.isin(found.boxes.labels, [opened.detector.card.classes.index(c) for c in opened.detector.card.white_classes])
        other = found.boxes.boxes[white]
        overlap = boxes.iou(own, other)
        n_ours, n_theirs = n_ours + len(own), n_theirs + len(other)
        for i, j in zip(*np.nonzero(overlap >= SAME_CELL_IOU), strict=True):
            n_both += 1
            n_same += (cells[i].probabilities[0] >= 0.5) == (found.chances[j] >= 0.5)
    return {"n_ours": n_ours, "n_script": n_theirs, "n_both": n_both, "same_label": n_same / n_both if n_both else float("nan")}


def scripts(bench: Bench, kind: Kind, exports: Sequence[str]) -> dict[str, peers.Written]:
    """Every form of the script for one kind of field, by name; `exports` of ultralytics are made when they are not there yet."""
    checkpoint, plan = _checkpoint(bench), bench.plan
    assert plan.ruler is not None
    assert bench.opened.classifier is not None
    device = peers.best_device()
    network = peers.network_of(bench.opened.classifier)
    size = peers.input_size(kind.shape_hw, plan.ruler.rbc_px / RBC_PX)

    def script(weights: Path, imgsz: int | tuple[int, int], **more: Any) -> peers.Written:
        assert bench.opened.classifier is not None
        model, labels = peers.open_ultralytics(weights), network.to(device)
        bundles = (bench.opened.detector, bench.opened.classifier)
        return peers.Written(model, labels, *bundles, imgsz, plan.confidence, plan.iou, device=device, **more)

    made = {SCRIPT: script(checkpoint, max(size))}
    if max(size) > SMALLER_PX:
        made[f"{SCRIPT}, {SMALLER_PX} px"] = script(checkpoint, SMALLER_PX)
    if device != "cpu":  # threads and ultralytics' exports are a CPU's
        return made
    made[f"{SCRIPT}{ALL_CORES}"] = script(checkpoint, max(size), all_cores=True)
    return made | {f"{SCRIPT}, {name} export": script(peers.export(checkpoint, name, size), size) for name in exports}


def _checkpoint(bench: Bench) -> Path:
    path = bench.out / "peers" / f"{bench.opened.detector.card.architecture}.pt"
    return path if path.exists() else peers.write_checkpoint(bench.opened.detector, path)


def _script_contestant(script: peers.Written, fields: Sequence[Field], table: Path) -> Callable[[], int]:
    return lambda: len(script(fields, table))


def _each(work: Callable[[Image], object], images: Sequence[Image], threads: int) -> Callable[[], int]:
    def run() -> int:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, images))
        return len(images)

    return run


def _find(detector: YoloDetector, plan: Plan, tile_px: int, overlap_px: int, snug: bool, image: Image) -> Detections:
    tiles = plan_tiles(image.shape[:2], tile_px=tile_px, overlap_px=overlap_px, snug=snug)
    found = detector([image[y0:y1, x0:x1] for x0, y0, x1, y1 in (t.view for t in tiles)])
    return merge(tiles, found, iou=plan.iou)
