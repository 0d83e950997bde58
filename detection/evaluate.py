"""`python -m detection.evaluate BUNDLE --data … --split test`: COCO numbers of a detector bundle, and ultralytics' own beside them.

`--data points.csv` (of `datasets.all_idb1`) scores white cells by hits on points instead.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detection import point_truth
from detection.beside import WHY, beside
from detection.detector import PIXELS, YoloDetector, build_network
from smear import annotations
from smear.analyze import Analyzer
from smear.bundles import record_metrics
from smear.config import load
from smear.errors import ModelError, SmearError
from smear.evaluate import FLOOR, score_detection
from smear.files import write_atomic
from smear.labelled import Labelled, read_labelled
from smear.metrics.detection import operating_counts
from smear.models import Bundle, open_bundle
from smear.plan import Plan, white_labels
from smear.quiet import silence
from smear.report.flat import metrics_csv
from smear.report.records import jsonable
from smear.runtimes import open_runtime
from smear.settings import AnalyzeSettings
from smear.types import Detections, Field, FieldResult, Outcome

CURVES = ("pr_curves", "curve")  # too long for a card
F1_TOLERANCE = 0.001  # of the best F1: confidences this close are as good
CONFIDENCES = tuple(round(0.05 * k, 2) for k in range(2, 19))  # operating points tried, 0.10 to 0.90


def main(argv: Sequence[str] | None = None) -> int:
    silence()
    options = _parse(argv)
    try:
        settings = load(None, AnalyzeSettings, options.set).model_copy(update={"device": options.device, "um_per_px": options.um_per_px})
        run = evaluate_points if options.data.suffix == ".csv" else evaluate_bundle
        metrics = run(open_bundle(options.bundle), options.data, split=options.split, settings=settings)
        write_atomic(options.out / "metrics.json", json.dumps(jsonable(metrics), indent=1, allow_nan=False) + "\n")
        write_atomic(options.out / "metrics.csv", metrics_csv(jsonable(metrics)))
        if options.record:
            record_metrics(options.bundle, options.record, jsonable({k: v for k, v in metrics.items() if k not in CURVES}))
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or options.out}: {error.strerror or error}; choose another --out", file=sys.stderr)
        return 2
    if metrics.get("kind") == "points":
        print(point_truth.describe(metrics))
    else:
        _show(metrics)
    print(f"metrics: {options.out / 'metrics.json'}")
    return 0


def evaluate_bundle(bundle: Bundle, data_yaml: Path, *, split: str, settings: AnalyzeSettings) -> dict[str, Any]:
    """Run the bundle on every field of a split, at the scale it measures by itself, and score what it found.

    Returns:
        `detection_report` (map50, map50_95, precision, recall, ap50, ar, by_size, operating, intervals, pr_curves, …) and `ultralytics`
        (its own on the same boxes, and why it differs).

    Raises:
        ModelError, AnnotationError: the bundle or the data does not fit.
    """
    _refuse_other_tasks(bundle)
    labelled, outcomes, plan = _run(bundle, data_yaml, split, settings)
    return _score(bundle, labelled, outcomes, plan.confidence)


def evaluate_points(bundle: Bundle, table: Path, *, split: str, settings: AnalyzeSettings) -> dict[str, Any]:
    """Run the bundle on every field of a point set and score its white cells by hits; see `point_truth.score`.

    Raises:
        ModelError, AnnotationError: the bundle or the data does not fit.
    """
    _refuse_other_tasks(bundle)
    truth = point_truth.read(table, split, bundle.card)
    outcomes, plan = _detect(bundle, truth.fields, settings, f"evaluate {split}")
    return point_truth.score(truth, outcomes, bundle.card, confidence=plan.confidence)


def _refuse_other_tasks(bundle: Bundle) -> None:
    if bundle.card.task != "detect":
        raise ModelError(f"{bundle.root}: task: is {bundle.card.task!r}, a detector is needed here")


def tune(bundle: Bundle, data_yaml: Path) -> tuple[float, dict[str, Any]]:
    """The middle of the confidences at which white cells (all cells, if none is white) have about the best F1 on the validation split, and
    the metrics there: scores on foreign fields lie lower or higher, and neither side of the plateau is far from it."""
    labelled, outcomes, _ = _run(bundle, data_yaml, "val", AnalyzeSettings())
    found = [o.detections if isinstance(o, FieldResult) else Detections.empty() for o in outcomes]
    wanted = white_labels(bundle.card) or range(len(bundle.card.classes))

    def f1(confidence: float) -> float:
        per_class = operating_counts(labelled.truths, found, len(bundle.card.classes), confidence=confidence)
        counts = [per_class[k] for k in wanted]
        hits, total = sum(c.n_hits for c in counts), sum(c.n_truth + c.n_found for c in counts)
        return 2 * hits / total if total else 0.0

    scores = {confidence: f1(confidence) for confidence in CONFIDENCES}
    plateau = sorted(c for c, score in scores.items() if score >= max(scores.values()) - F1_TOLERANCE)
    best = plateau[(len(plateau) - 1) // 2]
    metrics = _score(bundle, labelled, outcomes, best)
    return best, {key: value for key, value in metrics.items() if key not in CURVES}


def _run(bundle: Bundle, data_yaml: Path, split: str, settings: AnalyzeSettings) -> tuple[Labelled, list[Outcome], Plan]:
    """Every field of a split through the bundle alone, with detections down to `FLOOR`."""
    labelled = read_labelled(annotations.read_data_yaml(data_yaml), split)
    outcomes, plan = _detect(bundle, labelled.fields, settings, f"evaluate {split}")
    return labelled, outcomes, plan


def _detect(bundle: Bundle, fields: Sequence[Field], settings: AnalyzeSettings, doing: str) -> tuple[list[Outcome], Plan]:
    card = bundle.card
    plan = Plan.for_cards(settings, card, floor=FLOOR)
    runtime = open_runtime(
        bundle,
        runtime=settings.runtime,
        device=str(settings.device),
        threads=settings.threads,
        pixels=PIXELS,
        build_module=build_network,
    )
    detector = YoloDetector(runtime, card, confidence=plan.lowest_score, iou=plan.iou)
    analyzer = Analyzer(detector, None, plan, white=white_labels(card))
    return list(tqdm(analyzer(fields), total=len(fields), desc=doing, unit="field")), plan


def _score(bundle: Bundle, labelled: Labelled, outcomes: Sequence[Outcome], confidence: float) -> dict[str, Any]:
    card = bundle.card
    white = card.white_classes[0] if card.white_classes else ""
    return score_detection(labelled, outcomes, white_class=white, detector_classes=card.classes, confidence=confidence, beside=beside)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m detection.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data.yaml of labelled boxes, or points.csv of labelled points")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", metavar="NAME", help="also put the metrics into the bundle's card under this name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--um-per-px", type=float, help="size of a pixel; default: measured by the red cells")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the analysis")
    return parser.parse_args(argv)


def _show(metrics: dict[str, Any]) -> None:
    other, intervals = metrics["ultralytics"], metrics["intervals"]
    print(f"\n{'':<14}{'mAP@50':>9}{'mAP@50-95':>11}{'precision':>11}{'recall':>9}")
    for name, row in (("COCOeval", metrics), ("ultralytics", other)):
        print(f"{name:<14}{row['map50']:>9.4f}{row['map50_95']:>11.4f}{row['precision']:>11.4f}{row['recall']:>9.4f}")
    print(
        f"{other['reason']}\nprecision and recall: {WHY['precision and recall']}; {other['confidence']:.2f} and {metrics['confidence']:.2f}"
    )
    print(f"\n{intervals['map50']['method']}")
    for name, interval in intervals.items():
        print(f"  {name:<30}{interval['value']:>8.4f}  {interval['low']:.4f} to {interval['high']:.4f}")
    whole = metrics["whole_cells"]
    told = ", ".join(f"{name} {ap:.3f} ({whole['n_truth'][name]})" for name, ap in whole["ap50"].items() if whole["n_truth"][name])
    print(f"\ncells that the border does not cut: mAP@50 {whole['map50']:.4f}, mAP@50-95 {whole['map50_95']:.4f}; AP@50: {told}")
    ar = metrics["ar"]
    print(f"\naverage recall: {ar['ar']:.4f} of all detections, {ar['ar100']:.4f} of 100 a class and field, {ar['ar10']:.4f} of 10")
    if metrics["by_size"]:
        print(f"\n{'diameter in red cells':<34}{'cells':>7}{'AP@50':>9}{'AP@50-95':>10}{'recall':>9}  AP@50 of the classes (cells)")
    for name, part in metrics["by_size"].items():
        label = f"{name}, {part['low_rbc']:g} to {part['high_rbc']:g}".replace(" to nan", " and more")
        classes = ", ".join(f"{c} {row['ap50']:.3f} ({row['n_truth']})" for c, row in part["per_class"].items())
        print(f"{label:<34}{part['n_truth']:>7}{part['ap50']:>9.4f}{part['ap50_95']:>10.4f}{part['ar']:>9.4f}  {classes}")


if __name__ == "__main__":
    sys.exit(main())
