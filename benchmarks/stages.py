"""Each stage of the line alone on all cores, beside the bare library call that it cannot beat."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.fields import RBC_PX
from benchmarks.ours import Line, bare, open_bare
from benchmarks.timing import Spread, interleave, on_cores, ratio, spread
from detection.detector import YoloDetector
from smear import boxes
from smear.finder import SAME_OBJECT_IOU
from smear.images import JPEG_QUALITY, crop, decode, read_bytes, resize
from smear.line import n_cores
from smear.plan import Plan
from smear.quality import measure_quality
from smear.scale import estimate_scale
from smear.store import Store
from smear.tiles import merge, plan_tiles
from smear.types import Detections, Field, FieldResult, Image, Tile

ONE = ", one caller"


@dataclass(frozen=True)
class Material:
    """What each stage of one field begins with, made beforehand."""

    field: Field
    data: bytes
    image: Image
    factor: float
    resized: Image
    tiles: tuple[Tile, ...]
    views: tuple[Image, ...]
    found: tuple[Detections, ...]
    crops: Image
    result: FieldResult


@dataclass(frozen=True)
class Stages:
    """Seconds a field, one number a round: of each stage (ours), of the bare call where there is one, and of whole lines."""

    ours: dict[str, list[float]]
    bare: dict[str, list[float]]
    lines: dict[str, list[float]]

    @property
    def slowest(self) -> str:
        """The stage whose bare call takes longest: no line can be faster."""
        return max(self.bare, key=lambda name: spread(self.bare[name]).median)

    def fraction(self, line: str) -> Spread:
        """The fields a second of a line over those of the slowest bare stage."""
        return ratio(self.bare[self.slowest], self.lines[line])

    def fraction_of_sum(self, line: str) -> Spread:
        """The same over all bare stages of such a line together, one after the other on all cores: with few cores they share them."""
        wanted = [name for name in self.bare if name != "picture" or "pictures" in line]
        return ratio([sum(values) for values in zip(*(self.bare[name] for name in wanted), strict=True)], self.lines[line])


def time_stages(lines: Mapping[str, Line], fields: Sequence[Field], more: Sequence[Field], out: Path, *, rounds: int) -> Stages:
    """Every stage alone over these fields, and in the same rounds the lines over `more`; the first line knows the scale."""
    line = next(iter(lines.values()))
    plan, detector = _plan(line), _detector(line)
    results = line(fields)
    items = [_prepare(field, result, plan, detector) for field, result in zip(fields, results, strict=True)]
    contestants = {
        **{("line", name): each.contestant(more) for name, each in lines.items()},
        **{("ours", name): work for name, work in _ours(line, plan, detector, items, out / "stages").items()},
        **{("bare", name): work for name, work in _bare(line, items).items()},
    }
    seconds = interleave(contestants, rounds=rounds)
    parts = {kind: {name: values for (k, name), values in seconds.items() if k == kind} for kind in ("ours", "bare", "line")}
    networks = fastest(parts["bare"], tuple(line.networks))
    plain = {name: values for name, values in parts["bare"].items() if not name.endswith(ONE)}
    return Stages(parts["ours"], {**plain, **networks}, parts["line"])


def bare_networks(line: Line, fields: Sequence[Field]) -> dict[str, Callable[[], int]]:
    """The bare runtimes on the batches that the line gives them for these fields, by stage; a unit is a field.

    Each twice: called by as many threads as the line has lanes, and (with `ONE` behind its name) by one that has all cores to itself.
    """
    calls, alone = line.calls(fields), open_bare(line.opened, lanes=1)
    found = {}
    for task, network in line.networks.items():
        if calls[task]:
            found[task] = bare(network.runtime, calls[task], n_fields=len(fields), threads=line.lanes)
            found[f"{task}{ONE}"] = bare(alone[task], calls[task], n_fields=len(fields), threads=1)
    return found


def fastest(seconds: Mapping[str, list[float]], names: Sequence[str]) -> dict[str, list[float]]:
    """Of the two ways to call each network the one with the shorter median: the most that the bare runtime can do."""
    ways = {name: [seconds[way] for way in (name, f"{name}{ONE}") if way in seconds] for name in names}
    return {name: min(each, key=lambda values: spread(values).median) for name, each in ways.items() if each}


def _ours(line: Line, plan: Plan, detector: YoloDetector, items: Sequence[Material], out: Path) -> dict[str, Callable[[], int]]:
    classifier, contract = _classifier(line), plan.contract
    assert plan.ruler is not None
    assert contract is not None
    cores, lanes, ruler = n_cores(), line.lanes, plan.ruler
    stages: Mapping[str, tuple[Callable[[Material], object], int]] = {
        "decode": (lambda m: decode(m.data, name=m.field.id), cores),
        "scale": (lambda m: estimate_scale(m.image, detector, ruler), lanes),
        "resize": (lambda m: resize(m.image, m.factor), cores),
        "quality": (lambda m: measure_quality(m.resized, rbc_px=ruler.rbc_px), cores),
        "detect": (lambda m: detector(m.views), lanes),
        "merge": (lambda m: _merge(m, plan), cores),
        "crop": (lambda m: [crop(m.image, c.box, contract, rbc_px=RBC_PX, out_px=plan.crop_px) for c in m.result.cells()], cores),
        "classify": (lambda m: classifier(m.crops), lanes),
    }
    alone = {name: on_cores(work, items, threads=threads) for name, (work, threads) in stages.items()}
    return {**alone, "write": _keeping(items, out, pictures=False), "picture": _keeping(items, out, pictures=True)}


def _bare(line: Line, items: Sequence[Material]) -> dict[str, Callable[[], int]]:
    cores = n_cores()
    networks = bare_networks(line, [m.field for m in items])
    encoding = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    stages: Mapping[str, Callable[[Material], object]] = {
        "decode": lambda m: cv2.imdecode(np.frombuffer(m.data, np.uint8), cv2.IMREAD_COLOR_RGB),
        "resize": lambda m: cv2.resize(m.image, m.resized.shape[1::-1], interpolation=cv2.INTER_AREA),
        "crop": lambda m: [cv2.resize(c, c.shape[:2]) for c in m.crops],
        "picture": lambda m: cv2.imencode(".jpg", m.image, encoding),
    }
    return {**{name: on_cores(work, items, threads=cores) for name, work in stages.items()}, **networks}


def _prepare(field: Field, result: FieldResult, plan: Plan, detector: YoloDetector) -> Material:
    assert plan.ruler is not None
    assert plan.contract is not None
    data = read_bytes(field)
    image = decode(data, name=field.id)
    factor = plan.ruler.rbc_px / RBC_PX
    resized = resize(image, factor)
    tiles = plan_tiles(resized.shape[:2], tile_px=plan.tile_px, overlap_px=plan.overlap_px, snug=True)
    views = tuple(resized[y0:y1, x0:x1] for x0, y0, x1, y1 in (t.view for t in tiles))
    cut = [crop(image, c.box, plan.contract, rbc_px=RBC_PX, out_px=plan.crop_px)[0] for c in result.cells()]
    crops = np.stack(cut) if cut else np.zeros((0, plan.crop_px, plan.crop_px, 3), np.uint8)
    return Material(field, data, image, factor, resized, tiles, views, tuple(detector(views)), crops, result)


def _merge(m: Material, plan: Plan) -> Detections:
    merged = merge(m.tiles, m.found, iou=plan.iou)
    return boxes.suppress(merged, iou_above=SAME_OBJECT_IOU, across_classes=True)


def _keeping(items: Sequence[Material], out: Path, *, pictures: bool) -> Callable[[], int]:
    """Write what fields give, to a fresh folder each time."""

    def run() -> int:
        shutil.rmtree(out, ignore_errors=True)
        store = Store(out, [m.field for m in items], key="", with_annotated=pictures)
        with ThreadPoolExecutor(n_cores()) as pool:
            list(pool.map(lambda m: store.keep(m.result, m.image), items))
        return len(items)

    return run


def _plan(line: Line) -> Plan:
    return Plan.for_cards(line.opened.settings, *line.opened.cards)


def _detector(line: Line) -> YoloDetector:
    plan = _plan(line)
    return YoloDetector(line.networks["detect"], line.opened.detector.card, confidence=plan.lowest_score, iou=plan.iou)


def _classifier(line: Line) -> Any:
    from classification.classifier import BundleClassifier

    assert line.opened.classifier is not None
    return BundleClassifier(line.networks["classify"], line.opened.classifier.card)
