"""Where a training starts: nothing unsafe is opened, nothing is random in silence, folded weights work as before."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detection import weights, yolo
from detection.export import export_bundle
from detection.settings import DetectSettings
from detection.weights import load_start
from smear.annotations import DataSet
from smear.errors import ModelError

IMAGES = [torch.from_numpy(np.random.default_rng(i).random((4, 3, 64, 64), np.float32)) for i in range(2)]


def lively_model() -> torch.nn.Module:
    """An untrained detector with batch-norm statistics of its own, as training leaves them."""
    torch.manual_seed(0)
    model = yolo.build_model("yolov8n", 3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def source() -> torch.nn.Module:
    return lively_model()


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return yolo.build_model("yolov8n", 3)


def output(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(x)[0]


def folded(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The shared format: weights of the fused model by ultralytics' own names."""
    from copy import deepcopy

    return {k: v.clone().contiguous() for k, v in deepcopy(model).fuse(verbose=False).state_dict().items()}


def test_none_means_random_and_says_so(model):
    before = output(model, IMAGES[0])
    assert load_start(model, "none", calibration=IMAGES) == "random start (weights: none)"
    assert torch.equal(output(model, IMAGES[0]), before)


def test_a_checkpoint_gives_the_same_network(model, source, tmp_path):
    yolo.save_start(source, tmp_path / "start.pt")
    assert "tensors from" in load_start(model, str(tmp_path / "start.pt"), calibration=IMAGES)
    assert torch.allclose(output(model, IMAGES[0]), output(source, IMAGES[0]), atol=1e-4)


def test_folded_weights_give_the_same_network_with_statistics_of_its_own(model, source, tmp_path):
    save_file(folded(source), tmp_path / "folded.safetensors")
    said = load_start(model, str(tmp_path / "folded.safetensors"), calibration=IMAGES)
    n, _, total = said.split()[:3]
    assert int(n) > 0.95 * int(total)
    theirs, ours = output(source, IMAGES[0]), output(model, IMAGES[0])
    assert torch.allclose(ours, theirs, atol=1e-2, rtol=1e-2)
    first = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert not torch.allclose(first.running_var, torch.ones_like(first.running_var))


def test_without_images_folded_weights_still_give_the_same_network(model, source, tmp_path):
    save_file(folded(source), tmp_path / "folded.safetensors")
    load_start(model, str(tmp_path / "folded.safetensors"), calibration=[])
    assert torch.allclose(output(model, IMAGES[0]), output(source, IMAGES[0]), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("half", [True, False])
def test_a_bundle_of_ours_is_a_start(model, source, tmp_path, half):
    yolo.save_start(source, tmp_path / "start.pt")
    settings = DetectSettings(imgsz=64, export={"half": half})
    data = DataSet(tmp_path, ("WBC", "RBC", "Platelets"), {})
    export_bundle(tmp_path / "start.pt", data, tmp_path / "bundle", name="b", settings=settings, rbc_px=48, about={})
    n, _, total = load_start(model, str(tmp_path / "bundle"), calibration=IMAGES).split()[:3]
    assert int(n) > 0.95 * int(total)
    assert torch.allclose(output(model, IMAGES[0]), output(source, IMAGES[0]), atol=0.1, rtol=0.02)


def test_other_classes_keep_the_body_and_train_a_new_head(source, tmp_path):
    yolo.save_start(source, tmp_path / "start.pt")
    other = yolo.build_model("yolov8n", 7)
    n, _, total = load_start(other, str(tmp_path / "start.pt"), calibration=IMAGES).split()[:3]
    assert 0.9 * int(total) < int(n) < int(total)


def test_weights_of_another_architecture_are_refused(source, tmp_path):
    yolo.save_start(source, tmp_path / "start.pt")
    with pytest.raises(ModelError, match="tensors fit this architecture; is it of another model"):
        load_start(yolo.build_model("yolov8s", 3), str(tmp_path / "start.pt"), calibration=[])


class Command:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("how", ["pickle", "torch", "inside a checkpoint"])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(model, tmp_path, how):
    bad, path = Command(str(tmp_path / "ran")), tmp_path / "bad.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad if how == "torch" else {"model": bad, "epoch": 0, "train_args": {}}, path)
    with pytest.raises(ModelError, match=r"bad\.pt: not a checkpoint that can be loaded safely") as error:
        load_start(model, str(path), calibration=[])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "content"), [("a.pt", b""), ("a.pt", b"text"), ("a.safetensors", b""), ("a.safetensors", b"text" * 9)])
