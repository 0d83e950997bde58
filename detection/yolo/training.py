"""One training by ultralytics' own loop, on our fields, in bfloat16 where that is fast, until a loss is not finite."""

from collections.abc import Callable, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_yolo_dataset
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator

from detection.yolo.fields import FieldDataset, FieldLoader
from detection.yolo.habits import cpu_bfloat16, quiet
from smear.errors import TrainingError
from smear.memory import free_bytes
from smear.watch import WAITING_SHARE

STRIDE = 32


class FieldValidator(DetectionValidator):
    """ultralytics' validator, in bfloat16 on a CPU that trains in it."""

    def __call__(self, trainer: Any = None, model: Any = None) -> Any:
        with cpu_bfloat16(trainer is not None and trainer.args.amp == "bf16" and trainer.device.type == "cpu"):
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
