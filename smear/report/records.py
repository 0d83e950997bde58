"""One field's outcome as JSON and back, exactly: `fields/<field>.json`, which is also the resume cache."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.types import Detections, Field, FieldFailure, FieldResult, Outcome, Scale

SCHEMA = 1
MAX_DECIMALS = 9  # what most numbers of a field need at most; one by one takes ten times as long


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain JSON values: arrays as lists with the shortest decimals that read back to the same float32, NaN as null."""
    place = {**asdict(outcome.field), "path": str(outcome.field.path)}
    if isinstance(outcome, FieldFailure):
        return {"schema": SCHEMA, "kind": "failure", "field": place, "stage": outcome.stage, "error": outcome.error}
    return {
        "schema": SCHEMA,
        "kind": "result",
        "field": place,
        "shape_hw": [int(v) for v in outcome.shape_hw],
        "detector_classes": list(outcome.detector_classes),
        "classes": list(outcome.classes),
        "review_below": float(outcome.review_below),
        "scale": jsonable(asdict(outcome.scale)),
        "boxes": shortest(outcome.detections.boxes),
        "scores": shortest(outcome.detections.scores),
        "labels": outcome.detections.labels.tolist(),
        "is_white": np.asarray(outcome.is_white, bool).tolist(),
        "probabilities": shortest(outcome.probabilities),
        "warnings": list(outcome.warnings),
        "cell_warnings": [list(w) for w in outcome.cell_warnings],
        "seconds": {stage: float(v) for stage, v in outcome.seconds.items()},
        "quality": {name: float(v) for name, v in outcome.quality.items()},
    }


def from_json(record: dict[str, Any]) -> Outcome:
    """Rebuild what `to_json` wrote.

    Raises:
        ValueError: the record is of another schema, incomplete or malformed; a resuming run analyses that field again.
    """
    try:
        if record["schema"] != SCHEMA:
            raise ValueError(f"a record of schema {record['schema']!r}, expected {SCHEMA}")
        field = Field(**{**record["field"], "path": Path(record["field"]["path"])})
        if record["kind"] == "failure":
            return FieldFailure(field, str(record["stage"]), str(record["error"]))
        return _result(field, record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a field record ({type(error).__name__}: {error})") from error


def jsonable(value: Any) -> Any:
    """The same value for `json.dump(…, allow_nan=False)`: NaN and infinities become null, arrays and tuples lists, paths text."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, (np.ndarray, np.generic)):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def shortest(values: NDArray[np.float32]) -> list[Any]:
    """Nested lists of the shortest decimals that name each float32 (0.9, not 0.8999999761581421); NaN as None."""
    array = np.asarray(values, np.float32)
    found, left = np.full(array.shape, None, object), np.isfinite(array)
    wide = np.where(np.abs(array) < 2**24, array, np.nan).astype(float)  # above, whole numbers have shorter names
    for decimals in range(MAX_DECIMALS + 1):
        rounded = np.round(wide, decimals)
        named = left & (rounded.astype(np.float32) == array)
        found[named], left = rounded[named], left & ~named
    for at in zip(*np.nonzero(left), strict=True):
        found[at] = float(str(array[at]))
    as_lists: list[Any] = found.tolist()
    return as_lists


def _result(field: Field, record: dict[str, Any]) -> FieldResult:
    n, classes, scale = len(record["labels"]), tuple(record["classes"]), record["scale"]
    probabilities = _floats(record["probabilities"]).reshape(n, len(classes))
    is_white = np.array(record["is_white"], bool)
    if len(is_white) != n or len(record["cell_warnings"]) not in (0, n):
        raise ValueError(f"not a field record ({n} labels, {len(is_white)} is_white, {len(record['cell_warnings'])} cell_warnings)")
    return FieldResult(
        field=field,
        shape_hw=(int(record["shape_hw"][0]), int(record["shape_hw"][1])),
        detections=Detections(_floats(record["boxes"]).reshape(-1, 4), _floats(record["scores"]), np.array(record["labels"], np.int64)),
        detector_classes=tuple(record["detector_classes"]),
        is_white=is_white,
        probabilities=probabilities,
        classes=classes,
        review_below=float(record["review_below"]),
        scale=Scale(_or_nan(scale["rbc_px"]), _or_nan(scale["spread"]), int(scale["n"]), scale["source"]),
        warnings=tuple(record["warnings"]),
        cell_warnings=tuple(tuple(w) for w in record["cell_warnings"]),
        seconds={stage: float(v) for stage, v in record["seconds"].items()},
        quality={name: float(v) for name, v in record.get("quality", {}).items()},  # records of earlier versions have none
    )


def _floats(values: list[Any]) -> NDArray[np.float32]:
    return np.array([[math.nan if v is None else v for v in row] if isinstance(row, list) else row for row in values], np.float32)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
