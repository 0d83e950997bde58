"""What a training leaves behind: config, origin, metrics per epoch, curves, and checkpoints that a killed run resumes from."""

import csv
import io
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save

from classification.settings import TrainSettings
from smear.config import load
from smear.errors import ConfigError, ModelError
from smear.files import write_atomic

CONFIG, ABOUT, LAST, BEST, METRICS, CURVES = "config.yaml", "about.json", "last.pt", "best.safetensors", "metrics.csv", "curves.png"
CHANGE_NOTHING = {"workers", "cache"}  # settings that a resumed run may have its own of
STATE = {"network", "average", "optimiser", "scaler", "history"}
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "albumentations", "onnx", "onnxruntime", "onnxscript")


def start_run(out: Path, settings: TrainSettings, about: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """Write config and origin for a new run, or read the last checkpoint of one that goes on (None: it had not got so far).

    Raises:
        ConfigError: a new run would overwrite one, or a resumed run has other settings or data than it began with.
        ModelError: the checkpoint cannot be read.
    """
    if not resume:
        if (out / LAST).exists():  # a run that finished no epoch holds nothing to lose
            raise ConfigError(f"{out}: already holds a run; continue it with --resume, or choose another --out")
        write_atomic(out / ABOUT, json.dumps(about, indent=1) + "\n")
        write_atomic(out / CONFIG, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
        return None
    before = load(out / CONFIG, TrainSettings)
    begun = before.model_dump()
    for key, value in settings.model_dump(exclude=CHANGE_NOTHING).items():
        if begun[key] != value:
            raise ConfigError(f"--resume: {key} was {begun[key]!r} in {out}, now {value!r}; a resumed run keeps its settings")
    if json.loads((out / ABOUT).read_text())["data"] != about["data"]:
        raise ConfigError(f"--resume: the crops are not those that {out} began with; start a new run in another --out")
    return read_checkpoint(out / LAST) if (out / LAST).exists() else None


def describe_run(command: str, settings: TrainSettings, data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What another person needs to run it again: command, seed, versions, git revision, hashes of the data."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    versions = {"python": platform.python_version(), **found}
    return {"command": command, "seed": settings.seed, "versions": versions, "git": git_revision(), "data": [dict(entry) for entry in data]}


def git_revision() -> str | None:
    """The commit of this code, with "+" when files were changed since; None outside a git checkout."""
    here = Path(__file__).parent

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def add_to_about(out: Path, **entries: Any) -> None:
    """Write what is known only after training into `about.json`."""
    write_atomic(out / ABOUT, json.dumps({**json.loads((out / ABOUT).read_text()), **entries}, indent=1) + "\n")


def write_checkpoint(out: Path, state: Mapping[str, Any]) -> None:
    """Save tensors and plain values as `last.pt`, atomically: a kill leaves the checkpoint before or this one."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(out / LAST, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that `write_checkpoint` saved; code in it is not run.

    Raises:
        ModelError: it is not one of ours, or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and end-of-file errors here
        raise ModelError(f"{path}: not a checkpoint of ours, or damaged ({type(error).__name__}); start again without --resume") from error
    if not isinstance(state, dict) or STATE != state.keys():
        raise ModelError(f"{path}: not a checkpoint of this command; start again without --resume")
    return state


def write_best(out: Path, state: Mapping[str, torch.Tensor]) -> None:
    write_atomic(out / BEST, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def read_best(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / BEST)


def write_history(out: Path, history: Sequence[Mapping[str, float]]) -> None:
    """All epochs so far as `metrics.csv`, rewritten as a whole."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in history for key in row))  # a run begun by an earlier version has fewer
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomic(out / METRICS, text.getvalue())


def write_curves(out: Path, history: Sequence[Mapping[str, float]]) -> None:
    """The losses and areas of all epochs as `curves.png`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    panels = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for panel, keys in zip(panels, (("train_loss", "val_loss"), ("val_auc", "worst_stain_auc", "worst_pair_auc")), strict=True):
        for key in keys:
            if any(math.isfinite(row[key]) for row in history):
                panel.plot(epochs, [row[key] for row in history], marker=".", label=key)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
        if panel.has_data():
            panel.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png", metadata={"Software": None})
    write_atomic(out / CURVES, buffer.getvalue())
