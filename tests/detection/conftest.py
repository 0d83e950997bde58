"""Small painted sets, and one small run whose files several tests read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datasets.painted import main as paint

os.environ.setdefault("OMP_NUM_THREADS", "1")  # detection.yolo hands it on to ultralytics, which sets the threads of torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Results that do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def painted(tmp_path_factory) -> Path:
    """data.yaml of ten painted fields of 128×96 px on five slides (3 train, 1 val, 1 test), red cells of 24 px."""
    out = tmp_path_factory.mktemp("painted") / "set"
    command = ["--fields", "10", "--slides", "5", "--seed", "1", "--size", "128x96", "--rbc-px", "24"]
    command += ["--classes", "wbc", "--blank-share", "0", "--quiet"]
    assert paint([*command, "--out", str(out)]) == 0
    return out / "data.yaml"


SMALL = ["--model", "yolov8n", "--weights", "none", "--epochs", "2", "--imgsz", "64", "--batch", "4", "--device", "cpu"]
SMALL += ["--set", "workers=0", "--set", "precision=fp32", "--set", "augment.image=[{name: StainJitter, p: 0.5}]"]


@pytest.fixture(scope="session")
def train() -> Callable[..., int]:
    """`python -m detection.train` in this process with the smallest settings; later flags win."""
    from detection.train import main

    return lambda data, out, *more: main(["--data", str(data), "--out", str(out), *SMALL, *map(str, more)])


@pytest.fixture(scope="session")
def trained(painted, train, tmp_path_factory) -> Path:
    """The folder of a finished run of two epochs."""
    out = tmp_path_factory.mktemp("runs") / "small"
    assert train(painted, out) == 0
    return out
