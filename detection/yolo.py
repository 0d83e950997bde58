"""The only file that imports ultralytics: build, train, score and export its detectors, with everything unasked-for off."""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from detection.order import Order, seed_everything
from smear import boxes
from smear.errors import ConfigError, ModelError, TrainingError
from smear.line import ahead, n_cores
from smear.memory import free_bytes
from smear.quiet import silence
from smear.types import Detections
from smear.watch import WAITING_SHARE, Watch

silence()
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))  # ultralytics would set 1

import cv2  # noqa: E402
import ultralytics  # noqa: E402  (after silence(): it phones home at import)
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data import dataset as _dataset  # noqa: E402
from ultralytics.data import utils as _data_utils  # noqa: E402
from ultralytics.data.build import InfiniteDataLoader, build_yolo_dataset  # noqa: E402
from ultralytics.engine import trainer as _trainer  # noqa: E402
from ultralytics.engine.validator import BaseValidator  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, load_checkpoint  # noqa: E402
from ultralytics.utils import SETTINGS, USER_CONFIG_DIR, torch_utils  # noqa: E402
from ultralytics.utils.callbacks import platform  # noqa: E402
from ultralytics.utils.metrics import ap_per_class, smooth  # noqa: E402

VERSION = ultralytics.__version__
STRIDE = 32


class FieldDataset(_dataset.YOLODataset):
    """Fields as they come (`data.yaml` has `rbc_px`: they are at the detector's scale) or with their longer side resized to `imgsz`."""

    seed = 0
    is_ordered = False  # whether it is asked by the numbers of an `Order`; else by index, as in validation and with several GPUs

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self.augment:
            ours = [compose for step in self.transforms.transforms if (compose := getattr(step, "transform", None)) is not None]
            for compose in ours:
                compose.seed = torch.initial_seed()  # else ultralytics would seed it, once a process and all transforms alike
            seed_everything((self.seed, number) if self.is_ordered else None, [one for compose in ours for one in compose.transforms])
        return super().__getitem__(number % len(self))

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> tuple:
        if self.ims[i] is not None:  # a copy: some augmentations write into what they are given
            image, original_hw = self.ims[i].copy(), self.im_hw0[i]
        elif self.data.get("rbc_px") is None:
            return super().load_image(i, rect_mode, resize_short)
        else:
            image = cv2.imread(self.im_files[i])
            if image is None:
                raise FileNotFoundError(f"{self.im_files[i]}: not a readable image")
            original_hw = image.shape[:2]
            image = image if self.augment else _fit(image, self.imgsz)
        return image, original_hw, image.shape[:2]

    def keep(self, most_bytes: int | None) -> None:
        """Decode all fields into memory if they take no more than `most_bytes` together; else none is kept."""
        self.cache = "ram"  # what it means to ultralytics: nothing leaves memory, and mosaics take their partners from all fields
        decoded, n_bytes = [], 0
        for found in ahead(self.load_image, range(self.ni), threads=n_cores()):
            decoded.append(found)
            n_bytes += found[0].nbytes
            if most_bytes is not None and n_bytes > most_bytes:
                return
        self.im_hw0, self.im_hw = ([found[part] for found in decoded] for part in (1, 2))
        self.ims = self._ImageCache([found[0] for found in decoded])

    @property
    def is_kept(self) -> bool:
        return isinstance(self.ims, self._ImageCache)


