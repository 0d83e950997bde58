"""What ultralytics does unasked, turned off: reports, integrations, downloads, writes beside the user's images, one idle core."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import ultralytics
from ultralytics.data import dataset as _dataset
from ultralytics.data import utils as _data_utils
from ultralytics.engine import trainer as _trainer
from ultralytics.utils import SETTINGS, USER_CONFIG_DIR, torch_utils
from ultralytics.utils.callbacks import platform

VERSION = ultralytics.__version__


def quiet() -> None:
    """Turn off what ultralytics does unasked: reports, integrations, downloads of fonts, writes beside the user's images."""
    off = dict.fromkeys(("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"), False)
    wrong = {key: value for key, value in off.items() if SETTINGS.get(key, value) != value}
    if wrong:
        SETTINGS.update(wrong)
    platform.callbacks.clear()
    _dataset.save_dataset_cache_file = _keep_in_memory
    _data_utils._replace_image = _leave_as_it_is
    _trainer.check_amp = lambda _model: True  # it would download a model to try AMP on
    _trainer.autocast = _autocast
    torch_utils.NUM_THREADS = _n_threads()  # it leaves one core idle, which is half of a small machine
    _provide_fonts()


def cpu_bfloat16(enabled: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if enabled else nullcontext()


def _autocast(enabled: bool | torch.dtype, device: str = "cuda") -> Any:
    """ultralytics' own refuses bfloat16 without a CUDA device; CPUs have it too."""
    if device == "cpu":
        return cpu_bfloat16(enabled is torch.bfloat16)
    if isinstance(enabled, torch.dtype):
        return torch.autocast(device, enabled)
    return torch.autocast(device, enabled=bool(enabled))


def _n_threads() -> int:
    """As many as the user set, else one a core."""
    wanted = os.environ["OMP_NUM_THREADS"]
    return int(wanted) if wanted.isdigit() and int(wanted) else os.cpu_count() or 1


def _keep_in_memory(_prefix: str, _path: Path, cache: dict[str, Any], version: str) -> None:
    cache["version"] = version  # all that its caller needs; ultralytics would write beside the user's labels


def _leave_as_it_is(*_args: Any, **_kwargs: Any) -> None:
    """It would rewrite JPEGs that do not end in their end mark; they have been decoded once before training begins."""


def _provide_fonts() -> None:
    """ultralytics fetches Arial before training; any font under that name keeps it at home."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        target = Path(USER_CONFIG_DIR) / name
        if not target.exists():
            shutil.copy(font, target)
