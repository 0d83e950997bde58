"""Merge prepared sets into one training set at one scale, without a twin of any val or test image in training.

Every image is resized so that its red cells measure `--rbc-px` (the ruler is told in `datasets.rulers`); white cells labelled ALL or
HEM become WBC. An image larger than 1280 px after that is cut into 640 px windows that overlap, in every split; a window keeps the
boxes it shows to 60 % or more, clipped. Images that show the same field (`smear.audit.twins`, also through a chain of twins) as a test
image leave train and val; those of a val image leave train. What was dropped, and why, stands in the manifest.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import convert, rulers
from datasets.bars import track
from datasets.convert import Record
from smear import annotations, boxes, images, tiles
from smear.annotations import DataSet
from smear.audit import twins
from smear.audit.linked import connected
from smear.errors import AnnotationError
from smear.types import Detections, Image

CLASSES = ("WBC", "RBC", "Platelets")
CLASS_OF = {"wbc": 0, "all": 0, "hem": 0, "rbc": 1, "platelets": 2, "platelet": 2}  # any case
RBC_PX = 48.0
MAX_PX, WINDOW_PX, OVERLAP_PX = 1280, 640, 160  # the overlap holds a white cell of 3.3 red cells
MIN_VISIBLE = 0.6  # share of a box that a window must show to keep it
SAME_SIZE = 0.01  # a factor this near to 1 copies the file instead
RANK = {"train": 0, "val": 1, "test": 2}  # an image leaves its split for a twin in a higher one


@dataclass(frozen=True)
class Source:
    """One image of one prepared set, its labels in the composed classes, its ruler in its own pixels."""

    set_name: str
    path: Path
    split: str
    truth: Detections
    shape_hw: tuple[int, int]
    slide: str | None
    patient: str | None
    ruler: rulers.Ruler = rulers.UNKNOWN

    @property
    def file(self) -> str:
        """The set and the path in it, posix."""
        return f"{self.set_name}/{_inside(self.path)}"


def read_set(data: Path, *, progress: bool = False) -> tuple[dict[str, Any], list[Source]]:
    """One prepared set: what the composed manifest says about it, and its images with rulers.

    Raises:
        AnnotationError: no manifest (prepare the set first), an unknown class name, or a wrong label file.
    """
    prepared = annotations.read_data_yaml(data)
    manifest = annotations.read_manifest(data.parent)
    if manifest is None:
        raise AnnotationError(f"{data.parent}: no manifest.json; prepare the set first, with datasets.yolo for one of your own")
    unknown = [c for c in prepared.classes if c.casefold() not in CLASS_OF]
    if unknown:
        raise AnnotationError(f"{data}: names: unknown class {unknown[0]!r}; expected some of WBC, ALL, HEM, RBC, Platelets")
    about = {key: manifest.get(key) for key in ("name", "source", "licence")}
    about |= {key: manifest[key] for key in ("slide_is", "limits") if key in manifest}
    about |= {"name": about["name"] or data.parent.name, "manifest_sha256": annotations.sha256(data.parent / "manifest.json")}
    entries = {entry["file"]: entry for entry in manifest["files"]}
    found = list(_read_sources(prepared, str(about["name"]), entries, progress=progress))
    truths, shapes_hw, groups = [s.truth for s in found], [s.shape_hw for s in found], [s.slide or "" for s in found]
    measured = rulers.measure(truths, shapes_hw, groups, white=CLASSES.index("WBC"), red=CLASSES.index("RBC"))
    return about, [replace(s, ruler=r) for s, r in zip(found, measured, strict=True)]


def leaks(
    sources: Sequence[Source], held_out: Sequence[Path] = (), *, pairs: Sequence[twins.Twin] | None = None, progress: bool = False
) -> dict[Path, dict[str, Any]]:
    """The images that must leave their split, each with the image it is a twin of: `file`, `split`, `twin_of`, `kind`, `distance`.

    Twins of twins count as twins. `held_out`: further images that no training may see. `pairs`: the twins among all of these;
    they are searched for when it is None.
    """
    rank = {s.path: RANK[s.split] for s in sources} | dict.fromkeys(held_out, RANK["test"])
    name = {p: _inside(p) for p in held_out} | {s.path: s.file for s in sources}
    pairs = twins.find_twins(list(rank), watch=partial(track, shown=progress)) if pairs is None else pairs
    direct: defaultdict[Path, dict[Path, twins.Twin]] = defaultdict(dict)
    for pair in pairs:
        direct[pair.a][pair.b] = direct[pair.b][pair.a] = pair
    component = connected(list(rank), [(pair.a, pair.b) for pair in pairs])
    highest: dict[int, Path] = {}
    for path in rank:
        highest[component[path]] = max(highest.get(component[path], path), path, key=rank.__getitem__)
    dropped = {}
    for s in sources:
        if rank[s.path] < rank[highest[component[s.path]]]:
            twin = max(direct[s.path], key=rank.__getitem__)
            if rank[twin] <= rank[s.path]:  # only twins of twins are held out
                twin = highest[component[s.path]]
            pair_or_none = direct[s.path].get(twin)
            how = {"kind": pair_or_none.kind, "distance": pair_or_none.distance} if pair_or_none else {"kind": "chain", "distance": None}
            dropped[s.path] = {"file": s.file, "split": s.split, "twin_of": name[twin], "twin_split": _split_of(rank[twin]), **how}
    return dropped


def doubles(sources: Sequence[Source], pairs: Sequence[twins.Twin]) -> dict[Path, dict[str, Any]]:
    """Training images that are twins of a training image of a set given earlier: one picture with two sets of labels teaches neither."""
    order = {name: i for i, name in enumerate(dict.fromkeys(s.set_name for s in sources))}
    training = [s for s in sources if s.split == "train"]
    known = {s.path for s in sources}
    component = connected(list(known), [(p.a, p.b) for p in pairs if {p.a, p.b} <= known])
    first: dict[int, Source] = {}
    for s in training:
        kept = first.setdefault(component[s.path], s)
        if order[s.set_name] < order[kept.set_name]:
            first[component[s.path]] = s
    return {
        s.path: {"file": s.file, "split": s.split, "twin_of": first[component[s.path]].file, "twin_split": "train", "kind": "double"}
        for s in training
        if order[s.set_name] > order[first[component[s.path]].set_name]
    }


def normalise(source: Source, rbc_px: float) -> Iterator[Record]:
    """The image at the scale where a red cell measures `rbc_px`, in one record, or one a window if it is large."""
    factor = rbc_px / source.ruler.rbc_px
    name = "__".join([source.set_name, *Path(convert.name_below_split(source.path)).with_suffix("").parts])
    group = f"{source.set_name}/{source.slide}" if source.slide else source.set_name
    ruler = round(source.ruler.rbc_px, 2)
    record = Record(None, None, name, source.split, source.truth, group, source.patient, ruler, source_file=source.file)
    if abs(factor - 1) <= SAME_SIZE and max(source.shape_hw) <= MAX_PX:
        yield replace(record, source=source.path)
        return
    image = images.resize(images.read_image(source.path), factor)
    truth = source.truth.rescale((image.shape[1] / source.shape_hw[1], image.shape[0] / source.shape_hw[0]))
    if max(image.shape[:2]) <= MAX_PX:
        yield replace(record, image=image, truth=truth)
        return
    for part, x0, y0, seen in windows(image, truth):
        yield replace(record, image=part, truth=seen, name=f"{name}__x{x0}y{y0}")


def windows(image: Image, truth: Detections) -> Iterator[tuple[Image, int, int, Detections]]:
    """Overlapping 640 px windows that cover the image, with left, top and the boxes shown to 60 % or more, clipped."""
    for tile in tiles.plan_tiles((image.shape[0], image.shape[1]), tile_px=WINDOW_PX, overlap_px=OVERLAP_PX):
        x0, y0, x1, y1 = tile.view
        moved = truth.shift(-x0, -y0)
        clipped = boxes.clip(moved.boxes, (y1 - y0, x1 - x0))
        shown = boxes.area(clipped) >= MIN_VISIBLE * np.maximum(boxes.area(moved.boxes), 1e-6)
        yield image[y0:y1, x0:x1], x0, y0, Detections(clipped, moved.scores, moved.labels).take(shown)


def compose(data: Sequence[Path], out: Path, *, rbc_px: float = RBC_PX, holdout: Sequence[Path] = (), progress: bool = False) -> Path:
    """Write the composed set; returns its data.yaml, which also says `rbc_px`.

    Raises:
        AnnotationError: two sets of one name, or what `read_set` and `convert.write_yolo` raise.
    """
    read = [read_set(path, progress=progress) for path in data]
    names = Counter(about["name"] for about, _ in read)
    if len(names) < len(read):
        raise AnnotationError(f"--data: two sets are named {names.most_common(1)[0][0]!r}; give each set once")
    sources = [s for _, found in read for s in found]
    kept_out = [p for path in holdout for p in _held_out(annotations.read_data_yaml(path))]
    pairs = twins.find_twins([*(s.path for s in sources), *kept_out], watch=partial(track, shown=progress))
    leaving = leaks(sources, kept_out, pairs=pairs)
    dropped = {**doubles([s for s in sources if s.path not in leaving], pairs), **leaving}
    usable = [s for s in sources if s.path not in dropped and np.isfinite(s.ruler.rbc_px)]
    unmeasured = [s.file for s in sources if s.path not in dropped and not np.isfinite(s.ruler.rbc_px)]
    sets = [about | {"rulers": dict(Counter(s.ruler.origin for s in found))} for about, found in read]
    about = {
        "name": "composed",
        "source": ", ".join(about["name"] for about in sets),
        "licence": ", ".join(sorted({str(about["licence"]) for about in sets})),
        "rbc_px": rbc_px,
        "rbc_px_of_files": "measured in the source image, pixels, before resizing",
        "sets": sets,
        "dropped": [dropped[p] for p in sorted(dropped)],
        "without_ruler": sorted(unmeasured),
    }
    records = (r for s in track(usable, "resize", shown=progress) for r in normalise(s, rbc_px))
    return convert.write_yolo(records, out, classes=CLASSES, about=about, rbc_px=rbc_px)


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.compose", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--data", type=Path, nargs="+", required=True, metavar="YAML", help="data.yaml of each prepared set")
    held = "further sets whose val and test images no training may see"
    made.add_argument("--holdout", type=Path, nargs="*", default=[], metavar="YAML", help=held)
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the composed set goes")
    made.add_argument("--rbc-px", type=float, default=RBC_PX, metavar="PX", help="red-cell diameter of every image (default 48)")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return convert.run(made, argv, lambda a: compose(a.data, a.out, rbc_px=a.rbc_px, holdout=a.holdout, progress=not a.quiet))


def _read_sources(prepared: DataSet, name: str, entries: Mapping[str, Mapping[str, Any]], *, progress: bool) -> Iterator[Source]:
    index = np.array([CLASS_OF[c.casefold()] for c in prepared.classes], np.int64)
    files = [(split, path) for split, paths in prepared.splits.items() for path in paths]
    for split, path in track(files, name, shown=progress):
        shape = images.read_image(path).shape
        shape_hw = (shape[0], shape[1])
        raw = annotations.read_labels(annotations.label_path(path), shape_hw, len(prepared.classes))
        entry = entries.get(path.relative_to(prepared.root).as_posix(), {})
        truth = Detections(raw.boxes, raw.scores, index[raw.labels])
        yield Source(name, path, split, truth, shape_hw, entry.get("slide"), entry.get("patient"))


def _held_out(prepared: DataSet) -> list[Path]:
    """Val and test of a set; all of it when it has neither."""
    parts = [s for s in ("val", "test") if prepared.splits.get(s)] or list(prepared.splits)
    return [path for s in parts for path in prepared.splits[s]]


def _split_of(rank: int) -> str:
    return next(split for split, r in RANK.items() if r == rank)


def _inside(path: Path) -> str:
    """The part of an image's path from its `images` folder on."""
    parts = path.parts
    start = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else len(parts) - 1
    return "/".join(parts[start:])


if __name__ == "__main__":
    raise SystemExit(main())
