"""`python -m detection.statistics DATA --bundle DIR`: what the training fields look like, into the detector's card.

An analysis compares each field with them and warns of a foreign stain, blur, wrong light or magnification (`smear.drift`).
Training does it at its end; this command is for bundles that have none, or for another set.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from smear import annotations, boxes, images
from smear.annotations import DataSet
from smear.bundles import record_statistics
from smear.drift import describe
from smear.errors import ModelError, SmearError
from smear.models import ModelCard, open_bundle
from smear.quality import measure_quality
from smear.scale import MIN_CELLS, WHITE_PER_RED
from smear.settings import NORMAL_RBC_PX


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m detection.statistics", description=__doc__)
    parser.add_argument("data", type=Path, help="data.yaml of the set that the detector was trained on")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle folder whose card gets the statistics")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    options = parser.parse_args(argv)
    try:
        card = open_bundle(options.bundle).card
        if card.task != "detect":
            raise ModelError(f"{options.bundle}: task: is {card.task!r}, a detector is needed here")
        statistics = describe_set(options.data, card, split=options.split)
        record_statistics(options.bundle, statistics)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or options.bundle}: {error.strerror or error}", file=sys.stderr)
        return 2
    for name in ("focus", "background", "saturated_share", "noise", "rbc_px"):
        row = statistics["measures"].get(name)
        print(f"{name:<16} " + (f"{row['low']:g} to {row['high']:g}, median {row['median']:g}" if row else "unknown"))
    print(f"{statistics['n_fields']} fields; card: {options.bundle / 'model.json'}")
    return 0


def describe_set(data_yaml: Path, card: ModelCard, *, split: str = "train") -> dict[str, Any]:
    """The statistics of one split, each field measured at the scale at which the detector sees it.

    Raises:
        AnnotationError, ImageError: a file of the set is missing or wrong.
    """
    data = annotations.read_data_yaml(data_yaml)
    prepared_px = yaml.safe_load(data_yaml.read_text(encoding="utf-8")).get("rbc_px")  # all images of a composed set have this scale
    rows = _measured(data, card, tqdm(data.images(split), desc=f"statistics {split}", unit="field", leave=False), prepared_px)
    return {**describe(list(rows)), "split": split, "set": data.root.name}


def _measured(data: DataSet, card: ModelCard, paths: Iterable[Path], prepared_px: float | None) -> Iterator[dict[str, float]]:
    files = (annotations.read_manifest(data.root) or {}).get("files", [])
    native = {data.root / entry["file"]: entry.get("rbc_px") for entry in files}  # in the pixels of the camera
    for path in paths:
        image = images.read_image(path)
        shape_hw = image.shape[:2]
        here_px = prepared_px or _ruler(path, shape_hw, data, card)
        wanted_px = card.rbc_px or NORMAL_RBC_PX
        factor = wanted_px / here_px if card.rbc_px and here_px else card.input_px / max(shape_hw)
        camera_px = native.get(path) or (None if prepared_px else here_px)
        quality = measure_quality(images.resize(image, factor), rbc_px=wanted_px)
        yield {**quality, **({"rbc_px": float(camera_px)} if camera_px else {})}


def _ruler(path: Path, shape_hw: tuple[int, int], data: DataSet, card: ModelCard) -> float | None:
    """Red-cell diameter in pixels of the image, by its labels; None without enough of them."""
    truth = annotations.read_labels(annotations.label_path(path), shape_hw, len(data.classes))
    whole = truth.take(~boxes.touches_edge(truth.boxes, shape_hw))
    white = [name for name in data.classes if name in (*card.white_classes, "ALL", "HEM")]
    for names, at_least, ratio in (([card.red_class], MIN_CELLS, 1.0), (white, 1, WHITE_PER_RED)):
        labels = [k for k, name in enumerate(data.classes) if name in names]
        found = boxes.diameters(whole.boxes[np.isin(whole.labels, labels)])
        if len(found) >= at_least:
            return float(np.median(found)) / ratio
    return None


if __name__ == "__main__":
    sys.exit(main())
