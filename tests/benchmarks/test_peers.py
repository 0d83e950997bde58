"""What people write runs on the shipped weights and finds the same cells, so that its time may be compared with ours."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks import ours, peers
from benchmarks.contest import ALL_CORES, SCRIPT, Bench, agreement, scripts
from benchmarks.fields import UM_PER_PX, Kind
from benchmarks.ours import bare, runtimes_by_hand
from smear.build import open_models
from smear.errors import ModelError
from smear.line import n_cores
from smear.runtimes import open_runtime
from smear.settings import AnalyzeSettings

KIND = Kind("small", (480, 640), 2, 2, 2)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(
        tmp_path_factory.mktemp("bench"), open_models(AnalyzeSettings(runtime="onnx", um_per_px=UM_PER_PX)), rounds=1, runtime="onnx"
    )


@pytest.fixture(scope="module")
def line(bench: Bench) -> Any:
    return bench.line("ours")


def test_the_script_finds_the_cells_and_labels_that_the_line_finds(bench: Bench, line: Any) -> None:
    fields = bench.fields(KIND)
    found = scripts(bench, KIND, ())[SCRIPT](fields, bench.out / "rows.csv")
    same = agreement(line(fields), found, bench.opened)
    assert same["n_ours"] == same["n_both"] == same["n_script"] >= 2
    assert same["same_label"] == 1
    assert len((bench.out / "rows.csv").read_text().splitlines()) == same["n_script"]


@pytest.mark.parametrize("all_cores", [False, True])
def test_the_script_has_the_threads_of_its_name_and_gives_them_back(bench: Bench, monkeypatch: pytest.MonkeyPatch, all_cores: bool) -> None:
    seen: list[tuple[int, int]] = []
    script = scripts(bench, KIND, ())[f"{SCRIPT}{ALL_CORES}" if all_cores else SCRIPT]
    script.network.register_forward_hook(lambda *_: seen.append((torch.get_num_threads(), cv2.getNumThreads())))
    script(bench.fields(KIND), bench.out / "rows.csv")
    expected = n_cores() if all_cores else min(8, max(1, (os.cpu_count() or 1) - 1))
    assert {n for n, _ in seen} == {expected}
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (n_cores(), n_cores())


def test_the_restored_classifier_says_what_the_bundle_says(bench: Bench) -> None:
    opened = bench.opened
    assert opened.classifier is not None
    crops = np.random.default_rng(0).random((2, 3, 80, 80), np.float32)
    network = peers.network_of(opened.classifier)
    with torch.inference_mode():
        theirs = network(torch.from_numpy(crops)).numpy()
    ours = open_runtime(opened.classifier, runtime="onnx", device="cpu")(crops)[0]
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


@pytest.mark.parametrize(
    ("shape_hw", "factor", "expected"),
    [((1944, 2592), 64 / 75, (1664, 2208)), ((480, 640), 64 / 75, (416, 544)), ((640, 480), 64 / 75, (544, 416)), ((10, 10), 1, (32, 32))],
)
def test_the_input_size_is_the_nearest_that_ultralytics_takes(shape_hw: Any, factor: float, expected: Any) -> None:
    assert peers.input_size(shape_hw, factor) == expected


def test_the_bare_runtime_gets_the_batches_of_the_line(bench: Bench, line: Any) -> None:
    fields = bench.fields(KIND)
    calls = line.calls(fields)
    assert calls == line.calls(fields)
    assert {len(shape) for each in calls.values() for shape, _ in each} == {4}
    seen: list[tuple] = []
    run = bare(lambda batch: seen.append((batch.shape, batch.dtype)), calls["detect"], n_fields=2, threads=1)
    assert run() == 2
    assert seen == calls["detect"]


def test_the_line_writes_a_record_a_field_and_pictures_only_when_asked(bench: Bench, line: Any) -> None:
    fields = bench.fields(KIND)
    line(fields)
    assert len(list((line.out / "fields").glob("*.json"))) == 2
    assert not list((line.out / "annotated").glob("*"))


def test_one_unreadable_field_stops_the_contest(bench: Bench, line: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(RuntimeError, match=r"bad\.jpg"):
        line([replace(bench.fields(KIND)[0], id="bad.jpg", path=tmp_path / "bad.jpg")])


def test_a_runtime_that_does_not_open_here_is_not_tried_by_hand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "openvino"

    def open_some(bundle: Any, settings: AnalyzeSettings) -> None:
        if settings.runtime == refused:
            raise ModelError("this CPU does not compute in bfloat16")

    monkeypatch.setattr(ours, "candidates_for", lambda bundle, device: ("onnx", refused))
    monkeypatch.setattr(ours, "open_network", open_some)
    assert runtimes_by_hand(bench.opened) == ("onnx",)
