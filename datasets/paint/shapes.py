"""What every painted thing is made of: pixel grids, closed outlines, smooth ramps and noise, and the patch that comes out."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (h, w)
N_ANGLES = 256  # resolution of an outline


@dataclass(frozen=True)
class Patch:
    """A cell ready to be laid on the canvas, centred on its middle pixel.

    density (h, w, 3) float32: optical density, RGB; cover (h, w) float32: how much of a pixel the cell fills, in [0, 1].
    """

    density: NDArray[np.float32]
    cover: Plane


@dataclass(frozen=True)
class Spot:
    """Where on the canvas's pixel grid one cell is painted, and at what scale, all in pixels.

    offset_xy: from the centre of the patch's middle pixel to the centre of the cell.
    """

    diameter_px: float
    rbc_px: float
    offset_xy: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Frame:
    """The pixels of a patch seen from a cell whose outline is known; all planes (h, w) float32, pixels unless named otherwise.

    dx, dy: from the cell's centre; rho: distance from it over that of the outline in the same direction; depth: inward from the outline.
    """

    dx: Plane
    dy: Plane
    rho: Plane
    depth: Plane


def frame(edge_px: NDArray[np.float64], *, border_px: float, offset_xy: tuple[float, float] = (0.0, 0.0)) -> Frame:
    """The smallest patch that holds an outline (as `outline` gives it, times its radius) and a border around it."""
    reach = int(edge_px.max() + border_px) + 2
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    dx, dy = np.meshgrid(axis - np.float32(offset_xy[0]), axis - np.float32(offset_xy[1]))
    rho, depth = measure(dx, dy, edge_px)
    return Frame(dx, dy, rho, depth)


def measure(dx: Plane, dy: Plane, edge_px: NDArray[np.float64]) -> tuple[Plane, Plane]:
    """Relative radius and inward depth, in pixels, of points relative to the centre of an outline."""
    index = (np.arctan2(dy, dx) * (N_ANGLES / (2 * np.pi))).astype(np.int32) % N_ANGLES
    edge = edge_px.astype(np.float32)[index]
    rho = np.hypot(dx, dy) / edge
    return rho, (1 - rho) * edge


def outline(rng: np.random.Generator, amplitudes: dict[int, float], *, tail: float = 0.0, spicules: int = 0) -> NDArray[np.float64]:
    """A closed outline: the radius at N_ANGLES angles, scaled so that the mean of its width and height is 2.

    Args:
        amplitudes: relative amplitude by angular order: 2 stretches, 3 makes triangular, higher ones roughen.
        tail: height of one bump, as in a teardrop cell. spicules: how many blunt spikes, as in a crenated cell.
    """
    angle = np.linspace(0, 2 * np.pi, N_ANGLES, endpoint=False)
    radius = np.ones(N_ANGLES)
    for order, amplitude in amplitudes.items():
        radius += amplitude * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    if tail:
        away = np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi))))
        radius += tail * np.exp(-((away / 0.32) ** 2))
    if spicules:
        radius += 0.05 * np.cos(spicules * angle + 1.2 * np.cos(2 * angle + rng.uniform(0, 6)))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return radius * 4 / (np.ptp(x) + np.ptp(y))


def rough(rng: np.random.Generator, spreads: dict[int, float]) -> dict[int, float]:
    """Random amplitudes for `outline`: half-normal with the given spread by order."""
    return {order: float(abs(rng.normal(0, spread))) for order, spread in spreads.items()}


def smooth_noise(rng: np.random.Generator, shape_hw: tuple[int, ...], grain_px: float) -> Plane:
    """Isotropic noise of mean 0 and standard deviation 1 whose grains have a sigma of about `grain_px`."""
    step = max(1.0, grain_px / 1.5)  # coarse noise is drawn small and enlarged
    small = (int(shape_hw[0] / step) + 3, int(shape_hw[1] / step) + 3)
    noise = cv2.GaussianBlur(rng.standard_normal(small, dtype=np.float32), (0, 0), max(grain_px / step, 0.3))
    if step > 1:
        noise = cv2.resize(noise, (int(small[1] * step) + 1, int(small[0] * step) + 1), interpolation=cv2.INTER_CUBIC)
    noise = noise[: shape_hw[0], : shape_hw[1]]
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def ramp(values: Plane, width: float) -> Plane:
    """0 to 1 over `width` around 0, smooth at both ends."""
    t = np.clip(values / np.float32(width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def bell(values: Plane, width: float) -> Plane:
    """1 at 0, falling off as a Gaussian of that width."""
    return np.exp(-((values / np.float32(width)) ** 2))
