"""What a start loads, and what it leaves for later: packages by name, not by the clock."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from smear.arguments import ARGUMENTS
from smear.commands import COMMANDS, open_command

ROOT = Path(__file__).resolve().parents[2]

# What only a report, an evaluation or a training needs.
LATER = (
    *("torch", "torchvision", "ultralytics", "albumentations", "safetensors"),
    *("scipy.stats", "scipy.special", "scipy.optimize", "scipy.spatial", "sklearn", "matplotlib", "faster_coco_eval"),
    *("polars", "pandas", "jinja2", "rich"),
)
NETWORKS = ("onnxruntime", "onnx", "openvino")  # loaded with the first bundle
PIXELS = ("numpy", "cv2", "PIL", "pydantic", "yaml", "tqdm", "scipy")  # of every analysis, and of no --help

SAY = "\nimport json, sys\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"


def loaded(code: str, names: Sequence[str]) -> list[str]:
    """Those of the packages that a fresh process has loaded after the code."""
    done = subprocess.run([sys.executable, "-c", code + SAY.format(names=names)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def helped(words: Sequence[str]) -> str:
    return f"import smear.__main__\ntry:\n    smear.__main__.main({[*words, '--help']!r})\nexcept SystemExit:\n    pass"


def analysis(fields: Path, models: Path, out: Path) -> list[str]:
    bundles = ["--detector", str(models / "detector"), "--classifier", str(models / "classifier")]
    return ["analyze", str(fields), "--out", str(out), *bundles, "--runtime", "onnx", "--set", "threads=1"]


def test_the_question_is_not_answered_by_nothing():
    assert loaded("import numpy, scipy.stats", LATER) == ["scipy.stats", "scipy.special", "scipy.optimize", "scipy.spatial"]


@pytest.mark.parametrize("words", [[], ["analyze"], ["export"]])
def test_help_loads_the_standard_library_alone(words):
    assert loaded(helped(words), [*PIXELS, *NETWORKS, *LATER]) == []


@pytest.mark.parametrize("command", ["analyze", "export", "card", "doctor"])
def test_a_command_loads_what_it_needs(command):
    assert loaded(f"from smear.commands import open_command\nopen_command({command!r})", [*NETWORKS, *LATER]) == []


@pytest.mark.parametrize("module", ["classification.classifier", "detection.detector", "smear.build", "smear.store"])
def test_what_an_analysis_is_made_of_starts_without_the_rest(module):
    assert loaded(f"import {module}", [*NETWORKS, *LATER]) == []


def test_the_first_field_is_done_before_the_report_is_thought_of(slides, models, tmp_path):
    """The process stops where the report would begin; all fields are on the disk by then."""
    out = tmp_path / "out"
    words = analysis(slides, models, out)
    code = f"""
import smear.store
from smear.__main__ import main

class Enough(Exception): ...
def stop(*_, **__): raise Enough
smear.store.Store.finish = stop
try:
    main({words!r})
except Enough:
    pass
"""
    assert loaded(code, LATER) == []
    assert len(list((out / "fields").rglob("*.json"))) == 4


def test_the_report_of_an_analysis_draws_no_curve_and_fits_nothing(slides, models, tmp_path):
    """It needs templates and the quantiles of its intervals; what an evaluation draws and tests stays away."""
    words = analysis(slides, models, tmp_path / "out")
    assert set(loaded(f"from smear.__main__ import main\nassert main({words!r}) == 0", LATER)) <= {"scipy.special", "jinja2"}
    assert (tmp_path / "out" / "report.html").is_file()


ASKED = (
    "detection.train",
    "detection.export",
    "detection.evaluate",
    "classification.evaluate",
    "classification.calibrate",
    "datasets.check",
)


@pytest.mark.parametrize("module", ASKED)
def test_a_command_loads_no_framework_to_be_asked_for_help(module):
    assert loaded(f"import {module}", ["torch", "ultralytics", "albumentations", "sklearn", "scipy.stats", "matplotlib"]) == []


def test_every_command_has_its_arguments_and_can_be_opened():
    assert list(COMMANDS) == list(ARGUMENTS)
    assert all(callable(open_command(name)) for name in COMMANDS)