def test_a_damaged_file_is_one_line(model, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name) as error:
        load_start(model, str(tmp_path / name), calibration=[])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["yolov8n.pt", "sub/yolov8n.pt", "yolov5n.pt", "none.safetensors", "https://example.org/yolov8n.pt"])
def test_a_missing_file_is_never_looked_for_elsewhere(model, tmp_path, monkeypatch, name):
    """The network is refused by the tests; a look-up would fail this test even if its error were caught."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"no such file|not a readable safetensors file"):
        load_start(model, name, calibration=[])


def test_an_empty_folder_is_no_bundle(model, tmp_path):
    with pytest.raises(ModelError, match=r"model\.json: cannot read it"):
        load_start(model, str(tmp_path), calibration=[])


@pytest.mark.slow
def test_a_name_without_a_network_is_one_clear_error_and_soon(tmp_path):
    """In a process of its own, where every connection fails at once, as on a machine without a network."""
    code = (
        "import socket, time\n"
        "def refuse(*a, **k): raise socket.gaierror('no network')\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse\n"
        "from detection import weights, yolo\n"
        "from smear.errors import ModelError\n"
        "model = yolo.build_model('yolov8n', 3)\n"
        "for name in ('yolov8n', 'yolov5n'):\n"
        "    start = time.monotonic()\n"
        "    try: weights.load_start(model, name, calibration=[])\n"
        "    except ModelError as error: print(error)\n"
        "    print(time.monotonic() - start)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "HOME": str(tmp_path), "LEUKOFIELD_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()[-4:]
    for name, said, seconds in (("yolov8n", *lines[:2]), ("yolov5n", *lines[2:])):
        assert said.startswith(f"weights: '{name}' is not at {tmp_path / 'cache'}")
        assert "or none (random start)" in said
        assert float(seconds) < 20
    assert list((tmp_path / "cache").rglob("*.pt*")) == []


@pytest.mark.parametrize("given", ["yolov8n.pt", "yolov5nu.pt"])
def test_a_downloaded_file_is_used_by_the_name_it_got(monkeypatch, tmp_path, given):
    """ultralytics has YOLOv5 under other file names."""
    import ultralytics.utils.downloads as downloads

    asked = []

    def fetch(file: str, *, retry: int) -> str:
        asked.append((Path(file).name, retry))
        (Path(file).parent / given).write_bytes(b"weights")
        return str(Path(file).parent / given)

    monkeypatch.setattr(downloads, "attempt_download_asset", fetch)
    name = given.removesuffix(".pt").removesuffix("u")
    assert yolo.download(name, tmp_path / "cache") == tmp_path / "cache" / given
    assert asked == [(f"{name}.pt", 1)]


def test_the_download_is_called_as_ultralytics_takes_it():
    """A wrong argument would look like a missing network for ever."""
    import inspect

    from ultralytics.utils.downloads import attempt_download_asset, safe_download

    assert any(p.kind is p.VAR_KEYWORD for p in inspect.signature(attempt_download_asset).parameters.values())
    assert "retry" in inspect.signature(safe_download).parameters


def test_loading_is_quick(model, source, tmp_path):
    save_file(folded(source), tmp_path / "folded.safetensors")
    started = time.process_time()
    load_start(model, str(tmp_path / "folded.safetensors"), calibration=[])
    assert time.process_time() - started < 20
    assert weights.MIN_SHARE_LOADED <= 0.5


FAMILIES = [f"yolov5{s}" for s in "nsmlx"] + [f"yolov5{s}6" for s in "nsmlx"] + [f"yolov8{s}" for s in "nsmlx"]


@pytest.mark.parametrize("name", [*FAMILIES, "yolo11n", "yolov10n"])
def test_the_architectures_of_the_papers_are_known(name):
    assert yolo.is_known(name)


@pytest.mark.parametrize("name", ["", "yolo", "yolov8q", "yolov8n-cls", "yolov8n-seg", "../yolov8n", "https://example.org/a", "resnet50"])
def test_other_names_are_not(name):
    assert not yolo.is_known(name)
