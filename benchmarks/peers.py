"""What people write today, on the same weights: ultralytics' predict, one PyTorch forward per crop, and SAHI's sliced prediction.

As it comes, ultralytics leaves one core of a CPU idle (and takes 8 at most) and turns OpenCV's threads off; that is what people get. Each
peer is timed as it comes, and once more with all cores.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fields import RBC_PX
from classification.classifier import IMAGENET_MEAN, IMAGENET_STD
from classification.networks import build
from detection import yolo
from smear.compress import stored_weights
from smear.line import n_cores
from smear.models import Bundle
from smear.plan import white_labels
from smear.runtimes.torch_restore import restore
from smear.types import Detections, Field, Image

EXPORTS = {"openvino": "_openvino_model", "onnx": ".onnx"}  # ultralytics' own formats, and how it names what it writes
MAX_CELLS = 3000  # ultralytics' 300 would lose most red cells of a large field


@dataclass(frozen=True)
class Found:
    """What a peer found in one field: boxes of all classes in its pixels, and for each white cell the chance of the first class."""

    boxes: Detections
    chances: tuple[float, ...]


def write_checkpoint(bundle: Bundle, path: Path) -> Path:
    """The bundle's detector as the checkpoint that ultralytics loads, its batch norms folded as they are in the bundle."""
    model = yolo.build_model(bundle.card.architecture, len(bundle.card.classes)).eval().fuse(verbose=False)
    restore(model, stored_weights(bundle.read(bundle.file(".onnx"))))
    model.names = dict(enumerate(bundle.card.classes))
    yolo.save_start(model.half(), path)  # ultralytics' own checkpoints are in 16 bits, and widened when loaded
    return path


def open_ultralytics(weights: Path) -> Any:
    """A model as users open it, quiet; importing ultralytics turns OpenCV's threads off for the whole process, which is put right."""
    from ultralytics import YOLO

    yolo.quiet()
    cv2.setNumThreads(n_cores())
    return YOLO(str(weights), task="detect")


@contextmanager
def threads(*, all_cores: bool) -> Iterator[None]:
    """The threads that a peer has while it works, as ultralytics sets them or all; afterwards everybody has all of them again."""
    from ultralytics.utils import NUM_THREADS, torch_utils

    n_torch, n_opencv = (n_cores(), n_cores()) if all_cores else (NUM_THREADS, 0)
    torch_utils.NUM_THREADS = n_torch  # what it sets before the first prediction of a model
    torch.set_num_threads(n_torch)
    cv2.setNumThreads(n_opencv)
    try:
        yield
    finally:
        torch.set_num_threads(n_cores())
        cv2.setNumThreads(n_cores())


def export(checkpoint: Path, kind: str, shape_hw: tuple[int, int]) -> Path:
    """ultralytics' own export for one input size, written once beside the checkpoint."""
    wanted = checkpoint.with_name(f"{checkpoint.stem}-{shape_hw[0]}x{shape_hw[1]}{EXPORTS[kind]}")
    if not wanted.exists():
        options = {"simplify": False} if kind == "onnx" else {}  # simplifying needs one more package, and folds what is folded already
        made = open_ultralytics(checkpoint).export(format=kind, imgsz=list(shape_hw), **options)
        Path(made).rename(wanted)
    return wanted


def best_device() -> str:
    """The first CUDA device, or the CPU: what a script would take."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def network_of(bundle: Bundle) -> torch.nn.Module:
    """The bundle's classifier as a PyTorch module in float32, on the CPU."""
    card = bundle.card
    about = card.training.get("network", {})
    network = build(card.architecture, about.get("head", "leukodetect"), len(card.classes), front=about.get("front", "none"))
    restore(network, stored_weights(bundle.read(bundle.file(".onnx"))))
    return network.eval()