class FieldLoader(InfiniteDataLoader):
    """Batches of a training set, the same ones whoever prepares them, with a watch on how long they are waited for.

    Beside a CPU one worker is a thread of this process; more, and all beside a GPU, are processes.
    """

    def __init__(self, dataset: FieldDataset, *, batch: int, workers: int, device: torch.device, epoch: Callable[[], int]) -> None:
        self.watch, self.order, self.epoch = Watch(), Order(len(dataset), seed=dataset.seed), epoch
        dataset.is_ordered = True
        self.n_threads = int(device.type == "cpu" and workers == 1)
        processes = 0 if self.n_threads else min(workers, -(-len(dataset) // batch))
        super().__init__(
            dataset,
            batch_size=min(batch, len(dataset)),
            sampler=self.order,
            num_workers=processes,
            prefetch_factor=4 if processes else None,
            pin_memory=device.type == "cuda",
            collate_fn=dataset.collate_fn,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.iterator is None:  # at the start, after a resumption, and once mosaics end: workers had looked ahead
            self.order.epoch = self.epoch()
        batches = super().__iter__()
        yield from self.watch.items(ahead(lambda _: next(batches), range(len(self)), threads=self.n_threads))


class FieldValidator(DetectionValidator):
    """ultralytics' validator, in bfloat16 on a CPU that trains in it."""

    def __call__(self, trainer: Any = None, model: Any = None) -> Any:
        with _cpu_bfloat16(trainer is not None and trainer.args.amp == "bf16" and trainer.device.type == "cpu"):
            return super().__call__(trainer, model)

    def postprocess(self, preds: Any) -> Any:
        return super().postprocess(preds[0].float() if isinstance(preds, (list, tuple)) else preds.float())


class FieldTrainer(DetectionTrainer):
    """ultralytics' trainer with native-scale fields, bfloat16 and channels_last on a CPU, and an end at the first NaN."""

    cache_share = 0.5  # of the free memory, for each split; used when `args.cache` is "ram"
    n_workers: int | None = None  # None: what ultralytics makes of `args.workers`, which on a CPU is 0
    pace: Mapping[str, float] = MappingProxyType({})  # of the last epoch; empty with several GPUs

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = False) -> nn.Module:
        model = super().get_model(cfg, weights, verbose=False)
        return model.to(memory_format=torch.channels_last) if self.device.type == "cpu" else model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        plain = get_cfg(self.args, {"cache": False})  # the fields are kept by us
        built = build_yolo_dataset(plain, img_path, batch, self.data, mode=mode, rect=mode == "val", stride=STRIDE)
        built.__class__, built.seed = FieldDataset, self.args.seed  # the factory has no hook for the class
        share, free = self.cache_share / max(1, self.world_size), free_bytes()
        built.keep(0 if self.args.cache != "ram" else None if free is None else int(free * share))
        built.transforms = built.build_transforms(hyp=copy(self.args))  # again, now that it is known where mosaics take fields from
        return built

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        if mode != "train" or rank != -1:  # several GPUs: as ultralytics shares the fields out
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        workers = self.args.workers if self.n_workers is None else self.n_workers
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        return FieldLoader(dataset, batch=batch_size, workers=workers, device=self.device, epoch=lambda: self.epoch)

    def stop_watch(self) -> None:
        """Take the pace of the epoch that has just been trained."""
        loader = self.train_loader
        self.pace = loader.watch.pace(len(loader.dataset)) if isinstance(loader, FieldLoader) else {}

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        known = self.csv.read_text().partition("\n")[0] if self.csv.exists() else None  # a run of an earlier version has other columns
        super().save_metrics({**metrics, **(self.pace if known is None or WAITING_SHARE in known else {})})

    def get_validator(self) -> DetectionValidator:
        return FieldValidator(self.test_loader, save_dir=self.save_dir, args=dict(vars(self.args)), _callbacks=self.callbacks)

    def optimizer_step(self) -> None:
        if not torch.isfinite(self.loss):
            raise TrainingError(
                f"{self.save_dir}: epoch {self.epoch + 1}: the loss is {float(self.loss.detach())}; lower lr0 or check the labels "
                "(the checkpoints of the finished epochs are kept)"
            )
        super().optimizer_step()


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


def is_known(name: str) -> bool:
    """Whether ultralytics has a detector of that name (`yolov5n` … `yolov5x6`, `yolov8n` … `yolov8x`, and its later families)."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):  # it would take a path, or fetch an address
        return False
    try:
        content = ultralytics.nn.tasks.yaml_model_load(f"{name}.yaml")
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


def train(
    arguments: Mapping[str, Any], *, cache_share: float = 0.0, on_epoch: Callable[[int, Mapping[str, float]], None] | None = None
) -> bool | None:
    """Run (or resume) one training with ultralytics' own loop; returns whether its fields were kept in memory, None if unknown.

    Args:
        arguments: ultralytics' training arguments, complete; `save_dir` decides where the run lies.
        cache_share: the share of the free memory that the decoded fields of a split may take; if they need more, none is kept.
        on_epoch: called with the epoch (from 1) and its metrics, `images_per_s` and `waiting_share` among them.

    Raises:
        TrainingError: the loss is not finite, or the run cannot be resumed.
    """
    quiet()
    trainer = FieldTrainer(overrides={**arguments, "cache": "ram" if cache_share else False})
    trainer.cache_share, trainer.n_workers = cache_share, arguments["workers"]
    trainer.add_callback("on_train_epoch_end", FieldTrainer.stop_watch)
    if on_epoch:
        trainer.add_callback("on_fit_epoch_end", lambda t: t.epoch < t.epochs and on_epoch(t.epoch + 1, {**t.metrics, **t.pace}))
    trainer.train()
    return trainer.train_loader.dataset.is_kept if hasattr(trainer, "train_loader") else None  # else it was trained in other processes


@dataclass(frozen=True)
class Hits:
    """ultralytics' matching of M detections: correct (M, 10) at its IoU thresholds, scores, labels (M,), and every true label (T,)."""

    correct: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray


def own_hits(truths: Sequence[Detections], found: Sequence[Detections]) -> Hits:
    """ultralytics' own matching of the same boxes, field by field."""
    by_score = [d.take(np.argsort(-d.scores, kind="stable")) for d in found]
    matcher = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    hits = [np.zeros((0, 10), bool)]
    for truth, d in zip(truths, by_score, strict=True):
        overlap = torch.from_numpy(boxes.iou(truth.boxes, d.boxes))
        labels = (torch.tensor(d.labels), torch.tensor(truth.labels))
        hits.append(BaseValidator.match_predictions(matcher, *labels, overlap).numpy().reshape(-1, 10))
    every = Detections.concat(by_score)
    true_labels = np.concatenate([np.zeros(0, np.int64), *(t.labels for t in truths)])
    return Hits(np.concatenate(hits), every.scores, every.labels, true_labels)


def score_hits(hits: Hits, classes: Sequence[str]) -> dict[str, Any]:
    """ultralytics' map50, map50_95, precision and recall, the `confidence` it reads the last two at, and `ap50`, `ap50_95` by class."""
    _, _, precision, recall, _, ap, present, _, _, f1, at, _ = ap_per_class(hits.correct, hits.scores, hits.labels, hits.true_labels)
    parts = {"map50": ap[:, 0], "map50_95": ap, "precision": precision, "recall": recall} if len(ap) else {}
    numbers = {name: float(np.mean(parts[name])) if parts else float("nan") for name in ("map50", "map50_95", "precision", "recall")}
    return {
        **numbers,
        "confidence": float(at[smooth(f1.mean(0), 0.1).argmax()]) if len(ap) else float("nan"),  # as ap_per_class chooses it
        "ap50": {classes[k]: float(v) for k, v in zip(present, ap[:, 0], strict=True)} if len(ap) else {},
        "ap50_95": {classes[k]: float(v) for k, v in zip(present, ap.mean(axis=1), strict=True)} if len(ap) else {},
    }


def own_metrics(truths: Sequence[Detections], found: Sequence[Detections], classes: Sequence[str]) -> dict[str, float]:
    """ultralytics' own numbers for the same boxes: map50, map50_95, and precision and recall at its best-F1 confidence."""
    numbers = score_hits(own_hits(truths, found), classes)
    return {name: numbers[name] for name in ("map50", "map50_95", "precision", "recall")}


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


def _n_threads() -> int:
    """As many as the user set, else one a core."""
    wanted = os.environ["OMP_NUM_THREADS"]
    return int(wanted) if wanted.isdigit() and int(wanted) else os.cpu_count() or 1


def _fit(image: np.ndarray, longest: int) -> np.ndarray:
    """Validation shows whole fields: one larger than the canvas is shrunk to it, a smaller one keeps its scale."""
    factor = longest / max(image.shape[:2])
    return image if factor >= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _cpu_bfloat16(enabled: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if enabled else nullcontext()


def _autocast(enabled: bool | torch.dtype, device: str = "cuda") -> Any:
    """ultralytics' own refuses bfloat16 without a CUDA device; CPUs have it too."""
    if device == "cpu":
        return _cpu_bfloat16(enabled is torch.bfloat16)
    if isinstance(enabled, torch.dtype):
        return torch.autocast(device, enabled)
    return torch.autocast(device, enabled=bool(enabled))


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


def _no_weights(name: str, target: Path) -> ModelError:
    return ModelError(
        f"weights: {name!r} is not at {target} and could not be downloaded; "
        "put the file there, or pass --weights FILE, a bundle folder, or none (random start)"
    )
