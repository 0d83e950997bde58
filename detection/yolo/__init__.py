"""The only room that imports ultralytics: build, train, score and export its detectors, with everything unasked-for off."""

import os

from smear.quiet import silence

silence()
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))  # ultralytics would set 1

from detection.yolo.fields import FieldDataset, FieldLoader  # noqa: E402  (after silence(): ultralytics phones home at import)
from detection.yolo.habits import VERSION, quiet  # noqa: E402
from detection.yolo.networks import (  # noqa: E402
    build_model,
    build_raw,
    download,
    is_finished,
    is_known,
    load_model,
    onnx_bytes,
    save_start,
)
from detection.yolo.scores import Hits, own_hits, own_metrics, score_hits  # noqa: E402
from detection.yolo.training import FieldTrainer, train  # noqa: E402

__all__ = [
    "VERSION",
    "FieldDataset",
    "FieldLoader",
    "FieldTrainer",
    "Hits",
    "build_model",
    "build_raw",
    "download",
    "is_finished",
    "is_known",
    "load_model",
    "onnx_bytes",
    "own_hits",
    "own_metrics",
    "quiet",
    "save_start",
    "score_hits",
    "train",
]
