"""Variants of a bundle: the same model in another precision, made, tried, judged and put into the card."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from smear import annotations
from smear.annotations import DataSet
from smear.build import Opened, build_analyzer, label_crops, open_network
from smear.bundles import save_bundle
from smear.errors import AnnotationError, ConfigError
from smear.models import Bundle, ModelCard, Variant, open_bundle
from smear.parity import Parity
from smear.quantise import KEPT_FIRST, quantise
from smear.recorder import Recorder
from smear.report.records import jsonable
from smear.runtimes import PACKAGES, VARIANTS, open_runtime
from smear.settings import AnalyzeSettings
from smear.types import Field, Image, Runtime

REFERENCE = "onnx"  # float32
INT8_FILE = "model.int8.onnx"
CALIBRATION_SPLIT = "train"
N_FIELDS, N_PICTURES = 64, 256  # of a calibration: fields drawn, and pictures of the network's input kept

Progress = Callable[..., Any]


@dataclass(frozen=True)
class Made:
    """The weights of a variant, None when it runs the float32 ones, and how they came about."""

    file: str | None = None
    data: bytes | None = None
    calibration: Mapping[str, Any] | None = None


def variant_name(runtime: str, precision: str) -> str:
    """The variant's name, which is that of its runtime.

    Raises:
        ConfigError: that runtime has no such precision.
    """
    name = f"{runtime}-{precision}"
    if name not in VARIANTS:
        raise ConfigError(f"--runtime {runtime} --{precision}: there is no such variant; there are {', '.join(VARIANTS)}")
    return name


def known_int8(bundle: Bundle, name: str) -> Made | None:
    """The 8-bit weights that another variant of the bundle runs already: one file serves all runtimes. None if there are none."""
    others = [v for other, v in bundle.card.variants.items() if other != name and other.endswith("-int8") and v.file]
    return Made(others[0].file, None, others[0].parity.get("calibration")) if others else None


def calibrate_on_fields(
    opened: Opened, bundle: Bundle, data: DataSet, *, avoid: Collection[str], seed: int = 0, progress: Progress = iter
) -> Made:
    """Quantise a model by what it sees when fields of the training split are analysed, `N_FIELDS` drawn by `seed`.

    Args:
        opened: the analysis, `bundle` being one of its two models. avoid: SHA-256 of the fields that will judge the variant.

    Raises:
        AnnotationError: there is no such split, or one of its fields is to be avoided.
        ModelError: the model cannot be quantised.
    """
    paths = data.images(CALIBRATION_SPLIT)
    chosen = [paths[i] for i in sorted(np.random.default_rng(seed).permutation(len(paths))[:N_FIELDS])]
    for path in chosen:
        if annotations.sha256(path) in avoid:
            raise AnnotationError(f"{path}: is in the {CALIBRATION_SPLIT} split and among the fields that judge; the gate needs others")
    one_lane = replace(opened, settings=opened.settings.model_copy(update={"lanes": 1}))  # the order of batches, and so the draw
    recorder = _recorder(bundle, seed)
    analyzer = build_analyzer(one_lane, networks={bundle.card.task: recorder})
    for _ in progress(analyzer(Field(path.name, path) for path in chosen)):
        pass
    about = {"data": data.root.name, "split": CALIBRATION_SPLIT, "n_fields": len(chosen), "seed": seed}
    return _quantised(bundle, recorder, about)


def calibrate_on_crops(bundle: Bundle, crops: Image, *, data: str, seed: int = 0) -> Made:
    """Quantise a classifier by crops (N, S, S, 3) of the training split, of which `N_PICTURES` are drawn by `seed`.

    Raises:
        ModelError: the model cannot be quantised.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(crops))[:N_PICTURES])
    recorder = _recorder(bundle, seed)
    label_crops(bundle, recorder, crops[drawn])
    return _quantised(bundle, recorder, {"data": data, "split": CALIBRATION_SPLIT, "n_crops": len(drawn), "seed": seed})


@contextmanager
def tried(bundle: Bundle, name: str, made: Made, settings: AnalyzeSettings) -> Iterator[Runtime]:
    """The variant's network, loaded from a bundle that is gone afterwards; nothing is written to the bundle itself.

    Raises:
        ModelError, MissingExtra: it cannot be loaded here.
    """
    with tempfile.TemporaryDirectory(prefix="leukofield-variant-") as scratch:
        card, files = with_variant(bundle, name, made, Variant(file=made.file, accepted=False))
        save_bundle(Path(scratch) / "bundle", card, files)
        trial = open_bundle(Path(scratch) / "bundle")
        yield open_network(trial, settings.model_copy(update={"runtime": name}), trial=True)


def accepted(name: str, made: Made, parity: Parity, about: Mapping[str, Any]) -> Variant:
    """The card's entry of a variant that passed: the gate's figures, what it was judged on, and by which versions."""
    told = {**parity.to_json(), **about, **({"calibration": dict(made.calibration)} if made.calibration else {})}
    return Variant(file=made.file, accepted=parity.passed, parity=jsonable(told), versions=_versions(name))


def with_variant(bundle: Bundle, name: str, made: Made, variant: Variant) -> tuple[ModelCard, dict[str, bytes | Path]]:
    """The card and the files of a bundle that has the variant too, for `save_bundle`."""
    files: dict[str, bytes | Path] = {file: bundle.root / file for file in bundle.card.files}
    if made.file and made.data is not None:
        files[made.file] = made.data
    return bundle.card.model_copy(update={"variants": {**bundle.card.variants, name: variant}}), files


def _recorder(bundle: Bundle, seed: int) -> Recorder:
    return Recorder(open_runtime(bundle, runtime=REFERENCE, device="cpu"), n=N_PICTURES, seed=seed)


def _quantised(bundle: Bundle, recorder: Recorder, about: Mapping[str, Any]) -> Made:
    batches = recorder.batches()
    data = quantise(bundle.read(bundle.file(".onnx")), batches)
    how = {"n_pictures": len(batches), "method": "smallest and largest value, QDQ", "first_layers_in_float": KEPT_FIRST}
    return Made(INT8_FILE, data, {**about, **how})


def _versions(name: str) -> dict[str, str]:
    """Of the runtime that was judged, and of the one that it was compared with and that quantises."""
    packages = dict.fromkeys((PACKAGES[name.split("-")[0]], PACKAGES[REFERENCE]))
    return {package: version(package) for package in packages}
