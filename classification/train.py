"""`python -m classification.train --data crops.csv --model densenet121`: one visible loop from crops to a checked bundle."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classification import run_folder
from classification.augment import build_augmentation
from classification.batches import Batches
from classification.calibration import fit_temperature, promises, review_threshold
from classification.evaluate import write_predictions
from classification.export import write_bundle
from classification.learner import Learner
from classification.loop import Lesson, Part, learn
from classification.material import Material, prepare
from classification.networks import HEADS, Network, build, check_input, load_weights
from classification.operating import POINT, THRESHOLD, cell_groups, choose_point
from classification.probabilities import to_probabilities
from classification.refusals import refusal
from classification.selection import best_epoch, describe_predictions
from classification.settings import TrainSettings
from classification.steps import choose_device, choose_precision, predict_logits, with_state
from smear.config import load
from smear.errors import ConfigError, SmearError
from smear.models import ModelCard
from smear.review import CURVE
from smear.watch import median_pace

N_PROBE = 64  # real crops on which the ONNX file is compared with torch
FLAGS = ("model", "weights", "epochs", "batch", "imgsz", "device", "seed")


@dataclass(frozen=True)
class Trained:
    """The card of the bundle, and how the held-out stain was labelled: (M,) int64 and (M, C) float32; M is 0 without one."""

    card: ModelCard
    held_out_labels: NDArray[np.int64]
    held_out_probabilities: NDArray[np.float32]


def train(
    settings: TrainSettings, data: Sequence[Path], out: Path, *, resume: bool = False, command: str = "", progress: bool = False
) -> Trained:
    """Train one classifier and leave a run folder: config, origin, metrics, curves, checkpoints and `bundle/`.

    A run that was killed and resumed ends with the same weights as one that was not, on the same machine.

    Raises:
        ConfigError, AnnotationError, ImageError: the request or the data is wrong; said before the first step.
        TrainingError: the loss is no longer finite; checkpoints of the epochs before stay.
        ModelError: start weights that do not fit, or a checkpoint that is damaged.
    """
    device = choose_device(settings.device)
    choose_precision(settings.precision, device)  # a mistake here or in the next list is said before the pictures are read
    build_augmentation(settings.augment)
    check_input(settings.model, settings.imgsz)
    _refuse_what_a_bundle_cannot_do(settings)
    material = prepare(settings, data)
    about = run_folder.describe_run(command, settings, material.table.about)
    torch.manual_seed(settings.seed)
    network = build(settings.model, settings.head, len(settings.classes), front=settings.front)
    if not (resume and (out / run_folder.LAST).exists()):
        load_weights(network, settings.weights, architecture=settings.model)
    if settings.train_last is not None:
        network.rest_all_but(settings.train_last)
    state = run_folder.start_run(out, settings, about, resume=resume)
    learner = Learner.of(network, settings, device)
    history = before = state["history"] if state is not None else []
    if state is not None:
        learner.load_state(state)

    lesson = Lesson(_part(material, material.train), _part(material, material.val))
    batches = Batches(lesson.train.pictures, settings, device)
    for history in learn(learner, lesson, batches, history=before, progress=progress):
        if best_epoch(history) == len(history):
            run_folder.write_best(out, learner.average)
        run_folder.write_checkpoint(out, {**learner.state(), "history": history})
        run_folder.write_history(out, history)
        if progress:
            print("  ".join(f"{key} {value:.4g}" for key, value in history[-1].items()), flush=True)
    run_folder.write_curves(out, history)
    best = with_state(network.cpu(), run_folder.read_best(out))
    how = {
        "device": device.type,
        "precision": str(learner.precision).removeprefix("torch."),
        "kept_share": material.pictures.kept_share(material.train),
    }
    throughput = {**median_pace(history), **how, "threads": batches.threads, "processes": batches.processes}
    run_folder.add_to_about(out, throughput=throughput)
    return _finish(best, material, settings, out, about={**about, "best_epoch": best_epoch(history), "throughput": throughput})


def _part(material: Material, rows: NDArray[np.int64]) -> Part:
    return Part(material.pictures.part(rows), material.labels[rows], material.stains[rows])


def _refuse_what_a_bundle_cannot_do(settings: TrainSettings) -> None:
    if settings.segment != "none":
        raise ConfigError(f"segment: a bundle has no room for it, got {settings.segment!r}; fit such a system by classification.compare")
    if settings.train_last is not None and settings.weights == "none":
        raise ConfigError("train_last: what does not learn must have been learned before; give --weights, or train_last=null")


def _finish(best: Network, material: Material, settings: TrainSettings, out: Path, *, about: dict[str, Any]) -> Trained:
    """Calibrate on validation, score, look at the held-out stain, export and compare."""
    cpu = torch.device("cpu")
    val = material.val
    labels, stains = material.labels, material.stains
    logits = predict_logits(best, material.pictures.part(val), settings.normalise, cpu, torch.float32)
    temperature = fit_temperature(logits, labels[val])
    probabilities = to_probabilities(logits, temperature)
    review = review_threshold(probabilities, labels[val], accuracy=settings.review.accuracy, max_share=settings.review.max_share)
    metrics = {"validation": describe_predictions(labels[val], probabilities, stains[val], settings.classes, min_cells=settings.min_cells)}
    groups, unit = cell_groups(material.table.take(val))
    names = ", ".join(str(about["name"]) for about in material.table.about)
    metrics[CURVE], sets = promises(probabilities, labels[val], settings.classes, groups, unit=unit, data=names)
    metrics[POINT] = choose_point(
        labels[val], probabilities, settings.classes, rule=settings.operating.rule, target=settings.operating.sensitivity
    )
    rows = material.held_out
    held_out = np.zeros((0, len(settings.classes)), np.float32)
    if len(rows):
        held_out = to_probabilities(predict_logits(best, material.pictures.part(rows), settings.normalise, cpu, torch.float32), temperature)
        found = describe_predictions(labels[rows], held_out, stains[rows], settings.classes, min_cells=settings.min_cells)
        metrics["held_out_stain"] = {"stain": settings.holdout.stain, **found}
        write_predictions(out / "held_out.csv", material.table.take(rows), held_out)
    card = ModelCard(
        name=settings.name,
        task="classify",
        architecture=settings.model,
        classes=settings.classes,
        input_px=settings.imgsz,
        normalise=settings.normalise,
        head=HEADS[settings.head].kind,
        crop=material.table.contract,
        thresholds={"needs_review": review, THRESHOLD: metrics[POINT]["threshold"], **sets},
        temperature=temperature,
        metrics=metrics,
        training={
            **about,
            "network": {"head": settings.head, "front": settings.front},
            "config": settings.model_dump(mode="json"),
            "n_train": len(material.train),
            "n_val": len(val),
            "splits": material.groups(),
        },
        data=material.table.about,
    )
    probe = material.pictures[val[:: max(1, len(val) // N_PROBE)][:N_PROBE]]
    card = write_bundle(out / "bundle", best, card, probe, half=settings.export.half, safetensors=settings.export.safetensors)
    return Trained(card, labels[rows], held_out)


def parse(argv: Sequence[str] | None, *, prog: str, doc: str | None) -> argparse.Namespace:
    """The flags of a training, named as ultralytics users know them."""
    parser = argparse.ArgumentParser(prog=prog, description=doc)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="one crops table or more, used together")
    parser.add_argument("--model", help="densenet121, efficientnet_b3, resnet50 or any other backbone")
    parser.add_argument("--weights", help="none, imagenet (downloaded once), or a .safetensors file")
    for name, meaning in (("epochs", "at most"), ("batch", "crops a step"), ("imgsz", "side of a crop, pixels"), ("seed", "of everything")):
        parser.add_argument(f"--{name}", type=int, help=meaning)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--config", type=Path, help="for example configs/classify.yaml, or a recipe of configs/papers/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key, e.g. optimiser.lr=0.0005")
    parser.add_argument("--out", type=Path, default=Path("runs/classify"))
    parser.add_argument("--resume", action="store_true", help="continue the run in --out with the settings that it began with")
    return parser.parse_args(argv)


def resolve(options: argparse.Namespace, *, config: Path | None) -> TrainSettings:
    """Config file, or the network of a recipe, then flags, then `--set`: the later one wins."""
    flags = [f"{name}={json.dumps(getattr(options, name))}" for name in FLAGS if getattr(options, name) is not None]
    return load(config, TrainSettings, [*flags, *options.set], section="network")


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv, prog="python -m classification.train", doc=__doc__)
    command = shlex.join(["python", "-m", "classification.train", *(sys.argv[1:] if argv is None else argv)])
    try:
        began_with = options.out / run_folder.CONFIG
        if options.resume and not began_with.is_file():
            raise ConfigError(f"--resume: there is no run in {options.out}; leave the flag away to start one")
        config = began_with if options.resume and options.config is None else options.config
        settings = resolve(options, config=config)
        card = train(settings, options.data, options.out, resume=options.resume, command=command, progress=True).card
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out, kept='finished epochs are kept, --resume continues')}", file=sys.stderr)
        return 2
    found = card.metrics["validation"]
    print(f"validation: AUC {found['roc_auc']:.4f}, accuracy {found['accuracy']:.4f}, temperature {card.temperature:.3f}")
    print(f"bundle: {options.out / 'bundle'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
