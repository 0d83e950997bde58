"""What is wrong with the boxes of an image: read as they stand, nothing repaired and nothing refused."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets import voc
from datasets.listing import Problem
from smear import boxes
from smear.annotations import EDGE_TOLERANCE
from smear.errors import AnnotationError

SAME_IOU = 0.9  # two boxes that overlap by more are one box given twice
MAX_ASPECT = 3.0  # long side by short side of a cell that the border does not cut; of 16,179 in BCCD and TXL-PBC 4 are longer
EDGE_PX = 3.0  # a box as near to the border is of a cell that it cuts: drawn boxes end a little inside
MIN_SIDE_PX = 4.0  # nothing can be seen in less
SIZE_FACTOR = 3.0  # times the median diameter of its class: the limit of what is plausible, either way
MIN_FOR_SIZE = 20  # boxes of a class without which its median says nothing


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image that have an area: (N, 4) float32 pixels, as written (not clipped), N class names, N box numbers from 1."""

    corners: NDArray[np.float32]
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    problems: tuple[Problem, ...] = ()


NO_BOXES = Boxes(np.zeros((0, 4), np.float32), (), ())


def read_boxes(path: Path | None, shape_hw: tuple[int, int], classes: Sequence[str]) -> Boxes:
    """The label file of one image, YOLO (.txt) or VOC (.xml); None means that no boxes are expected.

    Args:
        classes: names in index order; () takes any index, as "class 0", "class 1", ….
    """
    if path is None:
        return NO_BOXES
    if not path.is_file():
        return Boxes(*_nothing(), (Problem("no label file", str(path)),))
    return _read_voc(path, shape_hw) if path.suffix.lower() == ".xml" else _read_yolo(path, shape_hw, classes)


def implausible_sizes(found: Sequence[tuple[str, tuple[int, int], Boxes]]) -> list[Problem]:
    """Boxes that no cell of their class would fill: too small to see, too long, or three times larger or smaller than its median.

    Medians are taken over images of one (height, width), as a set may mix magnifications. Boxes at the border are cut and left out,
    but for those that are too large.

    Args:
        found: of each image its label file, its (height, width) and its boxes.
    """
    diameters: defaultdict[tuple[str, tuple[int, int]], list[float]] = defaultdict(list)
    for _, shape_hw, b in found:
        whole = ~boxes.touches_edge(b.corners, shape_hw, margin_px=EDGE_PX)
        for name, diameter in zip(np.array(b.names, object)[whole], boxes.diameters(b.corners)[whole], strict=True):
            diameters[name, shape_hw].append(float(diameter))
    medians = {key: float(np.median(values)) for key, values in diameters.items() if len(values) >= MIN_FOR_SIZE}
    problems = []
    for file, shape_hw, b in found:
        for i, what in _implausible(b, shape_hw, [medians.get((name, shape_hw)) for name in b.names]):
            problems.append(Problem("implausible size", file, f"box {b.numbers[i]}, {b.names[i]}: {what}"))
    return problems


def _implausible(b: Boxes, shape_hw: tuple[int, int], medians: Sequence[float | None]) -> list[tuple[int, str]]:
    sides = b.corners[:, 2:] - b.corners[:, :2]
    cut = boxes.touches_edge(b.corners, shape_hw, margin_px=EDGE_PX)
    said = []
    for i, (median, diameter) in enumerate(zip(medians, boxes.diameters(b.corners), strict=True)):
        short, long = float(sides[i].min()), float(sides[i].max())
        if short < MIN_SIDE_PX and not cut[i]:
            said.append((i, f"{sides[i, 0]:.1f} × {sides[i, 1]:.1f} px"))
        elif long > MAX_ASPECT * short and not cut[i]:
            said.append((i, f"{long / short:.1f} times as long as wide"))
        elif median is not None and (diameter > SIZE_FACTOR * median or (diameter < median / SIZE_FACTOR and not cut[i])):
            said.append((i, f"{diameter:.0f} px, {diameter / median:.2f} of the median of its class"))
    return said


