"""`python -m smear export BUNDLE --runtime …`: the same model in another precision, in the bundle only if it passes the parity gate."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from smear import annotations
from smear.build import Opened, label_crops, open_models, open_network, read_labelled_crops
from smear.bundles import save_bundle
from smear.commands import OK, SOME_FAILED
from smear.commands.request import settings_of
from smear.errors import ConfigError
from smear.gate import judge_crops, judge_fields
from smear.models import Bundle, open_bundle
from smear.parity import Answers, Parity
from smear.regress import freeze, gather
from smear.review import review_rule
from smear.settings import AnalyzeSettings
from smear.variants import (
    CALIBRATION_SPLIT,
    REFERENCE,
    Made,
    accepted,
    calibrate_on_crops,
    calibrate_on_fields,
    known_int8,
    tried,
    variant_name,
    with_variant,
)

PRECISIONS = ("bf16", "fp16", "int8")


@dataclass(frozen=True)
class _Judged:
    made: Made
    parity: Parity
    about: Mapping[str, Any]


def export_variant_command(options: argparse.Namespace) -> int:
    """Make, try and judge a variant; 0: written, 1: refused with the numbers, and nothing written."""
    precision = next((p for p in PRECISIONS if getattr(options, p)), None)
    if precision is None or options.calibrate is None:
        wanted = "--bf16, --fp16 or --int8" if precision is None else "--calibrate DATA, the labelled set that judges the variant"
        raise ConfigError(f"export {options.folder} --runtime {options.runtime}: needs {wanted}")
    name = variant_name(options.runtime, precision)
    bundle = open_bundle(options.folder)
    out = options.folder if options.in_place else options.out or options.folder.with_name(f"{options.folder.resolve().name}-{name}")
    if not options.in_place and out.exists():
        raise ConfigError(f"--out: {out} exists; choose another folder, or --in-place to put the variant into the bundle itself")
    settings = _settings(options, bundle)
    is_table = options.calibrate.suffix == ".csv"
    judged = (_judge_on_crops if is_table else _judge_on_fields)(bundle, name, precision, settings, options)
    print("\n".join([f"{bundle.card.name}, {name} against {REFERENCE} (float32):", *judged.parity.lines()]))
    if not judged.parity.passed:
        print("refused: the variant does not pass the parity gate; nothing was written")
        return SOME_FAILED
    card, files = with_variant(bundle, name, judged.made, accepted(name, judged.made, judged.parity, judged.about))
    save_bundle(out, card, files)
    print(f"accepted: {name} is in {out}")
    return OK


def _judge_on_fields(bundle: Bundle, name: str, precision: str, settings: AnalyzeSettings, options: argparse.Namespace) -> _Judged:
    data = annotations.read_data_yaml(options.calibrate)
    frozen = freeze(data, options.split)
    opened, fields = open_models(settings), frozen.labelled.fields
    made = known_int8(bundle, name) if precision == "int8" else Made()
    if made is None:
        avoid = {annotations.sha256(field.path) for field in fields}
        bar = partial(tqdm, desc="calibrate", unit="field")
        made = calibrate_on_fields(opened, bundle, data, avoid=avoid, progress=bar)
    bar = partial(tqdm, total=len(fields), unit="field")
    reference = gather(opened, frozen.labelled, progress=partial(bar, desc=REFERENCE))
    with tried(bundle, name, made, settings) as network:
        variant = gather(opened, frozen.labelled, progress=partial(bar, desc=name), networks={bundle.card.task: network})
    parity = judge_fields(frozen.labelled, reference, variant, task=bundle.card.task, precision=precision)
    return _Judged(
        made, parity, {"data": frozen.about, "reference": REFERENCE, "device": network.device, "beside": _beside(opened, bundle)}
    )


def _judge_on_crops(bundle: Bundle, name: str, precision: str, settings: AnalyzeSettings, options: argparse.Namespace) -> _Judged:
    table = options.calibrate
    if bundle.card.task != "classify":
        raise ConfigError(f"--calibrate: {table} is a table of crops, and {bundle.card.name} finds cells in fields; give it a data.yaml")
    made = known_int8(bundle, name) if precision == "int8" else Made()
    crops = read_labelled_crops(bundle, table, [options.split, *([CALIBRATION_SPLIT] if made is None else [])])
    made = made or calibrate_on_crops(bundle, crops[CALIBRATION_SPLIT][0], data=table.resolve().parent.name)
    images, kinds = crops[options.split]
    p = label_crops(bundle, open_network(bundle, settings), images)
    with tried(bundle, name, made, settings) as network:
        answers = Answers(p, label_crops(bundle, network, images))
    classes = bundle.card.classes
    positive = classes.index("ALL") if "ALL" in classes else 0
    parity = judge_crops(kinds, answers, review_below=review_rule(settings, bundle.card).below, positive=positive)
    about = {"name": table.resolve().parent.name, "split": options.split, "sha256": annotations.sha256(table), "n_crops": len(images)}
    return _Judged(made, parity, {"data": about, "reference": REFERENCE, "device": network.device})


def _settings(options: argparse.Namespace, bundle: Bundle) -> AnalyzeSettings:
    """The analysis that judges: float32, with the bundle in its place and the other model beside it."""
    mine, other = ("detector", "classifier") if bundle.card.task == "detect" else ("classifier", "detector")
    if other == "detector" and options.beside == "none":
        raise ConfigError("--beside: a classifier is judged on cells that a detector found; name one")
    asked = {mine: str(options.folder), other: options.beside, "runtime": REFERENCE, "confidence": None, "max_error": None}
    return settings_of(argparse.Namespace(**{**vars(options), **asked}))


def _beside(opened: Opened, bundle: Bundle) -> dict[str, Any] | None:
    """The model of the other task, the same on both sides."""
    return next(({"name": c.name, "files": c.files} for c in opened.cards if c.task != bundle.card.task), None)
