"""The detectors of ultralytics: by name, from a checkpoint that is not trusted, from its release page, and as ONNX."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel, load_checkpoint, yaml_model_load

from detection.yolo.habits import quiet
from smear.errors import ConfigError, ModelError


def is_known(name: str) -> bool:
    """Whether ultralytics has a detector of that name (`yolov5n` … `yolov5x6`, `yolov8n` … `yolov8x`, and its later families)."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):  # it would take a path, or fetch an address
        return False
    try:
        content = yaml_model_load(f"{name}.yaml")
    except (FileNotFoundError, ValueError):
        return False
    return content["head"][-1][2] in ("Detect", "v10Detect")


def build_model(name: str, n_classes: int) -> DetectionModel:
    """An untrained detector.

    Raises:
        ConfigError: ultralytics has no such architecture.
    """
    quiet()
    if not is_known(name):
        raise ConfigError(f"model: no architecture named {name!r}; for example yolov8n, yolov8x, yolov5s or yolov5x6")
    return DetectionModel(f"{name}.yaml", nc=n_classes, verbose=False)


class _RawHead:
    """In front of an ultralytics head: it gives the decoded (B, 4 + C, A) alone, and decodes boxes in float32.

    Box edges are sums of small numbers and large ones; in 16 bits they would be off by up to 4 pixels.
    """

    def _inference(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        wide = {"boxes": x["boxes"].float(), "scores": x["scores"].float(), "feats": [f[:1, :1].float() for f in x["feats"]]}
        with torch.autocast(wide["boxes"].device.type, enabled=False):
            return super()._inference(wide)  # type: ignore[misc]  # of the head this is put in front of


def build_raw(name: str, n_classes: int) -> DetectionModel:
    """An untrained detector that gives what its ONNX export gives: (B, 4 + C, A), cx cy w h in pixels and class scores.

    Raises:
        ConfigError: ultralytics has no such architecture.
    """
    model = build_model(name, n_classes)
    head = model.model[-1]
    head.__class__ = type(f"Raw{type(head).__name__}", (_RawHead, type(head)), {})
    head.export = True  # the decoded tensor alone, without the maps it was decoded from
    head.dfl.in_float32 = True  # read by smear.runtimes.torch
    if head.end2end:
        head.end2end = False  # as in `onnx_bytes`
    return model.eval()


def save_start(model: DetectionModel, path: Path) -> None:
    """Write a model as the checkpoint that a run starts from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model, "train_args": {}, "epoch": -1}, path)


def load_model(checkpoint: Path) -> DetectionModel:
    """The model of a checkpoint, on the CPU in float32; only weights and known layer classes are unpickled.

    Raises:
        ModelError: not a checkpoint, or one that holds anything else.
    """
    return _load(checkpoint)[0].float()


def is_finished(checkpoint: Path, epochs: int) -> bool:
    """Whether the run that wrote this checkpoint has done all its epochs, so that only its export may be left to do.

    Raises:
        ModelError: as `load_model`.
    """
    epoch = _load(checkpoint)[1].get("epoch", -1)  # ultralytics sets -1 when it closes a run
    return bool(epoch < 0 or epoch + 1 >= epochs)


def download(name: str, folder: Path) -> Path:
    """Fetch ultralytics' pretrained `name`.pt once, into `folder`; only ever called because the user named it.

    Raises:
        ModelError: it cannot be fetched.
    """
    from ultralytics.utils.downloads import attempt_download_asset

    target = folder / f"{name}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = Path(attempt_download_asset(str(target), retry=1))  # of YOLOv5 it has new files, by another name
    except Exception as error:  # network, proxy, disk: one clear line for all
        raise _no_weights(name, target) from error
    if not found.is_file():
        raise _no_weights(name, target)
    return found


def onnx_bytes(model: DetectionModel, *, imgsz: int, path: Path) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    """Export to ONNX with free batch, height and width; also the torch function it was made from, to compare with.

    Input (B, 3, H, W) float32 RGB in [0, 1], H and W multiples of 32; output (B, 4 + C, A): cx cy w h in pixels, class scores.
    """
    model = model.eval().float().fuse(verbose=False)
    for module in model.modules():
        if hasattr(module, "export") and hasattr(module, "dynamic"):
            module.export, module.dynamic, module.format = True, True, "onnx"
        if hasattr(module, "end2end") and module.end2end:
            module.end2end = False  # one decoder for every family: ours
    example = torch.zeros(2, 3, imgsz, imgsz)
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "anchors"}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the tracing exporter is old, small, and gives these graphs exactly;
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the new one wants onnxscript. What it gives is compared with torch.
        model(example)
        torch.onnx.export(
            model,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            out = model(torch.from_numpy(batch))
        return (out[0] if isinstance(out, (tuple, list)) else out).numpy()

    return path.read_bytes(), run


def _load(checkpoint: Path) -> tuple[DetectionModel, dict[str, Any]]:
    quiet()
    if not Path(checkpoint).is_file():  # ultralytics would look for it on the internet
        raise ModelError(f"{checkpoint}: no such file")
    try:
        return load_checkpoint(str(checkpoint), device="cpu")
    except Exception as error:  # the unpickler raises many kinds; each means the same to the user
        said = " ".join(str(error).split())[:160]
        raise ModelError(f"{checkpoint}: not a checkpoint that can be loaded safely ({said})") from error


def _no_weights(name: str, target: Path) -> ModelError:
    return ModelError(
        f"weights: {name!r} is not at {target} and could not be downloaded; "
        "put the file there, or pass --weights FILE, a bundle folder, or none (random start)"
    )
