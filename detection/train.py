"""`python -m detection.train`: from a prepared YOLO set to a run folder with a checked model bundle."""

import argparse
import csv
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from tqdm import tqdm

from detection.export import RED_CLASS, export_run
from detection.settings import DetectSettings
from smear import annotations, boxes, images
from smear.annotations import DataSet
from smear.cards import count_splits
from smear.config import load
from smear.errors import AnnotationError, ConfigError, SmearError
from smear.files import write_atomic
from smear.watch import IMAGES_PER_S, WAITING_SHARE, median_pace

if TYPE_CHECKING:
    import torch

N_CALIBRATION = 64  # images that re-measure the batch norms of folded start weights
SMALLEST_SIDE_PX = 10  # ultralytics leaves smaller ones out
MAY_CHANGE = {"data", "batch", "workers", "cache", "device", "patience", "export"}  # from a run to its resumption


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        run = train(
            _settings(options),
            out=options.out,
            resume=options.resume,
            command=" ".join(["python -m detection.train", *(argv or sys.argv[1:])]),
        )
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # disk full, read-only folder
        said = f"{error.filename or options.out}: {error.strerror or error}"
        print(f"error: {said}; the epochs that were finished are kept, go on with --resume", file=sys.stderr)
        return 2
    print(f"bundle: {run / 'bundle'}")
    return 0


