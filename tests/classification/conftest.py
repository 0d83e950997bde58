"""Crops that a tiny network learns in seconds: dark discs are ALL, pale ones HEM; two stains, every field in one split."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from classification import train as training
from classification.settings import TrainSettings
from classification.systems import Cells
from classification.train import Trained, train
from smear.images import write_image

COLUMNS = ("file", "label", "patient", "slide", "field", "split", "stain")
Row = dict[str, str]


def paint(rng: np.random.Generator, label: str, *, size: int = 20) -> np.ndarray:
    """One crop (size, size, 3) uint8."""
    y, x = np.mgrid[:size, :size] - size // 2
    picture = rng.integers(190, 240, (size, size, 3), dtype=np.uint8)
    picture[x**2 + y**2 < (size // 3) ** 2] = rng.integers(20, 60, 3) if label == "ALL" else rng.integers(120, 170, 3)
    return picture


def make_rows(n: int) -> list[Row]:
    """n rows, half of each class, both stains in every split; four rows a slide, slides in train, train, val, test by turns."""
    made = []
    for i in range(n):
        split = ("train", "train", "val", "test")[(i // 4) % 4]
        label, stain = ("ALL", "HEM")[i % 2], "ab"[(i // 2) % 2]
        made.append(dict(zip(COLUMNS, (f"crops/c{i:03d}.png", label, "", f"s{i // 4}", f"f{i}", split, stain), strict=True)))
    return made


def save_table(folder: Path, table: Sequence[Row], *, manifest: dict | None = None) -> Path:
    """Paint the crops of the rows and write crops.csv; each picture follows from its file name."""
    for row in table:
        seed = [int(c) for c in row["file"].encode()]
        write_image(folder / row["file"], paint(np.random.default_rng(seed), row["label"]))
    with (folder / "crops.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps({"files": [], **manifest}))
    return folder / "crops.csv"


def make_settings(**changes: object) -> TrainSettings:
    """A training of a second."""
    network = {"model": "tiny", "imgsz": 64, "epochs": 2, "batch": 8, "normalise": "unit", "precision": "float32", "device": "cpu"}
    teaching = {"optimiser": {"lr": 0.01, "warmup_epochs": 0, "ema": 0.5}, "min_cells": 2, "augment": [{"name": "move"}]}
    return TrainSettings.model_validate({**network, **teaching, **changes})


def make_cells(n: int, *, size: int = 40, classes: tuple[str, ...] = ("ALL", "HEM")) -> Cells:
    """n painted cells in memory, the classes by turns, four to a group; with more classes, those behind the second are pale too."""
    labels = np.arange(n) % len(classes)
    images = [paint(np.random.default_rng(i), "ALL" if label == 0 else "HEM", size=size) for i, label in enumerate(labels)]
    groups = np.array([f"g{i // 4}" for i in range(n)], np.str_)
    return Cells.of(np.stack([np.zeros((size, size, 3), np.uint8), *images])[1:], labels, classes, groups)


@pytest.fixture(scope="session")
def cells() -> Callable[..., Cells]:
    return make_cells


@pytest.fixture(scope="session")
def rows() -> Callable[[int], list[Row]]:
    return make_rows


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    return save_table


@pytest.fixture(scope="session")
def smoke() -> Callable[..., TrainSettings]:
    return make_settings


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 crops; tests must not change them."""
    return save_table(
        tmp_path_factory.mktemp("discs"), make_rows(64), manifest={"name": "discs", "licence": "none", "crop": {"width": 2.5}}
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, table: Path) -> tuple[Path, Trained]:
    """The folder and the result of one short training on `table`."""
    out = tmp_path_factory.mktemp("run") / "out"
    return out, train(make_settings(epochs=8), [table], out)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what costs most and is not what the test is about: writing ONNX."""
    monkeypatch.setattr(training, "write_bundle", lambda folder, network, card, probe, **options: card)
