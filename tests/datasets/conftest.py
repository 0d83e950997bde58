"""Painted stand-ins for the sources: textured fields with known boxes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.convert import Record, write_yolo
from smear.types import Detections

Paint = Callable[..., tuple[NDArray[np.uint8], Detections]]
CLASSES = ("WBC", "RBC", "Platelets")


@pytest.fixture
def paint(paint_cells: Paint) -> Paint:
    return paint_cells


@pytest.fixture
def prepared(tmp_path: Path, paint_cells: Paint) -> Callable[..., Path]:
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
