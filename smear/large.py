"""A field too large to decode whole: measured by windows, cut into blocks that own their cells, joined to one result."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby

import numpy as np

from smear import boxes
from smear.drift import judge
from smear.finder import MAX_GROWTH, SAME_OBJECT_IOU, Finder
from smear.labeller import Labeller
from smear.line import Pace, ahead
from smear.plan import Plan
from smear.regions import Region
from smear.tiles import SLACK_PX, merged_rows, owned, plan_tiles
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldResult, Scale, Tile
from smear.work import Work

BLOCK_PX = 2560  # longest side of a block at the detector's scale, where a tile is of that size
MAX_SIDE_PX = 4096  # longest side of a block in the field, which is finer than the detector's scale where cells are large; 50 MB
SAMPLE_PX = 1536  # side of a window that the scale is measured in
SAMPLES_AT_ONCE, MOST_SAMPLES, ENOUGH_SAMPLES = 4, 32, 5  # windows looked at together, at most, and with red cells to be content with
LEFT_OUT = "left out by the scanner"
_PLASTIC = 1.3247179572447460  # of the R2 sequence


@dataclass(frozen=True)
class _Cut:
    """How a region is cut: blocks in its pixels, and how much each is resized for the detector."""

    blocks: tuple[Tile, ...]
    factor: float

    def seen(self, tile: Tile) -> Tile:
        """The core of a block at the detector's scale, where the slack of seams is stated; cores still partition the region."""
        core = tuple(round(v * self.factor) for v in tile.core)
        return Tile(view=core, core=core)  # type: ignore[arg-type]


