"""Painted red cells and platelets."""

import numpy as np

from datasets.paint.shapes import Frame, Patch, Plane, Spot, bell, frame, outline, ramp, rough, smooth_noise
from datasets.paint.style import SlideStyle

ODD_SHAPES = {"oval": 0.04, "tail": 0.012}  # chance at a poikilocytosis of 1
ODD_PALLORS = {"slit": 0.03, "target": 0.03}  # stomatocytes, target cells


def paint_red(rng: np.random.Generator, style: SlideStyle, spot: Spot) -> Patch:
    """A biconcave red cell: an edge, a rim and a central pallor; sometimes oval, with a tail, spicules, a slit or a target."""
    p, rbc_px = style.poikilocytosis, spot.rbc_px
    amplitudes = rough(rng, {2: 0.055 * p, 3: 0.018 * p, 4: 0.009 * p, 5: 0.006 * p})
    if rng.random() < ODD_SHAPES["oval"] * p:
        amplitudes[2] = rng.uniform(0.15, 0.32)
    tail = rng.uniform(0.3, 0.7) if rng.random() < ODD_SHAPES["tail"] * p else 0.0
    spicules = int(rng.integers(9, 16)) if rng.random() < style.crenated else 0
    edge_px = outline(rng, amplitudes, tail=tail, spicules=spicules) * spot.diameter_px / 2
    seen = frame(edge_px, border_px=0.1 * rbc_px, offset_xy=spot.offset_xy)
    cover = ramp(seen.depth, max(1.4, 0.035 * rbc_px))
    thickness = 1 - _pallor(rng, style, seen, spot.diameter_px / 2)
    thickness *= 1 + np.float32(0.05) * smooth_noise(rng, cover.shape, 0.16 * rbc_px)
    line = bell(seen.depth - 0.03 * rbc_px, 0.03 * rbc_px)
    density = cover * (thickness + style.rim * line) * style.red_density * np.exp(rng.normal(0, 0.09))
    density -= style.halo * bell(seen.depth + 0.035 * rbc_px, 0.03 * rbc_px)
    if rng.random() < style.refractile:
        density += _refractile(rng, seen, rbc_px)
    colour = np.array(style.red) * np.exp(rng.normal(0, 0.035, 3))
    return Patch((density[..., None] * colour).astype(np.float32), cover)


def paint_platelet(rng: np.random.Generator, style: SlideStyle, spot: Spot) -> Patch:
    """A small purple granular clump with a paler, frayed edge."""
    amplitudes = {2: rng.uniform(0, 0.2), 3: rng.uniform(0, 0.1), 5: rng.uniform(0, 0.08), 7: rng.uniform(0, 0.06)}
    edge_px = outline(rng, amplitudes) * spot.diameter_px / 2
    seen = frame(edge_px, border_px=1, offset_xy=spot.offset_xy)
    cover = ramp(seen.depth, max(1.5, 0.22 * spot.diameter_px))
    grains = smooth_noise(rng, cover.shape, max(0.6, 0.025 * spot.rbc_px))
    core = bell(seen.rho, rng.uniform(0.5, 0.9))
    strength = style.platelet_density * np.exp(rng.normal(0, 0.2))
    density = cover * np.clip(0.25 + core * (0.75 + 0.45 * grains), 0.08, None) * strength
    colour = np.array(style.platelet) * np.exp(rng.normal(0, 0.05, 3))
    return Patch((density[..., None] * colour).astype(np.float32), cover)


def _pallor(rng: np.random.Generator, style: SlideStyle, seen: Frame, radius_px: float) -> Plane:
    """How much thinner than its rim the cell is, (h, w)."""
    depth = float(np.clip(style.pallor + rng.normal(0, 0.14), 0, 0.97))
    width = style.pallor_radius * np.exp(rng.normal(0, 0.16))
    turn, squeeze = rng.uniform(0, np.pi), np.exp(abs(rng.normal(0, 0.18)))
    if rng.random() < ODD_PALLORS["slit"]:
        squeeze = rng.uniform(2.0, 3.5)
    shift = rng.normal(0, 0.07, 2) * radius_px
    x, y = seen.dx - shift[0], seen.dy - shift[1]
    a, b = (x * np.cos(turn) + y * np.sin(turn)) / squeeze**0.5, (y * np.cos(turn) - x * np.sin(turn)) * squeeze**0.5
    distance = np.hypot(a, b) / radius_px
    pale = 1 / (1 + np.exp(np.clip((distance - width) / style.pallor_softness, -30, 30)))
    if rng.random() < ODD_PALLORS["target"]:
        pale = pale * (1 - 0.8 * bell(distance, 0.4 * width))
    dome = np.float32(0.12) * (1 - np.clip(seen.rho, 0, 1) ** 2)  # between rim and pallor the disc is not flat
    return (depth * pale + (dome if depth > 0.3 else -dome)).astype(np.float32)


def _refractile(rng: np.random.Generator, seen: Frame, rbc_px: float) -> Plane:
    """One or two bright drops with a dark ring, as water leaves in a cell while it dries."""
    total = np.zeros_like(seen.dx)
    for _ in range(rng.integers(1, 3)):
        x, y = rng.normal(0, 0.17, 2) * rbc_px
        size = rng.uniform(0.03, 0.09) * rbc_px
        distance = np.hypot(seen.dx - x, (seen.dy - y) * rng.uniform(0.7, 1.4)) / size
        total += rng.uniform(0.3, 0.9) * bell(distance - 1, 0.35) - rng.uniform(0.15, 0.4) * bell(distance, 0.7)
    return total
