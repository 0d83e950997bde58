"""`python -m detection.export RUN`: from a trained checkpoint to a bundle: ONNX compared with torch, weights halved, all in the card."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.detector import P6_STRIDE
from detection.evaluate import tune
from detection.settings import DetectSettings
from detection.statistics import describe_set
from smear import annotations
from smear.annotations import DataSet
from smear.bundles import save_bundle
from smear.compress import halve_weights
from smear.config import load
from smear.errors import ConfigError, ModelError, SmearError
from smear.models import ModelCard, open_bundle
from smear.runtimes import open_runtime

RED_CLASS = "RBC"
WHITE_CLASSES = ("WBC", "ALL", "HEM")
MAX_DIFFERENCE = 1e-2  # of scores and of boxes relative to the image side; fp16 weights stay well below
THRESHOLDS = {"confidence": 0.25, "iou": 0.5}


def main(argv: Sequence[str] | None = None) -> int:
    """Export the best checkpoint of a run folder again; training does it at its end."""
    parser = argparse.ArgumentParser(prog="python -m detection.export", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of detection.train")
    parser.add_argument("--out", type=Path, help="bundle folder; default: RUN/bundle")
    options = parser.parse_args(argv)
    try:
        card = export_run(options.run, options.out or options.run / "bundle")
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"confidence {card.thresholds['confidence']:.2f}, ONNX differs from torch by at most {card.training['onnx_max_difference']:.2g}")
    return 0


def export_run(run: Path, folder: Path) -> ModelCard:
    """The bundle of a run's best checkpoint, its operating confidence chosen on the validation split.

    Raises:
        ConfigError, ModelError: the run folder is incomplete, or its checkpoint cannot be exported.
    """
    settings = load(run / "config.yaml", DetectSettings)
    try:
        about = json.loads((run / "about.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run / 'about.json'}: cannot read it; {run} is not a run folder of detection.train") from error
    data_yaml = Path(settings.data)
    data = annotations.read_data_yaml(data_yaml)
    card = export_bundle(
        run / "weights" / "best.pt", data, folder, name=run.name, settings=settings, rbc_px=about.get("rbc_px"), about=about
    )
    tuned, metrics = tune(open_bundle(folder), data_yaml)
    thresholds = {**card.thresholds, "confidence": tuned}
    changes = {"thresholds": thresholds, "metrics": {"val": metrics}, "statistics": describe_set(data_yaml, card)}
    card = card.model_copy(update=changes)
    return save_bundle(folder, card, {"model.onnx": folder / "model.onnx"})


def export_bundle(
    checkpoint: Path, data: DataSet, folder: Path, *, name: str, settings: DetectSettings, rbc_px: float | None, about: Mapping[str, Any]
) -> ModelCard:
    """Write `model.onnx` and `model.json` and return the card.

    Raises:
        ModelError: the checkpoint cannot be loaded, or ONNX disagrees with torch.
    """
    from detection import yolo  # on demand: it loads torch and ultralytics

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
    side = -(-imgsz // P6_STRIDE) * P6_STRIDE
    for shape in ((1, 3, side, side), (2, 3, P6_STRIDE, side)):
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


if __name__ == "__main__":
    sys.exit(main())
