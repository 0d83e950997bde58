"""Where the cells of a painted field lie: white cells first, then red cells around them, singly, in chains or stacks, then platelets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.paint.style import SlideStyle
from datasets.paint.white import HEM_SHARES, KINDS

MAX_TRIES = 8  # places tried for one cell before it is left out
OUTSIDE = 0.45  # how far beyond the border a cell's centre may lie, in its diameters: cells are cut by the border
DISC = np.pi / 4  # area of a cell over its squared diameter


@dataclass(frozen=True)
class Place:
    """One cell to be painted; kind is `RBC`, `Platelets` or a key of KINDS, the rest is pixels of the field."""

    kind: str
    x: float
    y: float
    diameter: float


def arrange(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int], rbc_px: float) -> list[Place]:
    """All cells of a field in drawing order: red cells, white cells, platelets."""
    squares = shape_hw[0] * shape_hw[1] / rbc_px**2
    white = _white(rng, style, shape_hw, rbc_px, squares)
    red = _red(rng, style, shape_hw, rbc_px, squares, white)
    return [*red, *white, *_platelets(rng, style, shape_hw, rbc_px, squares, white)]


def _white(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int], rbc_px: float, squares: float) -> list[Place]:
    busy = rng.gamma(2.0, 0.5)  # fields of one slide differ: some are empty of white cells, some crowded
    n = min(int(rng.poisson(style.white_rate * squares * busy)), int(0.2 * squares) + 1)
    white: list[Place] = []
    for _ in range(n):
        kind = "blast" if rng.random() < style.blast_share else str(rng.choice(list(HEM_SHARES), p=list(HEM_SHARES.values())))
        median, spread, low, high = KINDS[kind].diameter
        diameter = float(np.clip(median * np.exp(rng.normal(0, spread)), low, high)) * rbc_px
        near = white[int(rng.integers(len(white)))] if white and rng.random() < style.white_cohesion else None
        _settle(rng, white, kind, diameter, shape_hw, near=near, closest=style.white_closest)
    return white


def _red(
    rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int], rbc_px: float, squares: float, white: Sequence[Place]
) -> list[Place]:
    n = int(style.coverage * np.exp(rng.normal(0, 0.22)) * squares / DISC)
    heading = rng.uniform(0, 2 * np.pi)
    red: list[Place] = []
    for _ in range(n):
        diameter = float(rbc_px * np.exp(np.clip(rng.normal(0, style.anisocytosis), -0.35, 0.35)))
        near = red[int(rng.integers(max(0, len(red) - 4), len(red)))] if red and rng.random() < style.cohesion else None
        heading = heading + rng.normal(0, 0.35) if near else rng.uniform(0, 2 * np.pi)
        _settle(rng, red, "RBC", diameter, shape_hw, near=near, closest=style.closest, heading=heading, avoid=white)
    return red


def _platelets(
    rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int], rbc_px: float, squares: float, white: Sequence[Place]
) -> list[Place]:
    platelets: list[Place] = []
    for _ in range(int(rng.poisson(style.platelet_rate * squares))):
        diameter = rbc_px * float(np.clip(np.exp(rng.normal(np.log(0.33), 0.28)), 0.17, 0.75))
        near = platelets[-1] if platelets and rng.random() < 0.25 else None
        _settle(rng, platelets, "Platelets", diameter, shape_hw, near=near, closest=0.95, avoid=white)
    return platelets


def _settle(
    rng: np.random.Generator,
    laid: list[Place],
    kind: str,
    diameter: float,
    shape_hw: tuple[int, int],
    *,
    near: Place | None,
    closest: float,
    heading: float | None = None,
    avoid: Sequence[Place] = (),
) -> None:
    """Append one cell to `laid` where it keeps its distance (in sums of radii) from all others; else leave it out."""
    others = np.array([(p.x, p.y, p.diameter, closest) for p in laid] + [(p.x, p.y, p.diameter, 0.96) for p in avoid]).reshape(-1, 4)
    margin = OUTSIDE * diameter
    for attempt in range(MAX_TRIES):
        if near is not None and attempt < 3:
            angle = heading if heading is not None and attempt == 0 else rng.uniform(0, 2 * np.pi)
            apart = rng.uniform(closest, 1.03) * (near.diameter + diameter) / 2
            x, y = near.x + apart * np.cos(angle), near.y + apart * np.sin(angle)
        else:
            x, y = rng.uniform(-margin, shape_hw[1] + margin), rng.uniform(-margin, shape_hw[0] + margin)
        if not (-margin <= x <= shape_hw[1] + margin and -margin <= y <= shape_hw[0] + margin):
            continue
        away = np.hypot(others[:, 0] - x, others[:, 1] - y)
        if (away >= others[:, 3] * (others[:, 2] + diameter) / 2 - 1e-6).all():
            laid.append(Place(kind, float(x), float(y), diameter))
            return
