"""Shapes of painted nuclei: each function gives the inward depth from the nuclear edge, pixels, negative outside, (h, w) float32."""

from collections.abc import Callable

import cv2
import numpy as np

from datasets.paint.shapes import Frame, Plane, measure, outline, rough, smooth_noise

Shape = Callable[..., Plane]


def round_nucleus(rng: np.random.Generator, seen: Frame, radius_px: float, *, share: float, contour: float, cleft: float) -> Plane:
    """A round nucleus, off centre, sometimes cleft.

    Args:
        radius_px: of the cell. share: nuclear area over the cell's. contour: irregularity of the outline, about 1. cleft: its chance.
    """
    amplitudes = rough(rng, {2: 0.05, 3: 0.025 * contour, 4: 0.02 * contour, 5: 0.015 * contour, 7: 0.01 * contour})
    size = radius_px * np.sqrt(share)
    room, angle = (radius_px - size) * rng.uniform(0.1, 0.95), rng.uniform(0, 2 * np.pi)
    x, y = seen.dx - np.float32(room * np.cos(angle)), seen.dy - np.float32(room * np.sin(angle))
    depth = measure(x, y, outline(rng, amplitudes) * size)[1]
    if rng.random() < cleft:
        depth = _cleave(rng, depth, x, y, size)
    return depth.astype(np.float32)


def segmented_nucleus(rng: np.random.Generator, seen: Frame, radius_px: float, *, share: float, contour: float, cleft: float) -> Plane:
    """Two to five lobes along an arc, or one long bent rod (band form)."""
    spread = rng.uniform(0.44, 0.58)
    if rng.random() < 0.2:
        blobs = _arc(rng, radius_px, n=7, arc=rng.uniform(2.6, 4.8), spread=spread, sizes=(0.24, 0.28))
    else:
        n = int(rng.choice((2, 3, 4, 5), p=(0.12, 0.42, 0.34, 0.12)))
        blobs = _arc(rng, radius_px, n=n, arc=rng.uniform(1.1, 1.5) * (n - 1), spread=spread, sizes=(0.24, 0.36))
    return _melt(rng, seen, radius_px, blobs, smooth=0.6, share=share, contour=contour)


def bilobed_nucleus(rng: np.random.Generator, seen: Frame, radius_px: float, *, share: float, contour: float, cleft: float) -> Plane:
    n = int(rng.choice((2, 3), p=(0.8, 0.2)))
    blobs = _arc(rng, radius_px, n=n, arc=rng.uniform(1.6, 3.1), spread=0.5, sizes=(0.34, 0.44))
    return _melt(rng, seen, radius_px, blobs, smooth=0.62, share=share, contour=contour)


def kidney_nucleus(rng: np.random.Generator, seen: Frame, radius_px: float, *, share: float, contour: float, cleft: float) -> Plane:
    blobs = _arc(rng, radius_px, n=6, arc=rng.uniform(1.8, 3.6), spread=0.38, sizes=(0.36, 0.46))
    return _melt(rng, seen, radius_px, blobs, smooth=0.75, share=share, contour=contour)


NUCLEI: dict[str, Shape] = {
    "round": round_nucleus,
    "segmented": segmented_nucleus,
    "bilobed": bilobed_nucleus,
    "kidney": kidney_nucleus,
}


def _cleave(rng: np.random.Generator, depth: Plane, x: Plane, y: Plane, size: float) -> Plane:
    """Cut a bent fold or a notch into a nucleus of radius `size`; a smooth minimum of the two depths rounds the corners."""
    turn, deep, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0) * size, rng.uniform(-0.6, 0.6)
    along = x * np.cos(turn) + y * np.sin(turn) - (size - deep)  # outward from the blind end
    across = np.abs(y * np.cos(turn) - x * np.sin(turn) - bend * along * np.abs(along) / size)
    opening = rng.uniform(0.0, 0.18 if deep > 0.5 * size else 0.6)
    fold = np.hypot(across, np.minimum(along, 0)) - rng.uniform(0.0, 0.04) * size - opening * np.clip(along, 0, None)
    blend = rng.uniform(0.08, 0.2) * size
    h = np.clip(0.5 + 0.5 * (fold - depth) / blend, 0, 1)
    return (fold * (1 - h) + depth * h - blend * h * (1 - h)).astype(np.float32)


def _arc(
    rng: np.random.Generator, radius_px: float, *, n: int, arc: float, spread: float, sizes: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """x, y, size in pixels of N blobs along an arc (radians) about the cell's centre; spread and sizes are in cell radii."""
    start = rng.uniform(0, 2 * np.pi)
    blobs = []
    for i in range(n):
        angle = start + (i + rng.normal(0, 0.12)) * arc / max(n - 1, 1)
        distance = spread * radius_px * np.exp(rng.normal(0, 0.12))
        blobs.append((float(distance * np.cos(angle)), float(distance * np.sin(angle)), float(rng.uniform(*sizes) * radius_px)))
    return blobs


def _melt(
    rng: np.random.Generator,
    seen: Frame,
    radius_px: float,
    blobs: list[tuple[float, float, float]],
    *,
    smooth: float,
    share: float,
    contour: float,
) -> Plane:
    """Melt blobs into one shape: a level set of summed Gaussians, at the level that gives the nucleus its share of the cell's area."""
    field = np.zeros_like(seen.dx)
    for x0, y0, size in blobs:
        stretch, tilt = np.exp(rng.normal(0, 0.15)), rng.uniform(0, np.pi)
        x, y = seen.dx - np.float32(x0), seen.dy - np.float32(y0)
        a, b = (x * np.cos(tilt) + y * np.sin(tilt)) * stretch, (y * np.cos(tilt) - x * np.sin(tilt)) / stretch
        field += np.exp(-((a**2 + b**2) / (2 * (smooth * size) ** 2)))
    field *= 1 + np.float32(0.05 * contour) * smooth_noise(rng, field.shape, 0.22 * radius_px)
    inside = seen.rho < 1
    within = np.where(inside & (seen.rho < 0.97), field, 0)
    level = float(np.quantile(within[inside], 1 - share))
    slope = np.hypot(cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8))
    flattest = 0.25 * level / radius_px  # bridges between lobes are saddles: without this they would have no edge
    return ((within - np.float32(level)) / np.maximum(slope, np.float32(flattest))).astype(np.float32)
