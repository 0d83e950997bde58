"""Peak memory and time of whole runs: over the number of fields, and over the area of one region.

    python -m benchmarks.memory --fields 100,2000 --area 5000,10000,20000

Every run is `python -m smear analyze` as a process of its own, results and report included; its peak is what the system says of it.
A region is a tiled TIFF of painted fields side by side; what is found in it is compared with what is found in the fields alone.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.fields import Kind, painted
from benchmarks.tiled import Image, write_tiled
from smear import boxes
from smear.files import write_atomic
from smear.images import read_image
from smear.report.records import from_json
from smear.types import Detections, FieldResult

SMALL = Kind("memory-640x480-3", (480, 640), 3, 20, 20)
PIECE = Kind("memory-2592x1944-12", (1944, 2592), 12, 4, 4)
TILE_PX = 512
BORDER_PX = 12  # boxes nearer to the border of a piece may be cells that the next piece cuts
SAME_IOU = 0.5
MAX_GROWTH = 1.10  # of the peak, from the fewest fields to the most
MAX_REGION_MB = 3000


@dataclass(frozen=True)
class Run:
    """What one process took: peak resident memory, wall-clock and processor seconds, exit code."""

    peak_mb: float
    seconds: float
    cpu_seconds: float
    code: int


def main(argv: Sequence[str] | None = None) -> int:
    """0 when memory stays within its limits, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=_numbers, default=(), help="numbers of small fields, such as 100,2000")
    parser.add_argument("--area", type=_numbers, default=(), help="sides of square regions in pixels, such as 5000,10000,20000")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the fields, the runs and memory.json")
    parser.add_argument("--keep", action="store_true", help="leave regions and results there")
    parser.add_argument("options", nargs="*", help="after --: more words for python -m smear analyze")
    options = parser.parse_args(argv)
    found: dict[str, Any] = {"machine": machine.describe(), "busy": machine.busy(), "options": options.options, "fields": [], "area": []}
    for n in options.fields:
        found["fields"].append(row := over_fields(n, options.out, options.options, keep=options.keep))
        print(f"{n:>6} fields: {_shown(row)}", flush=True)
    for side in options.area:
        found["area"].append(row := over_area(side, options.out, options.options, keep=options.keep))
        print(f"{side:>6}² px: {_shown(row)}, {row['megapixels'] / row['seconds']:.2f} MP/s; {_agreement(row)}", flush=True)
    within = _limits(found)
    write_atomic(options.out / "memory.json", json.dumps(found, indent=1) + "\n")
    print(f"result: {options.out / 'memory.json'}")
    return 0 if within else 1


def over_fields(n: int, root: Path, more: Sequence[str], *, keep: bool) -> dict[str, Any]:
    """One run over n small fields: a few different ones, linked under many names."""
    fields = painted(SMALL, root / "fields")
    folder, out = _fresh(root / f"memory-{n}-in"), _fresh(root / f"memory-{n}-out")
    for i in range(n):
        os.link(fields[i % len(fields)].path, folder / f"{i:05d}.jpg")
    run = analyze(folder, out, more)
    report = json.loads((out / "report.json").read_text())["total"] if run.code == 0 else {}
    _clean([folder, out], keep)
    return {"n_fields": n, **asdict(run), **{key: report.get(key) for key in ("n_white", "n_red")}}


def over_area(side: int, root: Path, more: Sequence[str], *, keep: bool) -> dict[str, Any]:
    """One run over one region, and one over the fields that it is made of."""
    pieces = painted(PIECE, root / "fields")
    folder, out, alone_out = (_fresh(root / f"memory-{side}-{name}") for name in ("in", "out", "alone"))
    write_tiled(folder / "region.tif", (side, side), _mosaic([read_image(p.path) for p in pieces], side), tile_px=TILE_PX, big=True)
    n_bytes = (folder / "region.tif").stat().st_size
    run = analyze(folder, out, more)
    analyze(pieces[0].path.parent, alone_out, more)
    agreement = compare(_read(out / "fields" / "region.json"), [_read(alone_out / "fields" / f"{p.path.stem}.json") for p in pieces])
    _clean([folder, out, alone_out], keep)
    return {"side_px": side, "megapixels": side * side / 1e6, "file_mb": n_bytes / 1e6, **asdict(run), **agreement}