class LargeFields:
    """Analyses regions with the finder and labeller of ordinary fields, block by block, in constant memory but for what is found.

    A block is a field at the scale of the whole region; a cell belongs to the block whose core holds its centre, as it does to a tile.
    The numbers of quality are medians over the blocks with cells.
    """

    def __init__(self, finder: Finder, labeller: Labeller, plan: Plan, pace: Pace) -> None:
        self._finder, self._labeller, self._plan, self._pace = finder, labeller, plan, pace

    def __call__(self, field: Field, region: Region) -> FieldResult:
        """Raises:
        ImageError: a tile of the region is damaged.
        """
        measured = self.measure(field, region)
        cut = self._cut(region.shape_hw, measured.scale)
        opened = ahead(partial(self._open, field, region, measured.scale), cut.blocks, threads=self._pace.readers)
        results = list(ahead(partial(self._analyse, cut), opened, threads=self._pace.lanes))
        return self._joined(measured, region, cut, results)

    def measure(self, field: Field, region: Region) -> Work:
        """The scale of a region, and what is to be said of it: the median over windows spread evenly, by their number of cells."""
        seen = [self._measured(field, region, 0)]
        look = partial(self._measured, field, region)
        while not self._is_enough([w.scale for w in seen]):
            seen += ahead(look, range(len(seen), min(len(seen) + SAMPLES_AT_ONCE, MOST_SAMPLES)), threads=self._pace.lanes)
        scale = seen[0].scale if seen[0].scale.source == "given" else typical_scale([w.scale for w in seen])
        return replace(seen[0], scale=scale, seconds=_summed([w.seconds for w in seen]), warnings=self._finder.scale_warnings(scale))

    def _is_enough(self, scales: Sequence[Scale]) -> bool:
        if self._plan.ruler is None or scales[0].source == "given":
            return True
        return len(scales) >= MOST_SAMPLES or sum(s.source == "red cells" for s in scales) >= ENOUGH_SAMPLES

    def _measured(self, field: Field, region: Region, index: int) -> Work:
        """A window, its scale by all cells in it."""
        started = time.perf_counter()
        height, width = region.shape_hw
        y, x = ((0.5 + index / _PLASTIC**k) % 1 for k in (1, 2))
        top, left = round(y * max(height - SAMPLE_PX, 0)), round(x * max(width - SAMPLE_PX, 0))
        work = Work(field, region.read(top, min(top + SAMPLE_PX, height), left, min(left + SAMPLE_PX, width)))
        self._finder.measure([work])
        if self._plan.ruler is not None and work.scale.source != "given":
            self._finder.find([work])
        return replace(work, seconds={"scale": time.perf_counter() - started})

    def _cut(self, shape_hw: tuple[int, int], scale: Scale) -> _Cut:
        plan = self._plan
        inner = plan.tile_px - plan.overlap_px
        side = max(1, (BLOCK_PX - plan.overlap_px) // inner) * inner + plan.overlap_px  # whole tiles: blocks add no tile to the plan
        if plan.ruler is None or not scale.is_known:
            factor = plan.letterbox_px / BLOCK_PX  # a block is searched at its longest side, as a field of its size is
        else:
            factor = min(plan.ruler.rbc_px / scale.rbc_px, MAX_GROWTH)
        overlap_px = int(np.ceil(plan.overlap_px / factor)) + 2 * SLACK_PX
        if plan.contract is not None:  # the cell nearest to a seam is cropped whole
            wide = plan.contract.width * (scale.rbc_px if plan.contract.unit == "rbc" and scale.is_known else plan.overlap_px / factor)
            overlap_px = max(overlap_px, int(np.ceil(wide)) + 2 * SLACK_PX)
        side = max(min(int(side / factor), MAX_SIDE_PX), 2 * overlap_px)
        return _Cut(plan_tiles(shape_hw, tile_px=side, overlap_px=overlap_px, snug=True), factor)

    def _open(self, field: Field, region: Region, scale: Scale, tile: Tile) -> tuple[Tile, Work]:
        started = time.perf_counter()
        x0, y0, x1, y1 = tile.view
        image = region.read(y0, y1, x0, x1)
        return tile, Work(field, image, scale=scale, seconds={"decode": time.perf_counter() - started})

    def _analyse(self, cut: _Cut, opened: tuple[Tile, Work]) -> FieldResult:
        """One block: what it owns, in the region's pixels."""
        tile, work = opened
        self._finder.find([work], measures=False)
        dx, dy = tile.view[:2]
        mine = owned(cut.seen(tile), work.found.shift(dx, dy).rescale((cut.factor, cut.factor)))
        work.found = work.found.take(mine)
        (result,) = self._labeller.label([work])
        return replace(result, detections=result.detections.shift(dx, dy))

    def _joined(self, measured: Work, region: Region, cut: _Cut, results: Sequence[FieldResult]) -> FieldResult:
        everything = Detections.concat(r.detections for r in results)
        seen = [r.detections.rescale((cut.factor, cut.factor)) for r in results]
        rows = merged_rows([cut.seen(t) for t in cut.blocks], seen, iou=self._plan.iou)
        rows = rows[boxes.survivors(everything.take(rows), iou_above=SAME_OBJECT_IOU, across_classes=True)]
        notes = list(chain.from_iterable(r.cell_warnings for r in results))
        quality, doubts = judge(_typical_quality(results), self._plan.reference)
        said = [*self._plan.warnings, *measured.warnings, *_left_out(region), *doubts, *_doubts_of_parts(results, doubts)]
        return replace(
            results[0],
            shape_hw=region.shape_hw,
            detections=everything.take(rows),
            is_white=np.concatenate([r.is_white for r in results])[rows],
            probabilities=np.concatenate([r.probabilities for r in results])[rows],
            cell_warnings=tuple(notes[i] for i in rows),
            warnings=tuple(dict.fromkeys(said)),
            seconds=_summed([measured.seconds, *(r.seconds for r in results)]),
            quality=quality,
        )


def typical_scale(scales: Sequence[Scale]) -> Scale:
    """The scale of a whole that was measured in parts: the median by number of cells, by red cells where any part has them.

    `spread` is that of a typical part, or that between the parts where it is larger.
    """
    by_source = {source: list(some) for source, some in groupby(sorted(scales, key=lambda s: s.source), key=lambda s: s.source)}
    for source in ("red cells", "white cells"):
        some = [s for s in by_source.get(source, []) if s.n]
        if some:
            rbc_px = np.repeat([s.rbc_px for s in some], [s.n for s in some])
            low, middle, high = np.percentile(rbc_px, (25, 50, 75))
            spread = max(float(np.median([s.spread for s in some])), float((high - low) / middle))
            return Scale(float(middle), spread, len(rbc_px), source)
    return UNKNOWN_SCALE


def _typical_quality(results: Sequence[FieldResult]) -> dict[str, float]:
    with_cells = [r.quality for r in results if len(r.detections)] or [r.quality for r in results]
    names = dict.fromkeys(name for quality in with_cells for name in quality)
    return {name: float(np.median([q[name] for q in with_cells if name in q])) for name in names}


def _doubts_of_parts(results: Sequence[FieldResult], of_whole: Sequence[str]) -> Iterator[str]:
    """What was said of blocks with cells, as a name and how many of them; a warning without numbers is one of the whole."""
    with_cells = [r for r in results if len(r.detections)]
    said = Counter(text.partition(": ")[:2] for r in with_cells for text in r.warnings)
    known = {text.partition(": ")[0] for text in of_whole}
    for (name, colon), n in sorted(said.items()):
        if not colon:
            yield name
        elif name not in known:
            yield f"{name}: {n} of {len(with_cells)} parts of the field"


def _left_out(region: Region) -> list[str]:
    return [f"{LEFT_OUT}: {region.n_empty} tiles, analysed as white"] if region.n_empty else []


def _summed(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {stage: sum(p.get(stage, 0.0) for p in parts) for stage in dict.fromkeys(chain.from_iterable(parts))}
