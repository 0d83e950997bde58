"""Painted stand-ins for the sources: textured fields with known boxes."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.convert import Record, write_yolo
from smear.types import Detections

Paint = Callable[..., tuple[NDArray[np.uint8], Detections]]
CLASSES = ("WBC", "RBC", "Platelets")


def paint_cells(
    seed: int, shape_hw: tuple[int, int] = (96, 128), *, red_px: float = 20.0, n_red: int = 8
) -> tuple[NDArray[np.uint8], Detections]:
    """Red discs, one large violet disc and noise on a light ground; the truth is exact to the pixel."""
    rng = np.random.default_rng(seed)
    height, width = shape_hw
    image = np.full((height, width, 3), rng.integers(200, 240, 3), np.uint8)
    rows = []
    for label, radius, colour in [(1, red_px / 2, (190, 90, 90))] * n_red + [(0, red_px, (90, 50, 160))]:
        x, y = rng.uniform(radius + 2, width - radius - 2), rng.uniform(radius + 2, height - radius - 2)
        shade = tuple(int(c * rng.uniform(0.7, 1.1)) for c in colour)
        cv2.circle(image, (round(x), round(y)), round(radius), shade, -1)
        rows.append((round(x) - radius, round(y) - radius, round(x) + radius, round(y) + radius, label))
    noise = rng.normal(0, 4, image.shape)
    values = np.array(rows, np.float32)
    truth = Detections(values[:, :4], np.ones(len(rows), np.float32), values[:, 4].astype(np.int64))
    return np.clip(image + noise, 0, 255).astype(np.uint8), truth


@pytest.fixture
def paint() -> Paint:
    return paint_cells


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Path]:
    """Write a small prepared set of painted fields: (name, {split: seeds}) → data.yaml."""

    def write(name: str, seeds: dict[str, list[int]], *, classes: tuple[str, ...] = CLASSES, **how: object) -> Path:
        records = []
        for split, numbers in seeds.items():
            for seed in numbers:
                image, truth = paint_cells(seed, **how)
                records.append(Record(None, image, f"field_{seed}", split, truth))
        about = {"name": name, "source": "painted", "licence": "CC0-1.0"}
        return write_yolo(records, tmp_path / name, classes=classes, about=about)

    return write
