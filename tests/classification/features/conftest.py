"""Pictures whose features are known: discs, ellipses, a Koch curve, white cells on glass between red ones."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

GLASS, RED, CYTOPLASM, NUCLEUS = (232, 230, 235), (214, 150, 150), (170, 170, 222), (84, 44, 140)


@pytest.fixture(scope="session")
def ellipse() -> Callable[..., np.ndarray]:
    """(S, S) bool: half axes a and b, turned by degrees, about a centre (x, y), pixels."""

    def draw(side: int, a: float, b: float, *, degrees: float = 0, at: tuple[float, float] | None = None) -> np.ndarray:
        y, x = np.mgrid[:side, :side].astype(float)
        x, y = x - (at[0] if at else (side - 1) / 2), y - (at[1] if at else (side - 1) / 2)
        turn = np.radians(degrees)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        return (along / a) ** 2 + (across / b) ** 2 <= 1

    return draw


@pytest.fixture(scope="session")
def koch() -> np.ndarray:
    """(729, 729) bool: a Koch curve of five steps, one pixel wide; its smallest segment is 3 pixels."""
    line = np.array([0, 1], complex)
    for _ in range(5):
        step = np.diff(line)
        corners = [line[:-1], line[:-1] + step / 3, line[:-1] + step / 3 + step / 3 * np.exp(-1j * np.pi / 3), line[:-1] + 2 * step / 3]
        line = np.append(np.stack(corners, axis=1).ravel(), line[-1])
    picture = np.zeros((729, 729), np.uint8)
    points = np.column_stack([line.real * 728, 500 + line.imag * 728])
    cv2.polylines(picture, [np.round(points).astype(np.int32)], False, 1, 1, cv2.LINE_4)
    return picture > 0


@pytest.fixture(scope="session")
def white_cell(ellipse) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A crop (S, S, 3), the mask of its cell and of its nucleus: a lymphocyte on glass, red cells around it, noise over all."""

    def draw(side: int = 112, *, radius: float = 0.22, core: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        picture = np.full((side, side, 3), GLASS, float)
        for x, y in ((0.15, 0.2), (0.85, 0.25), (0.2, 0.85), (0.8, 0.82)):
            picture[ellipse(side, side * 0.13, side * 0.13, at=(x * side, y * side))] = RED
        cell = ellipse(side, side * radius, side * radius)
        nucleus = ellipse(side, side * core, side * core * 0.9, at=((side - 1) / 2 + side * 0.02, (side - 1) / 2))
        picture[cell], picture[nucleus] = CYTOPLASM, NUCLEUS
        picture += np.random.default_rng(seed).normal(0, 3, picture.shape)
        return np.clip(np.round(picture), 0, 255).astype(np.uint8), cell, nucleus

    return draw
