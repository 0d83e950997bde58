"""Nothing phones home, installs or checks for updates, and nothing is written where the user did not ask for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smear import quiet

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for room in ("smear", "detection", "classification", "datasets", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
)
# Refuses sockets, names and child processes, and remembers who asked even when the asker swallows the refusal.
GUARD = """
import atexit, os, socket, subprocess, sys
asked = []
def refuse(name):
    def refused(*args, **options):
        asked.append(f"{name} {args[1:2] if name != 'getaddrinfo' else args[:1]}")
        raise OSError(f"{name} refused")
    return refused
socket.socket.connect = refuse("connect")
socket.getaddrinfo = refuse("getaddrinfo")
run_child, refuse_child = subprocess.Popen.__init__, refuse("install")
def guarded_child(self, args, *rest, **options):
    installs = {"pip", "uv", "apt"} & {os.path.basename(str(word)) for word in args}
    return (refuse_child if installs else run_child)(self, args, *rest, **options)
subprocess.Popen.__init__ = guarded_child
atexit.register(lambda: asked and (sys.stderr.write(f"asked: {asked}\\n"), sys.stderr.flush(), os._exit(9)))
"""


def run_guarded(code: str, home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with an empty home and no switch set by us or by this test session."""
    folders = ("YOLO_CONFIG_DIR", "LEUKOFIELD_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    dropped = {*quiet.SWITCHES, *folders, "CI", "PYTEST_CURRENT_TEST", "OMP_NUM_THREADS"}
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg", **extra}
    return subprocess.run([sys.executable, "-c", GUARD + code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_guard_catches_what_it_should(tmp_path: Path) -> None:
    code = "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), timeout=1)\nexcept OSError:\n    pass"
    assert run_guarded(code, tmp_path).returncode == 9


def test_importing_every_module_asks_nobody_and_writes_only_to_our_cache(tmp_path: Path) -> None:
    names = [name for name in MODULES if not name.endswith("__main__")]
    run = run_guarded(f"import importlib\nfor name in {names}: importlib.import_module(name)", tmp_path)
    assert run.returncode == 0, run.stderr
    assert strangers_in(tmp_path) == []


def test_running_a_model_leaves_no_trace_in_the_home_folder(tmp_path: Path) -> None:
    """ONNX Runtime's uploader keeps its queue and a device id under ~/.cache; OpenVINO's keeps a client id under ~/intel."""
    code = """
import numpy as np, onnx, pathlib, sys
from onnx import TensorProto, helper
graph = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["y"])], "relu",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
)
path = pathlib.Path.home() / "relu.onnx"
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
import smear.runtimes.onnx, smear.runtimes.openvino
from smear.quiet import silence
silence()
import onnxruntime, openvino
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
assert session.run(None, {"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]
compiled = openvino.compile_model(path, "CPU")
assert list(compiled([np.array([-1, 2], np.float32)])[0]) == [0, 2]
"""
    run = run_guarded(code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert strangers_in(tmp_path) == ["relu.onnx"]


def test_a_user_who_sets_a_switch_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_AUTOINSTALL", "true")
    quiet.silence()
    assert os.environ["YOLO_AUTOINSTALL"] == "true"


def test_settings_of_ultralytics_are_all_off(tmp_path: Path) -> None:
    code = """
import detection.yolo
detection.yolo.quiet()
from ultralytics import SETTINGS
from ultralytics.utils import AUTOINSTALL, ONLINE
from ultralytics.utils.events import events
reporting = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
assert not any(SETTINGS[name] for name in reporting), dict(SETTINGS)
assert not (AUTOINSTALL or ONLINE or events.enabled or detection.yolo.habits.platform.callbacks)
assert str(SETTINGS.file_path).startswith(str(__import__("pathlib").Path.home() / ".cache" / "leukofield")), SETTINGS.file_path
"""
    run = run_guarded(code, tmp_path)
    assert run.returncode == 0, run.stderr


def strangers_in(home: Path) -> list[str]:
    """Files under `home` that are neither ours nor matplotlib's font list, relative to it."""
    known = (".cache/leukofield/", ".cache/matplotlib/", ".config/matplotlib/")
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return sorted(name for name in files if not name.startswith(known))