def train(settings: DetectSettings, *, out: Path, resume: bool, command: str) -> Path:
    """One training, in the order things happen; returns the run folder (`out`).

    Leaves: config.yaml (resolved), about.json (command, versions, seed, manifest hash), results.csv (per epoch), curves.png,
    weights/, bundle/ (ONNX + model.json). A killed run goes on with `resume` from the last finished epoch.

    Raises:
        ConfigError, AnnotationError, ModelError, TrainingError: each before or instead of a half-trained bundle.
    """
    import torch  # on demand, here and below: typing mistakes are answered at once

    from detection import yolo
    from detection.weights import load_start

    last = out / "weights" / "last.pt"
    if resume and not last.is_file():
        raise ConfigError(f"--resume: no checkpoint at {last}")
    if not resume and (out / "results.csv").exists():
        raise ConfigError(f"{out}: holds a run already; continue it with --resume or choose another --out")
    if resume:
        _refuse_changes(settings, load(out / "config.yaml", DetectSettings))
    data = annotations.read_data_yaml(Path(settings.data))
    truth = check_labels(data)
    extra = yaml.safe_load(Path(settings.data).read_text())
    ruler = extra.get("rbc_px") or _seen_ruler(truth, data.classes, settings.imgsz)
    arguments = _arguments(settings, data, out, rbc_px=extra.get("rbc_px"))
    about = {**describe(settings, data, command), "rbc_px": ruler}
    if not resume:
        write_atomic(out / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
        write_atomic(out / "about.json", json.dumps(about, indent=1) + "\n")
        torch.manual_seed(settings.seed)  # what the start weights do not fill, the head above all, is random
        start = yolo.build_model(settings.model, len(data.classes))
        weights = settings.model if settings.weights == "auto" else settings.weights
        print(f"start: {load_start(start, weights, calibration=_calibration(data, settings))}")
        yolo.save_start(start, out / "weights" / "start.pt")
    if not (resume and yolo.is_finished(last, settings.epochs)):
        start_from = {"resume": str(last)} if resume else {"model": str(out / "weights" / "start.pt")}
        kept = yolo.train({**arguments, **start_from}, cache_share=settings.cache, on_epoch=_say)
        _add_throughput(out, {"device": arguments["device"], "workers": arguments["workers"], "kept_in_memory": kept})
    plot_curves(out / "results.csv", out / "curves.png")
    card = export_run(out, out / "bundle")
    print(f"confidence {card.thresholds['confidence']:.2f}; ONNX differs from torch by at most {card.training['onnx_max_difference']:.2g}")
    return out


def check_labels(data: DataSet) -> list[tuple[tuple[int, int], Any]]:
    """Decode every image and read every label before the first step; returns (height, width) and truth per training image.

    Raises:
        AnnotationError, ImageError: the first file that is wrong, by name.
    """
    seen = []
    for split in ("train", "val"):
        for path in tqdm(data.images(split), desc=f"check {split}", unit="field", leave=False):
            shape_hw = images.read_image(path).shape[:2]
            if min(shape_hw) < SMALLEST_SIDE_PX:
                raise AnnotationError(f"{path}: {shape_hw[1]}x{shape_hw[0]} pixels is too small to train on")
            truth = annotations.read_labels(annotations.label_path(path), shape_hw, len(data.classes))
            if split == "train":
                seen.append((shape_hw, truth))
    if not any(len(truth) for _, truth in seen):
        raise AnnotationError(f"{data.root}: no training image has a box")
    return seen


def describe(settings: DetectSettings, data: DataSet, command: str) -> dict[str, Any]:
    """What another person needs to run it again."""
    manifest = data.root / "manifest.json"
    files = (annotations.read_manifest(data.root) or {}).get("files", [])
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    packages = ("torch", "torchvision", "ultralytics", "albumentations", "numpy", "opencv-python-headless", "onnx")
    return {
        "command": command,
        "seed": settings.seed,
        "config": settings.model_dump(mode="json", exclude={"data", "weights"}),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "git": git.stdout.strip() or None,
        "splits": count_splits((f["split"], f.get("slide"), f.get("patient")) for f in files),
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None,
    }


def plot_curves(results_csv: Path, target: Path) -> None:
    """Losses and validation metrics per epoch, as PNG."""
    from matplotlib.figure import Figure

    rows = _results(results_csv)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, wanted in ((left, "loss"), (right, "metrics/")):
        for key in [k for k in rows[0] if wanted in k]:
            axis.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=key.removeprefix("metrics/"))
        axis.set_xlabel("epoch")
        axis.legend(fontsize=7)
    figure.savefig(target, dpi=120)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m detection.train", description=__doc__)
    parser.add_argument("--data", help="data.yaml of a prepared set")
    parser.add_argument("--model", help="yolov8n … yolov8x, yolov5n … yolov5x6, or another ultralytics architecture")
    parser.add_argument("--weights", help="auto, a name, a .pt or .safetensors file, a bundle folder, or none")
    for name in ("epochs", "imgsz", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--device", help="auto, cpu, 0, or 0,1")
    parser.add_argument("--config", type=Path, default=None, help="for example configs/detect.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key, e.g. augment.mosaic=0.5")
    parser.add_argument("--out", type=Path, default=Path("runs/detect"))
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    return parser.parse_args(argv)


def _settings(options: argparse.Namespace) -> DetectSettings:
    names = ("data", "model", "weights", "epochs", "imgsz", "batch", "seed", "device")
    flags = [f"{n}={json.dumps(str(v)) if isinstance(v, str) else v}" for n in names if (v := getattr(options, n)) is not None]
    kept = options.out / "config.yaml"
    config = options.config or (kept if options.resume and kept.is_file() else DEFAULT_CONFIG)
    settings = load(config, DetectSettings, [*options.set, *flags])
    if not settings.data:
        raise ConfigError("--data: is missing; give the data.yaml of a prepared set")
    return settings


DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "detect.yaml"


def _arguments(settings: DetectSettings, data: DataSet, out: Path, *, rbc_px: float | None) -> dict[str, Any]:
    """ultralytics' arguments, all of them explicit; the data is described again with absolute paths and no download hook."""
    from detection.augment import build_augmentations
    from detection.order import choose_workers

    resolved = out / "data.yaml"
    lists = {split: f"{split}.txt" for split in data.splits}  # exactly the images that were checked, not all of their folders
    for split, name in lists.items():
        write_atomic(out / name, "".join(f"{path.absolute()}\n" for path in data.splits[split]))
    content = {"path": str(out.absolute()), **lists, "names": dict(enumerate(data.classes)), **({"rbc_px": rbc_px} if rbc_px else {})}
    write_atomic(resolved, yaml.safe_dump(content, sort_keys=False))
    augment, optimizer = settings.augment.model_dump(exclude={"image"}), settings.optimizer.model_dump(exclude={"name"})
    device = _device(str(settings.device))
    return {
        "task": "detect", "mode": "train", "data": str(resolved), "save_dir": str(out), "exist_ok": True, "epochs": settings.epochs,
        "imgsz": settings.imgsz, "batch": settings.batch, "nbs": settings.batch, "device": device, "seed": settings.seed,
        "patience": settings.patience, "workers": choose_workers(settings.workers, device),
        "optimizer": settings.optimizer.name, **optimizer, **augment,
        "copy_paste": 0.0, "cutmix": 0.0, "erasing": 0.0, "bgr": 0.0, "perspective": 0.0, "auto_augment": None, "multi_scale": 0.0,
        "pretrained": True,
        "augmentations": build_augmentations(settings.augment.image), "amp": _precision(settings.precision, device),
        "deterministic": True, "plots": False, "verbose": False, "cache": False, "val": True,
    }  # fmt: skip


def _refuse_changes(wanted: DetectSettings, begun: DetectSettings) -> None:
    """A resumed run keeps its settings: ultralytics takes them from the checkpoint, and would ignore others."""
    new, old = (s.model_dump(mode="json", exclude=MAY_CHANGE) for s in (wanted, begun))
    for key in new:
        if new[key] != old[key]:
            raise ConfigError(f"--resume: {key}: the run was begun with {old[key]!r}, got {new[key]!r}; leave it out or start a new run")


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    if wanted != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"device: {wanted!r} asked for, but torch sees no GPU; use auto or cpu")
    return wanted


