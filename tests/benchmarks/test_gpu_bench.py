"""The GPU's part of the benchmark works on any device, so that it is ready where there is one."""

import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.contest import Bench
from benchmarks.fields import Kind
from smear.build import open_models
from smear.settings import AnalyzeSettings

KIND = Kind("small", (480, 640), 1, 1, 1)


def bench_in(folder: Path, runtime: str = "onnx") -> Bench:
    return Bench(folder, open_models(AnalyzeSettings(runtime=runtime)), rounds=1, runtime=runtime)


def test_a_device_is_watched_while_it_works() -> None:
    samples = iter([20.0, 60.0] + [40.0] * 1000)
    with gpu.watched(lambda: next(samples)) as busy:
        time.sleep(3 * gpu.SAMPLE_EVERY_S)
    assert len(busy.percent) >= 2
    assert busy.share == pytest.approx(0.4)


def test_a_device_that_was_not_watched_is_unknown() -> None:
    assert gpu.Busy().share is None


@pytest.mark.parametrize(("device", "runtime"), [("cpu", "onnx"), pytest.param("cuda", "torch", marks=pytest.mark.gpu)])
def test_a_kind_of_field_is_measured_on_a_device(tmp_path: Path, device: str, runtime: str) -> None:
    found = gpu.measure_on(device, bench_in(tmp_path, runtime), KIND, sample=lambda: 50.0, n_fields=2)
    assert found["slowest"] in ("detect", "classify")
    assert found["device_busy"] == 0.5
    assert {"given", "measured", "detect"} <= found["fields_per_second"].keys()
    assert 0 < found["fraction_of_ceiling"]["median"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_is_said(tmp_path: Path) -> None:
    assert gpu.measure(bench_in(tmp_path), (KIND,)) == {"skipped": gpu.SKIPPED}
