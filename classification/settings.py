"""All settings of one classifier training: what `configs/classify.yaml`, `--set` and the flags may say, checked at once."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from smear.config import Settings


class Optimiser(Settings):
    """How weights follow the gradient; the default is AdamW with linear warm-up, then cosine decay to zero.

    name: weight_decay is decoupled in "adamw" and an L2 term of the gradient in the others; momentum is that of "sgd".
    schedule: after the warm-up, "cosine" to zero or "constant". l1, l2: added to the loss for every weight of the head's dense layers
    but the last (of the only one, if there is one): l1 · |w| and l2 · w². clip_norm: of the whole gradient, 0: off. ema: keeps a running
    average of the weights, which is what is validated and kept (0: off).
    """

    name: Literal["adamw", "adam", "adamax", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = Field(0.05, ge=0, le=1)
    l1: float = Field(0.0, ge=0, le=1)
    l2: float = Field(0.0, ge=0, le=1)
    warmup_epochs: float = Field(1.0, ge=0)
    clip_norm: float = Field(1.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    ema: float = Field(0.998, ge=0, lt=1)


class Mix(Settings):
    """Two crops of a batch in one, with a label that says how much of each; after augmentation, in training only.

    mixup, cutmix: alpha of the Beta distribution that the share is drawn from, 0: off; of both, one is drawn for every batch.
    p: share of the batches that are mixed.
    """

    mixup: float = Field(0.0, ge=0, le=10)
    cutmix: float = Field(0.0, ge=0, le=10)
    p: float = Field(1.0, ge=0, le=1)


class Balance(Settings):
    """Which cells weigh more, counted in the training split only.

    by: "none"; "class" makes the classes equal; "class_stain" makes the classes equal within every stain that has both,
    so that stain tells nothing about the class. How: "sampler" draws cells by weight, "loss" weighs their loss.
    cap: no cell weighs more than this times the mean.
    """

    by: Literal["none", "class", "class_stain"] = "class"
    how: Literal["sampler", "loss"] = "sampler"
    cap: float = Field(10.0, ge=1)


class Holdout(Settings):
    """A stain that training and validation never see; the run is scored on it afterwards. None: nothing is held out.

    Named as in the table (`3`), or `taleqani/3` when several sets are joined.
    """

    stain: str | None = Field(None, coerce_numbers_to_str=True)


class Review(Settings):
    """When a label needs a second look: below the lowest confidence above which validation is right this often."""

    accuracy: float = Field(0.95, gt=0.5, lt=1)
    max_share: float = Field(0.3, ge=0, le=1)


class Operating(Settings):
    """From which probability of the first class on a cell is called positive, chosen on validation; see `smear.metrics.operating`.

    `sensitivity` is what the rule of that name asks for at least.
    """

    rule: Literal["youden", "f1", "sensitivity"] = "youden"
    sensitivity: float = Field(0.95, gt=0, le=1)


class Export(Settings):
    """What the bundle holds: weights in 16 bits (float32 in and out), and whether the safetensors go along."""

    half: bool = False
    safetensors: bool = True


class TrainSettings(Settings):
    """One training run; the defaults are the LeukoDetect network without its augmentation (that stands in the config file).

    train_last: the head and so many of the last blocks of the backbone learn, the others stay as they were loaded; None: all learn.
    segment: what lies outside the segmented cell or nucleus becomes black before anything else; not for a bundle.
    select: what picks the best epoch and stops early, on the validation split. "val_auc": all cells together; "val_accuracy" and
    "val_loss" likewise; "worst_stain_auc": the worst stain that has both classes; "worst_pair_auc": the worst pair of stains,
    positives of one against the rest of the other, defined even where each stain has one class. min_cells: fewer cells are no stain.
    epoch_cells: cells drawn in one epoch; None: as many as the training split has. workers: who prepares batches ahead, threads beside
    a CPU and processes beside a GPU; 0: nobody, the loop waits. cache: share of the free memory that decoded crops may take; what does
    not fit is read again each time. Neither changes a result.
    """

    name: str = "all-hem"
    model: str = "densenet121"
    head: str = "leukodetect"
    front: str = "none"
    weights: str = "none"
    classes: tuple[str, ...] = Field(("ALL", "HEM"), min_length=2)
    label_column: str = "label"
    stain_column: str = "stain"
    train_last: int | None = Field(None, ge=0)
    imgsz: int = Field(224, ge=16, le=1024)
    segment: Literal["none", "cell", "nucleus"] = "none"
    normalise: Literal["unit", "imagenet", "minmax"] = "imagenet"
    epochs: int = Field(30, ge=1)
    batch: int = Field(32, ge=2)
    epoch_cells: int | None = Field(None, ge=2)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    workers: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    cache: float = Field(0.5, ge=0, le=1)
    optimiser: Optimiser = Optimiser()
    balance: Balance = Balance()
    holdout: Holdout = Holdout()
    mix: Mix = Mix()
    select: Literal["val_auc", "val_accuracy", "val_loss", "worst_stain_auc", "worst_pair_auc"] = "val_auc"
    min_cells: int = Field(10, ge=1)
    patience: int = Field(10, ge=1)
    review: Review = Review()
    operating: Operating = Operating()
    augment: tuple[dict[str, Any], ...] = ()
    export: Export = Export()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: a name is given twice: {list(self.classes)!r}")
        if self.optimiser.warmup_epochs >= self.epochs and self.optimiser.warmup_epochs > 1:
            raise ValueError("optimiser.warmup_epochs: must be less than epochs")
        return self
