"""From a trained checkpoint to a bundle: ONNX compared with torch, weights halved, everything about it in the card."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detection import yolo
from detection.detector import STRIDE
from detection.settings import DetectSettings
from smear import annotations
from smear.annotations import DataSet
from smear.compress import halve_weights
from smear.errors import ModelError
from smear.models import ModelCard, open_bundle, save_bundle
from smear.runtimes import open_runtime

RED_CLASS = "RBC"
WHITE_CLASSES = ("WBC", "ALL", "HEM")
MAX_DIFFERENCE = 1e-2  # of scores and of boxes relative to the image side; fp16 weights stay well below
THRESHOLDS = {"confidence": 0.25, "iou": 0.5}


def export_bundle(
    checkpoint: Path, data: DataSet, folder: Path, *, name: str, settings: DetectSettings, rbc_px: float | None, about: Mapping[str, Any]
) -> ModelCard:
    """Write `model.onnx` and `model.json` and return the card.

    Raises:
        ModelError: the checkpoint cannot be loaded, or ONNX disagrees with torch.
    """
    with tempfile.TemporaryDirectory() as scratch:
        content, torch_run = yolo.onnx_bytes(yolo.load_model(checkpoint), imgsz=settings.imgsz, path=Path(scratch) / "model.onnx")
    content = halve_weights(content) if settings.export.half else content
    white = tuple(c for c in data.classes if c in WHITE_CLASSES) or (data.classes if len(data.classes) == 1 else ())
    card = ModelCard(
        name=name,
        task="detect",
        architecture=settings.model,
        classes=data.classes,
        white_classes=white,
        red_class=RED_CLASS if RED_CLASS in data.classes else None,
        input_px=settings.imgsz,
        normalise="unit",
        head="yolo",
        rbc_px=rbc_px,
        thresholds=THRESHOLDS,
        training={**about},
        data=_sources(data),
    )
    save_bundle(folder, card, {"model.onnx": content})
    difference = _compare(folder, torch_run, settings.imgsz)
    return save_bundle(folder, card.model_copy(update={"training": {**about, "onnx_max_difference": difference}}), {"model.onnx": content})


def _compare(folder: Path, torch_run: Any, imgsz: int) -> float:
    """Largest difference of ONNX and torch on noise of two shapes: scores as they are, boxes relative to `imgsz`."""
    runtime = open_runtime(open_bundle(folder), device="cpu")
    worst = 0.0
    side = -(-imgsz // STRIDE) * STRIDE
    for shape in ((1, 3, side, side), (2, 3, STRIDE, side)):
        batch = np.random.default_rng(0).random(shape, np.float32)
        ours, theirs = runtime(batch)[0], torch_run(batch)
        scale = np.where(np.arange(ours.shape[1]) < 4, imgsz, 1)[None, :, None]
        worst = max(worst, float((np.abs(ours - theirs) / scale).max()))
    if not worst <= MAX_DIFFERENCE:
        raise ModelError(f"{folder}: ONNX differs from torch by {worst:.3g} (at most {MAX_DIFFERENCE} is allowed)")
    return worst


def _sources(data: DataSet) -> tuple[dict[str, Any], ...]:
    manifest = annotations.read_manifest(data.root) or {}
    sets = manifest.get("sets") or [{key: manifest[key] for key in ("name", "source", "licence") if key in manifest}]
    return tuple(entry for entry in sets if entry)
