"""Is this installation fit for work: versions, devices, codecs, bundle hashes and one golden field."""

import json
import platform
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from smear.build import build_analyzer, open_models, open_network
from smear.errors import SmearError
from smear.fields import find_fields
from smear.images import decode, encode
from smear.models import open_bundle
from smear.report.summary import versions
from smear.runtimes import RUNTIMES, VARIANTS, is_allowed
from smear.settings import AnalyzeSettings
from smear.types import FieldResult

GOLDEN = Path(__file__).parent / "golden"  # one painted field and what the shipped models find in it
LOSSLESS, LOSSY = (".png", ".bmp", ".tif"), (".jpg",)
MAX_LOSSY_ERROR = 4.0  # grey levels, mean over a smooth picture
MAX_PROBABILITY_DRIFT = 0.02  # between runtimes and machines
MAX_SCALE_DRIFT = 0.02


def examine(models: Path) -> tuple[list[str], bool]:
    """Lines to print, each `ok`, `--` (optional, not here) or `BAD`, and whether none is BAD."""
    lines = [f"ok  python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    lines += [f"ok  {name} {version}" if version else f"--  {name} is not installed" for name, version in versions().items()]
    lines += [f"ok  OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads", *_codecs(), *_bundles(models), *_golden_field(models)]
    return lines, not any(line.startswith("BAD") for line in lines)


def _codecs() -> Iterator[str]:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    picture = np.stack([np.tile(ramp, (48, 1)), np.tile(ramp[::-1], (48, 1)), np.full((48, 64), 128, np.uint8)], axis=2)
    for suffix in (*LOSSLESS, *LOSSY):
        try:
            error = np.abs(decode(encode(picture, suffix), name=f"test{suffix}").astype(int) - picture).mean()
        except SmearError as problem:
            yield f"BAD codec {suffix}: {problem}"
            continue
        fine = error <= (MAX_LOSSY_ERROR if suffix in LOSSY else 0)
        yield f"{'ok ' if fine else 'BAD'} codec {suffix}: mean error {error:.2f} grey levels"


def _bundles(models: Path) -> Iterator[str]:
    """Hash every bundle and load it in every runtime that is here."""
    for folder in sorted(path.parent for path in models.glob("*/model.json")):
        try:
            bundle = open_bundle(folder)
        except SmearError as problem:
            yield f"BAD {problem}"
            continue
        yield f"ok  {folder.name}: {bundle.card.architecture}, {', '.join(f'{n} {h[:12]}' for n, h in bundle.card.files.items())}"
        for runtime in (name for name in (*RUNTIMES, *VARIANTS) if is_allowed(bundle.card, name)):
            try:
                open_network(bundle, AnalyzeSettings(runtime=runtime))
            except SmearError as problem:
                yield f"--  {folder.name} in {runtime}: {problem}"
            else:
                yield f"ok  {folder.name} in {runtime}"


def _golden_field(models: Path) -> Iterator[str]:
    """Analyse the golden field and compare with what was found when the models were shipped."""
    try:
        expected = json.loads((GOLDEN / "expected.json").read_text())
        found = measure_golden(models)
    except (SmearError, OSError) as problem:
        yield f"BAD golden field: {problem}"
        return
    same = (
        found["n_white"] == expected["n_white"]
        and found["labels"] == expected["labels"]
        and abs(found["rbc_px"] / expected["rbc_px"] - 1) <= MAX_SCALE_DRIFT
        and np.allclose(found["p_first_class"], expected["p_first_class"], atol=MAX_PROBABILITY_DRIFT)
    )
    yield (
        f"{'ok ' if same else 'BAD'} golden field: {found['n_white']} white cells {found['labels']}, red cells {found['rbc_px']:.1f} px"
        + ("" if same else f"; expected {expected}")
    )


def measure_golden(models: Path) -> dict:
    """What the shipped models find in the golden field, as `golden/expected.json` holds it."""
    settings = AnalyzeSettings(detector=models / "wbc-yolov8n", classifier=models / "all-hem-densenet121", device="cpu", runtime="onnx")
    (outcome,) = build_analyzer(open_models(settings))(find_fields(GOLDEN))
    if not isinstance(outcome, FieldResult):
        raise SmearError(outcome.error)
    cells = list(outcome.cells())
    return {
        "n_white": len(cells),
        "labels": [cell.label for cell in cells],
        "p_first_class": [round(float(cell.probabilities[0]), 4) for cell in cells],
        "rbc_px": round(outcome.scale.rbc_px, 2),
    }