def _read_voc(path: Path, shape_hw: tuple[int, int]) -> Boxes:
    try:
        file = voc.read_xml(path)
    except AnnotationError as error:
        return Boxes(*_nothing(), (Problem("unreadable label file", str(path), str(error).removeprefix(f"{path}: ")),))
    problems = []
    if file.shape_hw not in (shape_hw, (0, 0)):  # some tools leave the size out
        told, real = (f"{shape[1]}×{shape[0]}" for shape in (file.shape_hw, shape_hw))
        problems.append(Problem("size in the label file is not the image's", str(path), f"{told}, but the image is {real}"))
    return _checked(path, file.boxes, file.names, range(1, len(file.names) + 1), shape_hw, problems)


def _read_yolo(path: Path, shape_hw: tuple[int, int], classes: Sequence[str]) -> Boxes:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return Boxes(*_nothing(), (Problem("unreadable label file", str(path), str(error)),))
    rows, names, numbers, problems = [], [], [], []
    for number, line in enumerate(lines, 1):
        values = _numbers(line)
        if not line.strip():
            continue
        if len(values) not in (5, *range(7, 1000, 2)):
            problems.append(Problem("malformed line", str(path), f"line {number}: {line[:60]!r}"))
        elif values[0] != int(values[0]) or values[0] < 0 or (classes and values[0] >= len(classes)):
            problems.append(Problem("unknown class", str(path), f"line {number}: class {values[0]:g} of {len(classes)}"))
        else:
            names.append(classes[int(values[0])] if classes else f"class {values[0]:g}")
            rows.append(values[1:] if len(values) == 5 else _around(values[1:]))
            numbers.append(number)
    corners = boxes.from_yolo(np.array(rows, np.float32).reshape(-1, 4), shape_hw)
    return _checked(path, corners, names, numbers, shape_hw, problems)


def _checked(
    path: Path, corners: NDArray, names: Sequence[str], numbers: Sequence[int], shape_hw: tuple[int, int], problems: list[Problem]
) -> Boxes:
    """The boxes with an area, and every problem of a box by itself or with another of the same image."""
    file = str(path)
    if not len(names) and not problems:
        return Boxes(*_nothing(), (Problem("empty label file", file),))
    sides = corners[:, 2:] - corners[:, :2]
    solid = (sides > 0).all(axis=1)
    slack = EDGE_TOLERANCE * max(shape_hw) + 1e-3
    outside = (np.abs(corners - boxes.clip(corners, shape_hw)) > slack).any(axis=1)
    for i in np.flatnonzero(~solid):
        what = "corners swapped" if (sides[i] < 0).any() else f"{sides[i, 0]:.1f} × {sides[i, 1]:.1f} px"
        problems.append(Problem("zero area", file, f"box {numbers[i]}, {names[i]}: {what}"))
    for i in np.flatnonzero(outside & solid):
        problems.append(Problem("out of range", file, f"box {numbers[i]}, {names[i]}: {', '.join(f'{v:.1f}' for v in corners[i])}"))
    kept = np.flatnonzero(solid)
    overlap = np.triu(boxes.iou(corners[kept], corners[kept]), 1)
    for a, b in np.argwhere(overlap > SAME_IOU):
        i, j = kept[a], kept[b]
        kind = "duplicated" if names[i] == names[j] else "two classes on one box"
        problems.append(Problem(kind, file, f"boxes {numbers[i]} and {numbers[j]}, {names[i]} and {names[j]}"))
    return Boxes(corners[kept], tuple(names[i] for i in kept), tuple(numbers[i] for i in kept), tuple(problems))


def _numbers(line: str) -> list[float]:
    try:
        values = [float(v) for v in line.split()]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []


def _around(polygon: Sequence[float]) -> list[float]:
    xs, ys = polygon[::2], polygon[1::2]
    return [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]


def _nothing() -> tuple[NDArray[np.float32], tuple[str, ...], tuple[int, ...]]:
    return NO_BOXES.corners, NO_BOXES.names, NO_BOXES.numbers
