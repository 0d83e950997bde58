"""What lies on a painted slide and is not a cell: stained protein, precipitate, dust and smudged nuclei. None of it is labelled."""

import numpy as np
from numpy.typing import NDArray

from datasets.paint.shapes import bell, frame, outline, ramp, smooth_noise
from datasets.paint.style import SlideStyle

Canvas = NDArray[np.float32]  # (H, W, 3) optical density


def paint_plasma(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, ...], rbc_px: float) -> Canvas:
    """A thin, uneven haze in the colours of the red cells and the cytoplasm, (H, W, 3)."""
    haze = np.abs(smooth_noise(rng, shape_hw, 2.5 * rbc_px)) * np.float32(style.plasma * rng.uniform(0.3, 1.5))
    tint = np.array(style.red) * 0.6 + np.array(style.cytoplasm) * 0.4
    return haze[..., None] * tint.astype(np.float32)


def lay_debris(rng: np.random.Generator, style: SlideStyle, canvas: Canvas, *, margin_px: int, rbc_px: float) -> None:
    """Add specks and smudged nuclei to the canvas, in place; `margin_px` of it lie beyond the field on every side."""
    height, width = canvas.shape[0] - 2 * margin_px, canvas.shape[1] - 2 * margin_px
    squares = height * width / rbc_px**2
    painters = [_speck] * int(rng.poisson(style.debris_rate * squares)) + [_smudge] * int(rng.poisson(style.smudge_rate * squares))
    for painter in painters:
        x, y = int(rng.integers(width)) + margin_px, int(rng.integers(height)) + margin_px
        density = painter(rng, style, rbc_px)
        reach = density.shape[0] // 2
        canvas[y - reach : y + reach + 1, x - reach : x + reach + 1] += density


def _speck(rng: np.random.Generator, style: SlideStyle, rbc_px: float) -> Canvas:
    """A grain of dust, grey and out of focus, or of precipitated stain, dark and sharp."""
    size = rng.uniform(0.02, 0.07) * rbc_px
    dust = rng.random() < 0.5
    seen = frame(np.full(256, 3 * size), border_px=size)
    plane = np.zeros_like(seen.dx)
    for _ in range(1 if dust else int(rng.integers(1, 5))):
        x, y = rng.normal(0, 0.8 * size, 2)
        away = np.hypot(seen.dx - x, (seen.dy - y) * rng.uniform(0.7, 1.4))
        plane += ramp(size * rng.uniform(0.5, 1.1) - away, max(1.5, size * rng.uniform(0.4, 2)))
    colour = np.ones(3) if dust else np.array(style.nucleus) + 0.2
    return (plane[..., None] * colour * rng.uniform(0.1, 0.35 if dust else 1.1)).astype(np.float32)


def _smudge(rng: np.random.Generator, style: SlideStyle, rbc_px: float) -> Canvas:
    """A burst nucleus: a pale, streaky cloud without an edge."""
    radius = rng.uniform(0.7, 1.3) * rbc_px
    amplitudes = {2: 0.2, 3: rng.uniform(0, 0.2), 5: rng.uniform(0, 0.15), 8: rng.uniform(0, 0.1)}
    seen = frame(outline(rng, amplitudes) * radius, border_px=0.4 * radius)
    strands = np.clip(0.6 + 0.35 * smooth_noise(rng, seen.dx.shape, 0.15 * rbc_px), 0, None)
    plane = bell(np.maximum(seen.rho - 0.2, 0), 0.5) * ramp(1.25 - seen.rho, 0.4) * strands * style.white_density * rng.uniform(0.2, 0.5)
    return (plane[..., None] * np.array(style.nucleus)).astype(np.float32)
