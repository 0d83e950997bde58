"""`python -m classification.calibrate BUNDLE --data crops.csv`: temperature, thresholds and promises of a bundle, from validation cells."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.calibration import fit_temperature, promises, require_disjoint, review_threshold
from classification.classifier import BundleClassifier, open_classifier
from classification.crops import CropTable, load_images, read_crops
from classification.operating import POINT, THRESHOLD, cell_groups, choose_point
from classification.probabilities import to_probabilities
from classification.refusals import refusal
from classification.settings import Operating, Review
from smear.bundles import record_calibration
from smear.errors import ConfigError, ModelError, SmearError
from smear.metrics.conformal import PROMISE, error_threshold
from smear.models import ModelCard
from smear.report.records import jsonable
from smear.review import CURVE

SHOWN = (0.01, 0.02, 0.05, 0.1)  # error rates of which the command says what they cost


@dataclass(frozen=True)
class Calibration:
    """What validation decides about a classifier: for `temperature`, `thresholds` and `metrics` of its card."""

    temperature: float
    thresholds: dict[str, float]
    metrics: dict[str, Any]


def calibrate(classifier: BundleClassifier, table: CropTable, *, unseen: bool = False) -> Calibration:
    """Everything that the card holds from validation, computed again from the bundle itself on the split `val` of a table.

    Args:
        unseen: the caller vouches that no patient of these cells was trained on; needed for tables that are not those of the training.

    Raises:
        AnnotationError: no validation cells, or cells that cannot be kept apart from training.
        ConfigError: a table that the training did not know, and nobody vouches for it; or one kind of cell is missing.
        ModelError: crops cut by another contract.
    """
    card = classifier.card
    if card.crop != table.contract and None not in (card.crop, table.contract):
        raise ModelError(f"{card.name}: wants crops cut as {card.crop!r}, these are cut as {table.contract!r}")
    splits = table.column("split")
    require_disjoint(table, np.flatnonzero(splits == "val"), np.flatnonzero(splits == "train"))
    _require_known(card, table, unseen=unseen)
    cells = table.split("val")
    logits = classifier.logits(load_images(cells, size=card.input_px))
    return _from_logits(card, logits, cells)


def _from_logits(card: ModelCard, logits: NDArray[np.float32], cells: CropTable) -> Calibration:
    temperature = fit_temperature(logits, cells.labels)
    probabilities = to_probabilities(logits, temperature)
    asked = Review.model_validate(card.training.get("config", {}).get("review", {}))
    groups, unit = cell_groups(cells)
    names = ", ".join(str(about["name"]) for about in cells.about)
    curve, sets = promises(probabilities, cells.labels, cells.classes, groups, unit=unit, data=names)
    chosen = card.metrics.get(POINT, {})
    point = choose_point(
        cells.labels,
        probabilities,
        cells.classes,
        rule=chosen.get("rule") or Operating().rule,
        target=chosen.get("target") or Operating().sensitivity,
    )
    review = review_threshold(probabilities, cells.labels, accuracy=asked.accuracy, max_share=asked.max_share)
    return Calibration(temperature, {"needs_review": review, THRESHOLD: point["threshold"], **sets}, {CURVE: curve, POINT: point})


def _require_known(card: ModelCard, table: CropTable, *, unseen: bool) -> None:
    trained_on = {entry.get("table_sha256") for entry in card.data} - {None}
    foreign = [str(about["name"]) for about in table.about if about["table_sha256"] not in trained_on]
    if foreign and not unseen:
        raise ConfigError(
            f"{', '.join(foreign)}: not a table that {card.name} was trained with, so its validation cells may have been trained on; "
            "give --unseen if no patient of them was"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m classification.calibrate", description=__doc__)
    parser.add_argument("bundle", type=Path, help="model folder with model.json, which is written")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="CROPS.CSV", help="the split val of these is used")
    parser.add_argument("--unseen", action="store_true", help="tables of your own, of patients that were not trained on")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(argv)
    try:
        classifier = open_classifier(options.bundle, runtime=options.runtime, device=options.device)
        found = calibrate(classifier, read_crops(options.data, classifier.classes), unseen=options.unseen)
        record_calibration(options.bundle, found.temperature, found.thresholds, jsonable(found.metrics))
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.bundle)}", file=sys.stderr)
        return 2
    print(f"temperature {found.temperature:.4f}, was {classifier.card.temperature:.4f}")
    print("\n".join(_lines(found.metrics[CURVE])))
    return 0


def _lines(curve: dict[str, Any]) -> list[str]:
    """What each error rate would cost."""
    lines = [f"{curve['n']} validation cells of {curve['n_groups']} groups ({curve['unit']})"]
    for rate in SHOWN:
        threshold = error_threshold(curve, rate)
        if threshold is None:
            lines.append(f"--max-error {rate:g}: no threshold can promise it; every cell would be sent to review")
            continue
        at = curve["confidence"].index(threshold)
        lines.append(
            f"--max-error {rate:g}: from {threshold:.4f} on, {100 * curve['coverage'][at]:.0f} % of the cells, "
            f"{100 * curve['error'][at]:.2f} % of them wrong ({100 * PROMISE:g} % confidence)"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