@dataclass(frozen=True)
class Written:
    """The usual script: predict an image, cut each white cell, label it by itself, append a row.

    Args:
        imgsz: of ultralytics: the longer side, or (height, width) of an export.
        confidence, iou: the same as ours.
        device: of both networks, as torch names it.
        all_cores: see `threads`.
    """

    model: Any
    network: torch.nn.Module
    detector: Bundle
    classifier: Bundle
    imgsz: int | tuple[int, int]
    confidence: float
    iou: float
    device: str = "cpu"
    all_cores: bool = False

    def __call__(self, fields: Sequence[Field], table: Path) -> list[Found]:
        found = []
        with threads(all_cores=self.all_cores), table.open("w", newline="") as file:
            rows = csv.writer(file)
            for field in fields:
                found.append(self._one(field, rows))
        return found

    def _one(self, field: Field, rows: Any) -> Found:
        options = {"conf": self.confidence, "iou": self.iou, "max_det": MAX_CELLS, "device": self.device, "verbose": False}
        result = self.model.predict(str(field.path), imgsz=self.imgsz, **options)[0]
        answer = result.boxes.cpu()
        boxes, labels = answer.xyxy.numpy(), answer.cls.numpy().astype(int)
        chances = []
        for box, label in zip(boxes, labels, strict=True):
            if label not in white_labels(self.detector.card):
                continue
            chances.append(self._label(_cut(result.orig_img, box, self.classifier.card.input_px)))
            rows.writerow([field.id, *box.round(1), chances[-1]])
        return Found(Detections(boxes, np.minimum(answer.conf.numpy(), 1), labels), tuple(chances))

    def _label(self, crop: NDArray[np.uint8]) -> float:
        pixels = (cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD
        with torch.inference_mode():
            logit = self.network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(self.device))
        return float(torch.sigmoid(logit / self.classifier.card.temperature)[0, 0])


@dataclass(frozen=True)
class Sliced:
    """SAHI's sliced prediction of a field that is at the detector's scale already; its extra look at the whole field is left out."""

    model: Any
    slice_px: int
    overlap_px: int
    all_cores: bool

    @classmethod
    def of(cls, checkpoint: Path, *, confidence: float, slice_px: int, overlap_px: int, all_cores: bool = False) -> "Sliced":
        from sahi import AutoDetectionModel

        model = AutoDetectionModel.from_pretrained(
            "ultralytics",
            model=open_ultralytics(checkpoint),
            confidence_threshold=confidence,
            device=best_device(),
            image_size=slice_px,
        )
        return cls(model, slice_px, overlap_px, all_cores)

    def __call__(self, image: Image) -> int:
        """How many cells of any class it found."""
        from sahi.predict import get_sliced_prediction

        sides = {"slice_height": self.slice_px, "slice_width": self.slice_px}
        share = self.overlap_px / self.slice_px
        overlaps = {"overlap_height_ratio": share, "overlap_width_ratio": share}
        with threads(all_cores=self.all_cores):
            result = get_sliced_prediction(image, self.model, **sides, **overlaps, perform_standard_pred=False, verbose=0)
        return len(result.object_prediction_list)


def input_size(shape_hw: tuple[int, int], factor: float, *, stride: int = 32) -> tuple[int, int]:
    """ultralytics' (height, width) for a field that is to be shown `factor` times as large: the nearest longer side that it takes."""
    longer = max(stride, round(max(shape_hw) * factor / stride) * stride)
    shorter = min(shape_hw) * longer / max(shape_hw)
    rest = int(-(-shorter // stride) * stride)
    return (rest, longer) if shape_hw[1] >= shape_hw[0] else (longer, rest)


def _cut(image: NDArray[np.uint8], box: NDArray[np.float32], out_px: int) -> NDArray[np.uint8]:
    """A square of three red cells about the middle of the box, as the classifier was trained on; BGR as it came."""
    half = round(1.5 * RBC_PX)
    x, y = round(float(box[0] + box[2]) / 2), round(float(box[1] + box[3]) / 2)
    view = image[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    return np.asarray(cv2.resize(view, (out_px, out_px), interpolation=cv2.INTER_AREA), np.uint8)