def analyze(folder: Path, out: Path, more: Sequence[str]) -> Run:
    """`python -m smear analyze` in a process of its own."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "smear", "analyze", str(folder), "--out", str(out), *more]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate() if process.stderr is None else (None, process.stderr.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(said, file=sys.stderr)
    peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10) * 2**20 / 1e6
    return Run(peak_mb, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, process.returncode)


def compare(region: FieldResult, pieces: Sequence[FieldResult]) -> dict[str, Any]:
    """How many cells of the pieces, away from their borders, are found in the region at their place, and how many more are there."""
    expected = _expected(region, pieces)
    n_kinds: dict[str, Any] = {}
    whole = region.detections
    inside = _is_inside(whole.boxes, pieces[0].shape_hw, region.shape_hw)
    for name, is_kind in (("white", lambda d: d.labels == 0), ("red", lambda d: d.labels == 1)):
        mine, truth = whole.take(is_kind(whole)), expected.take(is_kind(expected))
        met = np.zeros(len(mine), bool)
        n_found = 0
        both = Detections.concat([truth, mine])
        for a, b in boxes.touching(both.boxes):
            i, j = np.minimum(a, b), np.maximum(a, b)
            same = (i < len(truth)) & (j >= len(truth)) & (boxes.pair_iou(both.boxes[i], both.boxes[j]) > SAME_IOU)
            met[j[same] - len(truth)] = True
            n_found += len(np.unique(i[same]))
        n_kinds |= {f"n_{name}": len(mine), f"n_{name}_expected": len(truth), f"n_{name}_found": n_found}
        n_kinds |= {f"n_{name}_extra": int((~met & inside[is_kind(whole)]).sum())}
    return n_kinds


def _expected(region: FieldResult, pieces: Sequence[FieldResult]) -> Detections:
    """The cells of all pieces that lie whole in the region and away from the border of their piece, in pixels of the region."""
    height, width = pieces[0].shape_hw
    parts = []
    for row, y in enumerate(range(0, region.shape_hw[0], height)):
        for column, x in enumerate(range(0, region.shape_hw[1], width)):
            found = pieces[_piece(row, column, len(pieces))].detections.shift(x, y)
            parts.append(found.take(_is_inside(found.boxes, (height, width), region.shape_hw)))
    return Detections.concat(parts)


def _is_inside(corners: np.ndarray, piece_hw: tuple[int, int], region_hw: tuple[int, int]) -> np.ndarray:
    """(N,) boxes that are whole in one piece and in the region, `BORDER_PX` from their borders."""
    size, whole = np.array(piece_hw[::-1]), np.array(region_hw[::-1])
    low, high = corners[:, :2] - BORDER_PX, corners[:, 2:] + BORDER_PX
    return np.asarray(((low // size == high // size) & (low >= 0) & (high <= whole)).all(axis=1))


def _mosaic(pieces: Sequence[Image], side: int) -> Iterator[Image]:
    """The region in bands of `TILE_PX`."""
    height, width = pieces[0].shape[:2]
    for y0 in range(0, side, TILE_PX):
        rows = []
        for y in range(y0, min(y0 + TILE_PX, side)):
            row = [pieces[_piece(y // height, x // width, len(pieces))][y % height] for x in range(0, side, width)]
            rows.append(np.concatenate(row)[:side])
        yield np.stack(rows)


def _piece(row: int, column: int, n: int) -> int:
    """Which piece lies there; neighbours differ."""
    return (row * 3 + column) % n


def _read(path: Path) -> FieldResult:
    outcome = from_json(json.loads(path.read_text()))
    if not isinstance(outcome, FieldResult):
        raise RuntimeError(outcome.error)
    return outcome


def _limits(found: dict[str, Any]) -> bool:
    """Print what the peaks grow by and what time grows by; whether memory stays within its limits."""
    fields, areas = found["fields"], found["area"]
    within = all(row["code"] == 0 for row in fields + areas) and all(row["peak_mb"] < MAX_REGION_MB for row in areas)
    if len(fields) > 1:
        found["peak_ratio"] = fields[-1]["peak_mb"] / fields[0]["peak_mb"]
        print(f"peak of {fields[-1]['n_fields']} fields / of {fields[0]['n_fields']}: {found['peak_ratio']:.3f}, limit {MAX_GROWTH}")
        within &= found["peak_ratio"] <= MAX_GROWTH
    return within


def _shown(row: dict[str, Any]) -> str:
    return f"peak {row['peak_mb']:.0f} MB, {row['seconds']:.1f} s ({row['cpu_seconds']:.1f} s of processors)"


def _agreement(row: dict[str, Any]) -> str:
    kinds = ("white", "red")
    return ", ".join(f"{row[f'n_{k}_found']} of {row[f'n_{k}_expected']} {k} cells found, {row[f'n_{k}_extra']} more" for k in kinds)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _clean(folders: Sequence[Path], keep: bool) -> None:
    for folder in () if keep else folders:
        shutil.rmtree(folder)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
