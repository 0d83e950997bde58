"""What every test gets: no network, no telemetry, settings of third parties in a folder of its own."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # there is a worker a core, so each computes in one thread; read when numpy and torch are imported
    os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from smear.quiet import silence
from smear.types import Detections


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-network", action="store_true", help="also run the tests marked network")


def pytest_configure(config: pytest.Config) -> None:
    # Set before anything imports matplotlib, ultralytics or onnxruntime, and inherited by the processes that tests start.
    for name in ("LEUKOFIELD_CACHE", "YOLO_CONFIG_DIR"):
        os.environ[name] = tempfile.mkdtemp(prefix="leukofield-tests-")
        config.add_cleanup(partial(shutil.rmtree, os.environ[name], ignore_errors=True))
    os.environ.setdefault("MPLBACKEND", "agg")
    silence()
    # The same examples on every machine, and a busy machine is no failure.
    settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unmet = {}
    if not config.getoption("--run-network"):
        unmet["network"] = "needs the internet: give --run-network"
    if find_spec("ray") is None:
        unmet["ray"] = "needs the package ray"
    if any("gpu" in item.keywords for item in items) and not _has_cuda():
        unmet["gpu"] = "needs a CUDA device"
    for item in items:
        for mark in unmet.keys() & item.keywords.keys():
            item.add_marker(pytest.mark.skip(reason=unmet[mark]))


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every connection and name look-up beyond this machine, and fail the test that tried, even if it caught the refusal."""
    if "network" in request.keywords:
        yield
        return
    tried: list[Any] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not _is_local(address[0]):
            tried.append(address)
            raise OSError(f"tests are offline; tried to reach {address!r}")
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
        if not _is_local(host):
            tried.append(host)
            raise socket.gaierror(f"tests are offline; tried to look up {host!r}")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    if tried:
        pytest.fail(f"the network was asked for: {tried}")


@pytest.fixture(autouse=True)
def one_thread_a_worker() -> Iterator[None]:
    """A network that is opened, and numba, tell torch for the whole process how many threads it has; the next test has one again.

    Two workers of two threads on two cores are three times as slow as two of one.
    """
    yield
    torch = sys.modules.get("torch")
    if torch is not None and "PYTEST_XDIST_WORKER" in os.environ and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def paint_cells() -> Callable[..., tuple[NDArray[np.uint8], Detections]]:
    return _paint_cells


def _paint_cells(
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


def _is_local(host: Any) -> bool:
    return host in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname())


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
