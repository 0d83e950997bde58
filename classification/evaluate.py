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
from classification.selection import describe_predictions
from smear.errors import ModelError, SmearError
from smear.files import write_atomic
from smear.metrics.classification import METRICS, classification_metrics
from smear.models import record_metrics
from smear.report.records import jsonable

GROUP_KEYS = ("source", "field")


def evaluate(
    classifier: BundleClassifier, table: CropTable, *, stain_column: str = "stain", min_cells: int = 10
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Label every crop of the table and compare.

    Returns:
        Metrics per cell, `per_stain` and across stains, and `per_field` (the mean probability of a field's cells against the
        field's label); and the probabilities, (N, C) float32.

    Raises:
        ModelError: the classifier was made for crops cut by another contract.
        ImageError, AnnotationError: a crop cannot be read or is not square.
    """
    if classifier.card.crop != table.contract and None not in (classifier.card.crop, table.contract):
        raise ModelError(f"{classifier.card.name}: wants crops cut as {classifier.card.crop!r}, these are cut as {table.contract!r}")
    probabilities = classifier(load_images(table, size=classifier.card.input_px))
    found = describe_predictions(table.labels, probabilities, stain_names(table, stain_column), table.classes, min_cells=min_cells)
    found["review_share"] = _share(probabilities.max(axis=1) < classifier.card.thresholds.get("needs_review", 0.0))
    return {**found, "per_field": field_metrics(table, probabilities)}, probabilities


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
    parser = argparse.ArgumentParser(prog="python -m classification.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path, help="model folder with model.json")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--stain-column", default="stain")
    parser.add_argument("--record", metavar="NAME", help="also put the metrics into the bundle's card under this name")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluate"))
    options = parser.parse_args(argv)
    try:
        classifier = open_classifier(options.bundle, runtime=options.runtime, device=options.device)
        table = read_crops(options.data, classifier.classes, label_column=options.label_column)
        table = table if options.split == "all" else table.split(options.split)
        found, probabilities = evaluate(classifier, table, stain_column=options.stain_column)
        record = {
            **found,
            "split": options.split,
            "bundle": classifier.card.name,
            "files": classifier.card.files,
            "data": list(table.about),
        }
        write_atomic(options.out / "metrics.json", json.dumps(jsonable(record), indent=1) + "\n")
        write_predictions(options.out / "predictions.csv", table, probabilities)
        if options.record:
            record_metrics(options.bundle, options.record, jsonable(found))
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.out}: cannot write it ({error.strerror})", file=sys.stderr)
        return 2
    _show(found, classifier.card.name, options.split)
    print(f"metrics: {options.out / 'metrics.json'}")
    return 0


def _show(found: dict[str, Any], name: str, split: str) -> None:
    shown = Table(title=f"{name}, split {split}; positive is {found['positive']}")
    for heading in ("", "cells", "fields"):
        shown.add_column(heading, justify="left" if not heading else "right")
    shown.add_row("n", str(found["n"]), str(found["per_field"]["n"]))
    for key in METRICS:
        shown.add_row(key, f"{found[key]:.4f}", f"{found['per_field'][key]:.4f}")
    for row, label in zip(found["confusion_matrix"], found["classes"], strict=True):
        shown.add_row(f"truth {label}", "  ".join(f"{c} {n}" for c, n in zip(found["classes"], row, strict=True)), "")
    if found["per_stain"]:
        shown.add_row("worst stain AUC", f"{found['worst_stain_auc']:.4f}", "")
        shown.add_row("worst stain pair AUC", f"{found['worst_pair_auc']:.4f}", "")
    console = Console()
    console.print(shown)


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else math.nan


if __name__ == "__main__":
    sys.exit(main())