def _precision(wanted: str, device: str) -> str | bool:
    import torch

    if wanted == "auto" and device == "cpu":
        capable = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return "bf16" if capable and _has_fast_bfloat16() else False
    return {"auto": True, "fp32": False, "bf16": "bf16"}[wanted]


def _has_fast_bfloat16() -> bool:
    """Emulated bfloat16 is slower than float32: only with instructions for it."""
    import torch

    flags = torch.backends.cpu.get_cpu_capability()
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text() and flags.startswith("AVX512")
    except OSError:
        return False


def _seen_ruler(truth: Sequence[tuple[tuple[int, int], Any]], classes: Sequence[str], imgsz: int) -> float | None:
    """Median red-cell diameter, pixels, as the network sees it once fields are letterboxed to `imgsz`; None without red cells."""
    if RED_CLASS not in classes:
        return None
    seen = [
        boxes.diameters(t.boxes[(t.labels == classes.index(RED_CLASS)) & ~boxes.touches_edge(t.boxes, shape)]) * (imgsz / max(shape))
        for shape, t in truth
    ]
    diameters = np.concatenate(seen) if seen else np.zeros(0)
    return float(np.median(diameters)) if len(diameters) else None


def _calibration(data: DataSet, settings: DetectSettings) -> list["torch.Tensor"]:
    """A few training images, letterboxed on grey, as float32 batches."""
    import torch

    paths = data.images("train")
    chosen = paths[:: max(1, len(paths) // N_CALIBRATION)][:N_CALIBRATION]
    side = settings.imgsz
    batches = []
    for start in range(0, len(chosen), 8):
        batch = np.full((len(chosen[start : start + 8]), side, side, 3), 114, np.uint8)
        for canvas, path in zip(batch, chosen[start : start + 8], strict=True):
            image = images.read_image(path)
            image = images.resize(image, min(1.0, side / max(image.shape[:2])))[:side, :side]
            canvas[: image.shape[0], : image.shape[1]] = image
        batches.append(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)
    return batches


def _say(epoch: int, metrics: Mapping[str, float]) -> None:
    map50, map50_95 = (metrics.get(f"metrics/{name}(B)", float("nan")) for name in ("mAP50", "mAP50-95"))
    pace = f"  {metrics[IMAGES_PER_S]:.1f} images/s, {metrics[WAITING_SHARE]:.0%} of it waiting" if IMAGES_PER_S in metrics else ""
    print(f"epoch {epoch}: mAP50 {map50:.4f}  mAP50-95 {map50_95:.4f}{pace}", flush=True)


def _add_throughput(out: Path, how: Mapping[str, Any]) -> None:
    """How fast the epochs were trained, and how, into `about.json`, from where it goes into the card."""
    about = json.loads((out / "about.json").read_text())
    pace = median_pace(_results(out / "results.csv"))
    write_atomic(out / "about.json", json.dumps({**about, "throughput": {**pace, **how}}, indent=1) + "\n")


def _results(results_csv: Path) -> list[dict[str, float]]:
    with results_csv.open() as file:
        return [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
