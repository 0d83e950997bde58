"""`python -m classification.evaluate BUNDLE --data crops.csv --split test --out DIR`: numbers from the bundle itself."""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from classification.classifier import BundleClassifier, open_classifier
from classification.crops import SPLITS, CropTable, load_images, read_crops
from classification.material import stain_names
from classification.operating import COUNTS, POINT, THRESHOLD, apply_point, cell_groups, choose_point, count_for_card
from classification.refusals import refusal
from classification.selection import describe_predictions
from smear.bundles import record_metrics
from smear.errors import ConfigError, ModelError, SmearError
from smear.files import write_atomic
from smear.metrics.classification import ERRORS, METRICS, MORE_METRICS, classification_intervals, classification_metrics
from smear.metrics.operating import RULES, TARGET_SENSITIVITY
from smear.models import ModelCard
from smear.report.flat import metrics_csv
from smear.report.records import jsonable

GROUP_KEYS = ("source", "field")


def evaluate(
    classifier: BundleClassifier,
    table: CropTable,
    *,
    stain_column: str = "stain",
    min_cells: int = 10,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Label every crop of the table and compare.

    Returns:
        Metrics per cell, `per_stain` and across stains, `per_field` (the mean probability of a field's cells against the field's label),
        `intervals` (patients, slides or fields drawn again) and, where the card has one, its `operating_point` with the counts there;
        and the probabilities, (N, C) float32.

    Raises:
        ModelError: the classifier was made for crops cut by another contract.
        ImageError, AnnotationError: a crop cannot be read or is not square.
    """
    refuse_other_crops(classifier.card, table)
    probabilities = classifier(load_images(table, size=classifier.card.input_px))
    found = describe_predictions(table.labels, probabilities, stain_names(table, stain_column), table.classes, min_cells=min_cells)
    found["review_share"] = _share(probabilities.max(axis=1) < classifier.card.thresholds.get("needs_review", 0.0))
    groups, unit = cell_groups(table)
    intervals = classification_intervals(
        table.labels, probabilities, table.classes, groups, positive=table.classes[0], n_resamples=n_resamples, seed=seed, unit=unit
    )
    found |= {"intervals": {name: interval.to_json() for name, interval in intervals.items()}, "group_unit": unit}
    point = apply_point(classifier.card, table.labels, probabilities, groups, n_resamples=n_resamples, seed=seed, unit=unit)
    return {**found, **({POINT: point} if point else {}), "per_field": field_metrics(table, probabilities)}, probabilities


def refuse_other_crops(card: ModelCard, table: CropTable) -> None:
    """Raises ModelError: the model was made for crops cut by another contract; one that is not known fits all."""
    if card.crop != table.contract and None not in (card.crop, table.contract):
        raise ModelError(f"{card.name}: wants crops cut as {card.crop!r}, these are cut as {table.contract!r}")


def field_metrics(table: CropTable, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Metrics of fields: the mean probability of a field's cells, and the label that most of them carry (the first of equals)."""
    keys = list(zip(*(table.column(key).tolist() for key in GROUP_KEYS), strict=True))
    fields = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    which = np.array([fields[key] for key in keys], np.int64)
    n = np.bincount(which, minlength=len(fields))[:, None]
    means = np.stack([np.bincount(which, weights=column, minlength=len(fields)) for column in probabilities.T], axis=1) / n
    votes = np.stack([np.bincount(which, weights=table.labels == c, minlength=len(fields)) for c in range(len(table.classes))], axis=1)
    return classification_metrics(votes.argmax(axis=1), means.astype(np.float32), table.classes, positive=table.classes[0])


def write_predictions(path: Path, table: CropTable, probabilities: NDArray[np.float32]) -> None:
    """One row a crop: every column of the table, then `predicted` and `p_<class>`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.columns, "predicted", *(f"p_{name}" for name in table.classes)])
    columns = list(table.columns.values())
    for i, row in enumerate(probabilities):
        writer.writerow([*(values[i] for values in columns), table.classes[int(row.argmax())], *(f"{p:.6f}" for p in row)])
    write_atomic(path, text.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.choose and options.split != "val":
            raise ConfigError(f"--choose: the operating point is chosen on validation, got --split {options.split}; use --split val")
        classifier = open_classifier(options.bundle, runtime=options.runtime, device=options.device)
        table = read_crops(options.data, classifier.classes, label_column=options.label_column)
        table = table if options.split == "all" else table.split(options.split)
        found, probabilities = evaluate(classifier, table, stain_column=options.stain_column)
        counts = count_for_card(classifier.card, table, probabilities, split=options.split) if options.operating else None
        if options.choose:
            found[POINT] = choose_point(table.labels, probabilities, table.classes, rule=options.choose, target=options.sensitivity)
        record = {
            **found,
            **({COUNTS: counts} if counts else {}),
            "split": options.split,
            "bundle": classifier.card.name,
            "files": classifier.card.files,
            "data": list(table.about),
        }
        write_atomic(options.out / "metrics.json", json.dumps(jsonable(record), indent=1, allow_nan=False) + "\n")
        write_atomic(options.out / "metrics.csv", metrics_csv(jsonable(found)))
        write_predictions(options.out / "predictions.csv", table, probabilities)
        if options.record:
            record_metrics(options.bundle, options.record, jsonable(found))
        if counts:
            record_metrics(options.bundle, COUNTS, jsonable(counts))
        if options.choose:
            record_metrics(options.bundle, POINT, jsonable(found[POINT]), thresholds={THRESHOLD: found[POINT]["threshold"]})
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out)}", file=sys.stderr)
        return 2
    _show(found, classifier.card.name, options.split)
    print(f"metrics: {options.out / 'metrics.json'}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m classification.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path, help="model folder with model.json")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--stain-column", default="stain")
    parser.add_argument("--record", metavar="NAME", help="also put the metrics into the bundle's card under this name")
    parser.add_argument(
        "--operating", action="store_true", help="let the card correct blast counts by the sensitivity and specificity of these cells"
    )
    parser.add_argument("--choose", choices=RULES, help="choose the operating point on these cells (--split val) and put it into the card")
    parser.add_argument("--sensitivity", type=float, default=TARGET_SENSITIVITY, help="what --choose sensitivity asks for at least")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluate"))
    return parser.parse_args(argv)


def _show(found: dict[str, Any], name: str, split: str) -> None:
    intervals = found["intervals"]
    groups = f"{intervals['accuracy']['n_groups']} {found['group_unit']}s"
    shown = Table(title=f"{name}, split {split}; positive is {found['positive']}")
    for heading in ("", "cells", f"95 % interval, {groups}", "fields"):
        shown.add_column(heading, justify="left" if not heading else "right")
    shown.add_row("n", str(found["n"]), "", str(found["per_field"]["n"]))
    for key in (*METRICS, *MORE_METRICS, *ERRORS):
        shown.add_row(key, f"{found[key]:.4f}", _range(intervals[key]), f"{found['per_field'][key]:.4f}")
    shown.add_row("aurc", f"{found['risk_coverage']['aurc']:.4f}", _range(intervals["risk_coverage.aurc"]), "")
    for row, label in zip(found["confusion_matrix"], found["classes"], strict=True):
        shown.add_row(f"truth {label}", "  ".join(f"{c} {n}" for c, n in zip(found["classes"], row, strict=True)), "", "")
    if found["per_stain"]:
        shown.add_row("worst stain AUC", f"{found['worst_stain_auc']:.4f}", "", "")
        shown.add_row("worst stain pair AUC", f"{found['worst_pair_auc']:.4f}", "", "")
    Console().print(shown)
    print(f"ece: {found['reliability']['binning']}; groups: {intervals['accuracy']['method']}")
    if POINT in found:
        _show_point(found[POINT])


def _show_point(point: dict[str, Any]) -> None:
    print(f"operating point: {point['positive']} from {point['threshold']:.4f} on, by rule {point['rule']}, chosen on {point['chosen_on']}")
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        share = point[name]
        print(f"  {name}: {share['value']:.4f} ({share['k']} of {share['n']}; {share['low']:.4f} to {share['high']:.4f})")


def _range(interval: dict[str, Any]) -> str:
    return f"{interval['low']:.4f} to {interval['high']:.4f}"


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else math.nan


if __name__ == "__main__":
    sys.exit(main())
