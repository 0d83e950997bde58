"""`python -m detection.evaluate BUNDLE --data … --split test`: COCO numbers of a detector bundle, and ultralytics' own beside them."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detection import yolo
from detection.detector import YoloDetector
from smear import annotations
from smear.analyze import Analyzer, Plan, white_labels
from smear.config import load
from smear.errors import ModelError, SmearError
from smear.evaluate import FLOOR, read_labelled, score_detection
from smear.files import write_atomic
from smear.models import Bundle, open_bundle
from smear.quiet import silence
from smear.report.records import jsonable
from smear.runtimes import open_runtime
from smear.settings import AnalyzeSettings


def main(argv: Sequence[str] | None = None) -> int:
    silence()
    options = _parse(argv)
    try:
        settings = load(None, AnalyzeSettings, options.set).model_copy(update={"device": options.device, "um_per_px": options.um_per_px})
        metrics = evaluate_bundle(open_bundle(options.bundle), options.data, split=options.split, settings=settings)
        write_atomic(options.out / "metrics.json", json.dumps(jsonable(metrics), indent=1, allow_nan=False) + "\n")
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print(metrics)
    print(f"metrics: {options.out / 'metrics.json'}")
    return 0


def evaluate_bundle(bundle: Bundle, data_yaml: Path, *, split: str, settings: AnalyzeSettings) -> dict[str, Any]:
    """Run the bundle on every field of a split, at the scale it measures by itself, and score what it found.

    Returns:
        `coco_metrics` (map50, map50_95, precision, recall, ap50, …), `ultralytics` (its own on the same boxes) and `pr_curves`.

    Raises:
        ModelError, AnnotationError: the bundle or the data does not fit.
    """
    card = bundle.card
    if card.task != "detect":
        raise ModelError(f"{bundle.root}: task: is {card.task!r}, a detector is needed here")
    labelled = read_labelled(annotations.read_data_yaml(data_yaml), split)
    plan = Plan.for_cards(settings, card)
    runtime = open_runtime(bundle, runtime=settings.runtime, device=str(settings.device), threads=settings.threads)
    detector = YoloDetector(runtime, card, confidence=FLOOR, iou=plan.iou)
    analyzer = Analyzer(detector, None, plan, white=white_labels(card))
    outcomes = list(tqdm(analyzer(labelled.fields), total=len(labelled.fields), desc="evaluate", unit="field"))
    white = card.white_classes[0] if card.white_classes else ""
    return score_detection(
        labelled, outcomes, white_class=white, detector_classes=card.classes, confidence=plan.confidence, beside=yolo.own_metrics
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m detection.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--um-per-px", type=float, help="size of a pixel; default: measured by the red cells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the analysis")
    return parser.parse_args(argv)


def _print(metrics: dict[str, Any]) -> None:
    beside = metrics["ultralytics"]
    print(f"\n{'':<14}{'mAP@50':>9}{'mAP@50-95':>11}{'precision':>11}{'recall':>9}")
    for name, row in (("COCOeval", metrics), ("ultralytics", beside)):
        print(f"{name:<14}{row['map50']:>9.4f}{row['map50_95']:>11.4f}{row['precision']:>11.4f}{row['recall']:>9.4f}")
    for name in metrics["ap50"]:
        print(f"  {name}: AP@50 {metrics['ap50'][name]:.4f}, AP@50-95 {metrics['ap50_95'][name]:.4f}")


if __name__ == "__main__":
    sys.exit(main())
