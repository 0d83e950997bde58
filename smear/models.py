"""A model is a folder: weights + `model.json`, which says everything about them. Opened by hash, safe formats only."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from smear.config import Settings, explain
from smear.errors import ModelError
from smear.model_files import check_content, check_name

CARD_NAME = "model.json"
CARD_JSON, CARD_PAGE = "card.json", "card.html"  # what people read; made from model.json and never opened by a run
MAX_CARD_BYTES = 10_000_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


class CropContract(Settings):
    """How a cell is cut from its field, for training and for use alike; `smear.images.crop` obeys it.

    The crop is square and centred on the box. `unit` "rbc": `width` red-cell diameters wide, so that physical
    size survives; "box": `width` times the longer side of the box. `background`: "kept"; "ellipse" (grey
    outside an ellipse round the box); "black" (the segmented cell alone, the C-NMC kind).
    """

    unit: Literal["rbc", "box"] = "rbc"
    width: float = Field(3.0, gt=0, le=100, allow_inf_nan=False)
    background: Literal["kept", "ellipse", "black"] = "kept"


class Variant(Settings):
    """The same model in another precision, run by the runtime of the same name (such as "openvino-bf16").

    file: its own weights in the bundle, e.g. "model.int8.onnx"; None: the float32 weights, computed in that precision.
    accepted: whether `smear.parity` let it pass. parity: the gate's figures, limits, data set and counts. versions: of what made it.
    """

    file: str | None = None
    accepted: bool
    parity: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class ModelCard(Settings):
    """All that is known about a model; `files` maps each plain file name of the bundle to its SHA-256.

    normalise: "unit" x/255; "imagenet" (x/255 - mean)/std; "minmax" per image (x - min)/(max - min).
    head: "yolo" raw ultralytics output; "sigmoid" one logit of P(classes[0]); "softmax" one logit a class.
    temperature: divides the logits. rbc_px: red-cell diameter, pixels, of the images a detector was trained on.
    statistics: what the training fields of a detector look like (`smear.drift`). variants: by the name of their runtime.
    Undefined metrics (NaN) are stored as null.
    """

    name: str = Field(min_length=1)
    task: Literal["detect", "classify"]
    architecture: str = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=1)
    white_classes: tuple[str, ...] = ()
    red_class: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    input_px: int = Field(ge=8, le=8192)
    normalise: Literal["unit", "imagenet", "minmax"]
    head: Literal["yolo", "sigmoid", "softmax"]
    crop: CropContract | None = None
    rbc_px: float | None = Field(None, gt=0, allow_inf_nan=False)
    thresholds: dict[str, float] = Field(default_factory=dict)
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    metrics: dict[str, Any] = Field(default_factory=dict)
    statistics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    data: tuple[dict[str, Any], ...] = ()
    variants: dict[str, Variant] = Field(default_factory=dict)
    licence: str = "AGPL-3.0-or-later"
    limits: str = "Research use only; not a diagnostic device."

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: a name is given twice: {list(self.classes)!r}")
        for key, named in (("white_classes", self.white_classes), ("red_class", (self.red_class,) if self.red_class else ())):
            unknown = [name for name in named if name not in self.classes]
            if unknown:
                raise ValueError(f"{key}: {unknown[0]!r} is not one of the classes {list(self.classes)!r}")
        if (self.task == "detect") != (self.head == "yolo"):
            raise ValueError(f"head: {self.head!r} does not fit the task {self.task!r}")
        if self.head == "sigmoid" and len(self.classes) != 2:
            raise ValueError(f"head: 'sigmoid' needs two classes, got {len(self.classes)}")
        for name, digest in self.files.items():
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"files: {name}: not a SHA-256 in hexadecimal: {digest!r}")
        for name, variant in self.variants.items():
            if self.files and variant.file is not None and variant.file not in self.files:
                raise ValueError(f"variants: {name}: its file {variant.file!r} is not one of the files {list(self.files)!r}")
        return self


@dataclass(frozen=True)
class Bundle:
    """An opened model folder whose files had the hashes of the card."""

    root: Path
    card: ModelCard

    def file(self, suffix: str, variant: str | None = None) -> str:
        """The name of the bundle's one file with that suffix, not counting those of variants; or that variant's own file, if it has one.

        Raises:
            ModelError: it has none, or more than one.
        """
        chosen = self.card.variants.get(variant) if variant else None
        if chosen is not None and chosen.file is not None:
            return chosen.file
        of_variants = {v.file for v in self.card.variants.values()}
        names = [name for name in self.card.files if name.endswith(suffix) and name not in of_variants]
        if len(names) != 1:
            raise ModelError(f"{self.root}: needs exactly one {suffix} file for this runtime, has {len(names)}")
        return names[0]

    def read(self, name: str) -> bytes:
        """The bytes of one file, checked again: what runs is what was hashed, even if the file changed since.

        Raises:
            ModelError: the file is missing, changed, or not of its format.
        """
        check_name(name)
        try:
            data = (self.root / name).read_bytes()
        except OSError as error:
            raise ModelError(f"{self.root / name}: cannot read it ({error.strerror}); the bundle is incomplete") from error
        digest, expected = hashlib.sha256(data).hexdigest(), self.card.files[name]
        if digest != expected:
            raise ModelError(
                f"{self.root / CARD_NAME}: sha256 of {name} is {digest[:4]}…, the card says {expected[:4]}…; "
                "the file was changed, export it again"
            )
        check_content(name, data)
        return data


def open_bundle(folder: Path) -> Bundle:
    """Read the card and check every file it names: hash first, then format; nothing is unpickled.

    Raises:
        ModelError: no such folder or card, a card that does not fit, a file missing, changed or of an unsafe format.
    """
    folder = Path(folder)
    path = folder / CARD_NAME
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; a model is a folder with weights and {CARD_NAME}")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror}); a model is a folder with weights and {CARD_NAME}") from error
    if len(text) > MAX_CARD_BYTES:
        raise ModelError(f"{path}: {len(text)} bytes is too large for a card")
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{path}: {explain(error, ModelCard)}") from error
    if not card.files:
        raise ModelError(f"{path}: files: is empty; export the model again")
    bundle = Bundle(folder, card)
    for name in card.files:
        bundle.read(name)
    return bundle
