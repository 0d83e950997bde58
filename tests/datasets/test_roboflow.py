"""Roboflow, with a stand-in for its SDK that writes a small YOLO export."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets import roboflow
from smear.annotations import label_path, read_data_yaml, read_labels
from smear.images import write_image

KEY = "Sekret123"


class FakeSdk:
    """Answers workspace().project().version().download() and counts downloads; `fails` is raised instead."""

    def __init__(self, fails: Exception | None = None, *, with_yaml: bool = True) -> None:
        self.n_downloads, self.fails, self.with_yaml, self.asked = 0, fails, with_yaml, []

    def module(self) -> ModuleType:
        made = ModuleType("roboflow")
        made.Roboflow = self.start  # type: ignore[attr-defined]
        return made

    def start(self, *, api_key: str) -> Any:
        self.asked.append(api_key)
        return SimpleNamespace(
            workspace=lambda w: SimpleNamespace(project=lambda p: SimpleNamespace(version=lambda v: self.chosen(w, p, v)))
        )

    def chosen(self, *names: object) -> Any:
        self.asked += names
        return SimpleNamespace(download=self.download)

    def download(self, model_format: str, location: str, overwrite: bool) -> Any:
        print("loading Roboflow workspace...")
        if self.fails:
            raise self.fails
        self.n_downloads += 1
        self.asked.append(model_format)
        root, rng = Path(location), np.random.default_rng(0)
        for split, name in (("train", "a_jpg.rf.0f1"), ("train", "a_jpg.rf.9ab"), ("valid", "b_jpg.rf.77")):
            write_image(root / split / "images" / f"{name}.jpg", rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
            (root / split / "labels").mkdir(exist_ok=True)
            (root / split / "labels" / f"{name}.txt").write_text("1 0.5 0.5 0.25 0.5\n")
        if self.with_yaml:
            (root / "data.yaml").write_text(
                "names: [RBC, WBC]\nnc: 2\ntrain: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
            )
        return SimpleNamespace(location=location)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(roboflow.KEY, KEY)


def run(out: Path, version: int = 3) -> int:
    return roboflow.main(["--workspace", "lab", "--project", "smears", "--version", str(version), "--out", str(out), "--quiet"])


@pytest.mark.usefixtures("key")
def test_an_export_becomes_a_prepared_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = FakeSdk()
    monkeypatch.setitem(sys.modules, "roboflow", sdk.module())
    assert run(tmp_path / "out") == 0
    assert sdk.asked == [KEY, "lab", "smears", 3, "yolov8"]
    prepared = read_data_yaml(tmp_path / "out/data.yaml")
    assert prepared.classes == ("RBC", "WBC")
    assert {split: len(files) for split, files in prepared.splits.items()} == {"train": 2, "val": 1}
    truth = read_labels(label_path(prepared.images("val")[0]), (40, 60), 2)
    assert truth.boxes.tolist() == [[22.5, 10, 37.5, 30]]
    assert not (tmp_path / "out" / roboflow.DOWNLOAD).exists()


@pytest.mark.usefixtures("key")
def test_augmented_copies_share_a_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", FakeSdk().module())
    run(tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [entry["slide"] for entry in manifest["files"]] == ["a_jpg", "a_jpg", "b_jpg"]
    assert manifest["source"].endswith("/lab/smears/dataset/3")


@pytest.mark.usefixtures("key")
def test_a_version_is_downloaded_once_unless_a_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = FakeSdk()
    monkeypatch.setitem(sys.modules, "roboflow", sdk.module())
    assert [run(tmp_path / "out"), run(tmp_path / "out"), sdk.n_downloads] == [0, 0, 1]
    shutil.rmtree(tmp_path / "out/images/val")
    assert [run(tmp_path / "out"), sdk.n_downloads] == [0, 2]
    assert [run(tmp_path / "other", version=4), sdk.n_downloads] == [0, 3]


def test_without_a_key_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(roboflow.KEY, raising=False)
    monkeypatch.setitem(sys.modules, "roboflow", None)
    assert run(tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith("error: ROBOFLOW_API_KEY: not set;")


@pytest.mark.usefixtures("key")
def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", None)
    assert run(tmp_path / "out") == 2
    assert "pip install 'leukofield[roboflow]'" in capsys.readouterr().err


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "error", [ConnectionError(f"no route to /?api_key={KEY}\nmore"), RuntimeError("{'error': 'no such project'}"), KeyError("w")]
)
def test_a_refusal_or_no_network_is_one_line_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", FakeSdk(error).module())
    assert run(tmp_path / "out") == 2
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: lab/smears/3: Roboflow gave no data set")
    assert KEY not in captured.err + captured.out
    assert captured.out == ""


@pytest.mark.usefixtures("key")
def test_an_export_without_data_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", FakeSdk(with_yaml=False).module())
    assert run(tmp_path / "out") == 2
    assert "object-detection project" in capsys.readouterr().err
