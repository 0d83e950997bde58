"""`python -m benchmarks.training`: images a second and the loss curve of our training loop beside a plain one, in turn, in one process.

Both train DenseNet121 from the same random weights on the same painted crops, in the same order, augmented alike, by the same recipe.
The plain loop is float32 in PyTorch's default layout with a DataLoader; ours is what `classification.train` runs.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.tables import write_between
from benchmarks.timing import ratio, spread
from benchmarks.training_loops import Crops, OurLoop, PlainLoop, Ran, paint_crops
from classification.settings import TrainSettings
from smear.config import load
from smear.errors import ConfigError, SmearError
from smear.files import write_atomic
from smear.line import n_cores
from smear.quiet import silence
from smear.watch import IMAGES_PER_S, WAITING_SHARE

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- training: written by `python -m benchmarks.training --write-docs` -->", "<!-- end of training -->"
CONFIG = ROOT / "configs" / "classify.yaml"  # the shipped recipe and its augmentation
CASES = {"224": (224, 16), "80": (80, 64)}  # side of a crop, batch: the paper's size, and that of the shipped classifier
SEEDS = (0, 1)
SMOOTHING = 5  # steps that a point of a curve is the mean of: single batches say little


def main(argv: Sequence[str] | None = None) -> int:
    silence()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="PX", help="224, 80")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are timed")
    parser.add_argument("--steps", type=int, default=4, help="steps of each loop in a round")
    parser.add_argument("--curve-steps", type=int, default=20, help="steps of the loss curves, two seeds each; 0: none")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for training.json")
    parser.add_argument("--write-docs", action="store_true", help="write what training.json in --out holds into docs/performance.md")
    options = parser.parse_args(argv)
    try:
        if min(options.rounds, options.steps) < 1 or options.curve_steps < 0:
            raise ConfigError("--rounds and --steps must be at least 1, --curve-steps at least 0")
        if options.write_docs:
            return _write_docs(options.out / "training.json")
        report: dict[str, Any] = {"machine": machine.describe(), "busy": machine.busy(), "cases": {}}
        for name in options.cases:
            report["cases"][name] = measure(name, rounds=options.rounds, steps=options.steps, curve_steps=options.curve_steps)
            write_atomic(options.out / "training.json", json.dumps(report, indent=1) + "\n")
            print("\n".join(render(name, report["cases"][name])), flush=True)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(name: str, *, rounds: int, steps: int, curve_steps: int) -> dict[str, Any]:
    """Speed and curves of one case, as plain numbers."""
    px, batch = CASES[name]
    found = {"px": px, "batch": batch, "steps": steps, **race(px, batch, rounds=rounds, steps=steps)}
    return {**found, "curves": compare_curves(px, batch, steps=curve_steps)} if curve_steps else found


def race(px: int, batch: int, *, rounds: int, steps: int) -> dict[str, Any]:
    """Images a second and share of waiting of each loop, and the ratio to ours, round by round: plain, plain with workers, ours, …"""
    settings, crops = recipe(px, batch, seed=0), paint_crops(steps * batch, px=px, seed=7)
    n_steps = steps * (rounds + 1)
    loops = {
        "plain": PlainLoop(crops, settings, n_steps=n_steps),
        "plain, workers": PlainLoop(crops, settings, n_steps=n_steps, workers=n_cores()),
        "ours": OurLoop(crops, settings, n_steps=n_steps),
    }
    order = np.arange(len(crops.labels))
    for loop in loops.values():
        loop.run(order)  # warm: workers start, libraries choose their kernels
    ran: dict[str, list[Ran]] = {key: [] for key in loops}
    for _ in range(rounds):
        for key, loop in loops.items():
            ran[key].append(loop.run(order))
    seconds = {key: [1 / one.pace[IMAGES_PER_S] for one in done] for key, done in ran.items()}
    return {
        **{measured: {key: spread([one.pace[measured] for one in done]).as_json() for key, done in ran.items()} for measured in PACE},
        "ratio": {key: ratio(seconds[key], seconds["ours"]).as_json() for key in ("plain", "plain, workers")},
    }


PACE = (IMAGES_PER_S, WAITING_SHARE)


def compare_curves(px: int, batch: int, *, steps: int) -> dict[str, Any]:
    """The losses of both loops from the same start, twice; how far they lie apart, in units of what another seed alone changes."""
    crops = paint_crops(steps * batch, px=px, seed=8)
    losses = {seed: _curves(crops, recipe(px, batch, seed=seed), steps) for seed in SEEDS}
    smooth = {seed: {key: smoothed(curve) for key, curve in curves.items()} for seed, curves in losses.items()}
    apart = float(np.mean([np.abs(curves["plain"] - curves["ours"]).mean() for curves in smooth.values()]))
    first, second = (smooth[seed] for seed in SEEDS)
    noise = float(np.mean([np.abs(first[key] - second[key]).mean() for key in first]))
    return {"steps": steps, "losses": losses, "apart": apart, "noise": noise, "apart_in_noise": apart / noise}


def smoothed(curve: Sequence[float]) -> NDArray[np.float64]:
    """The running mean over `SMOOTHING` steps; of a shorter curve its mean."""
    width = min(SMOOTHING, len(curve))
    return np.convolve(curve, np.full(width, 1 / width), mode="valid")


def recipe(px: int, batch: int, *, seed: int) -> TrainSettings:
    """The shipped settings at another size, as one epoch without warm-up and smoothing of labels."""
    plain = ("optimiser.warmup_epochs=0", "optimiser.label_smoothing=0", "epochs=1", "device=cpu")
    return load(CONFIG, TrainSettings, [f"imgsz={px}", f"batch={batch}", f"seed={seed}", *plain])


def render(name: str, case: Mapping[str, Any]) -> list[str]:
    """The numbers of one case as lines of a Markdown table, and of text below."""
    lines = [
        f"DenseNet121, {name} px, batch {case['batch']}",
        "",
        "| loop | images/s | waiting for data | ours / it |",
        "|---|---|---|---|",
    ]
    for key, speed in case[IMAGES_PER_S].items():
        times = case["ratio"].get(key)
        told = f"{times['median']:.2f} [{times['low']:.2f}, {times['high']:.2f}]" if times else ""
        waited, low, high = case[WAITING_SHARE][key]["median"], speed["low"], speed["high"]
        lines.append(f"| {key} | {speed['median']:.1f} [{low:.1f}, {high:.1f}] | {waited:.0%} | {told} |")
    if "curves" in case:
        curves = case["curves"]
        lines += [
            "",
            f"Loss curves over {curves['steps']} steps lie {curves['apart']:.3f} apart; another seed moves them by {curves['noise']:.3f}.",
        ]
    return [*lines, ""]


def _write_docs(measured: Path) -> int:
    try:
        report = json.loads(measured.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{measured}: cannot read it ({error}); measure first, without --write-docs") from error
    about, torch_version = report["machine"], report["machine"]["packages"]["torch"]
    where = f"{about['cores']} cores of {about['processor']}, torch {torch_version}; load a core before the start: {report['busy']}."
    lines = [line for name, case in report["cases"].items() for line in render(name, case)]
    write_between(DOCS, "\n".join([*lines, where]), begin=BEGIN, end=END)
    return 0


def _curves(crops: Crops, settings: TrainSettings, steps: int) -> dict[str, list[float]]:
    order = np.random.default_rng(settings.seed).permutation(len(crops.labels))
    made = {"plain": PlainLoop, "ours": OurLoop}
    return {key: make(crops, settings, n_steps=steps).run(order).losses for key, make in made.items()}


if __name__ == "__main__":
    sys.exit(main())
