"""What a detector's training can be told: one frozen configuration."""

from typing import Annotated, Any, Literal

from pydantic import Field

from smear.config import Settings


class Optimizer(Settings):
    name: Literal["AdamW", "Adam", "SGD", "auto"] = "AdamW"
    lr0: float = Field(0.001, gt=0, le=1)
    lrf: float = Field(0.01, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0005, ge=0, le=1)
    warmup_epochs: float = Field(2.0, ge=0)
    cos_lr: bool = True


class Augment(Settings):
    """ultralytics' geometric augmentations by their own names, and `image`: albumentations in order, nothing hidden."""

    mosaic: float = Field(1.0, ge=0, le=1)
    close_mosaic: int = Field(5, ge=0)
    degrees: float = Field(0.0, ge=0, le=180)
    translate: float = Field(0.1, ge=0, le=1)
    scale: float = Field(0.5, ge=0, lt=1)
    shear: float = Field(0.0, ge=0, le=180)
    flipud: float = Field(0.0, ge=0, le=1)
    fliplr: float = Field(0.5, ge=0, le=1)
    hsv_h: float = Field(0.015, ge=0, le=1)
    hsv_s: float = Field(0.7, ge=0, le=1)
    hsv_v: float = Field(0.4, ge=0, le=1)
    mixup: float = Field(0.0, ge=0, le=1)
    image: tuple[dict[str, Any], ...] = ()


class Export(Settings):
    half: bool = True


class DetectSettings(Settings):
    """Flag names as ultralytics users know them; `batch` and `imgsz` in images and pixels.

    workers: who prepares batches ahead; on a CPU one is a thread, 0 is nobody. cache: the share of the free memory that the
    decoded fields of a split may take; if they need more, each is read again when it is drawn. Neither changes a result.
    """

    data: str = ""
    model: str = "yolov8n"
    weights: str = "auto"
    epochs: int = Field(100, ge=1)
    imgsz: int = Field(640, ge=64, le=4096, multiple_of=32)
    batch: int = Field(16, ge=1)
    device: str | int = "auto"
    seed: int = Field(0, ge=0)
    patience: int = Field(30, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    cache: float = Field(0.5, ge=0, le=1)
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    export: Export = Export()
