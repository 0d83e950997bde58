"""What an evaluation needs to know of each field, gathered while the field is decoded, kept, and read again by a run that resumes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smear.analyze import at_confidence
from smear.files import Content, pieces, write_atomic
from smear.metrics.pairs import white_truth
from smear.report.records import from_json, shortest, to_json
from smear.stained import stained_shares
from smear.store import Store, output_names
from smear.types import Detections, Field, FieldResult, Image, Outcome, Scale

SCHEMA = 1
FOLDER = "evidence"

LabelBoxes = Callable[[Image, NDArray[np.float32], Scale], NDArray[np.float32]]


@dataclass(frozen=True)
class Evidence:
    """One field of an evaluation.

    outcome: with detections below the operating point too, for the curves. cells: the same at the operating point.
    on_truth: (K, C) float32, what the classifier says of the K true cells of known kind on their true boxes, in the order of the labels.
    stained: (W,) float32, the stained share (`smear.stained`) of each white cell of `cells`.
    """

    outcome: Outcome
    cells: Outcome
    on_truth: NDArray[np.float32]
    stained: NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What is asked of every field: how labels are named, which are white cells, the classifier's classes, the operating point."""

    truth_classes: tuple[str, ...]
    white_classes: tuple[str, ...]
    classes: tuple[str, ...]
    confidence: float

    @property
    def knows_kinds(self) -> bool:
        """Whether the truth names any of the classifier's classes; else boxes alone can be scored."""
        return bool(set(self.classes) & set(self.truth_classes))

    def gather(self, outcome: Outcome, image: Image | None, truth: Detections, label_boxes: LabelBoxes) -> Evidence:
        """The evidence of one field; `image` is None, and nothing is known, where it could not be decoded."""
        if not isinstance(outcome, FieldResult) or image is None:
            return Evidence(outcome, outcome, np.zeros((0, len(self.classes)), np.float32), np.zeros(0, np.float32))
        cells = at_confidence(outcome, self.confidence)
        white = white_truth(truth, self.classes, truth_classes=self.truth_classes, white_classes=self.white_classes)
        known = truth.boxes[white.rows[white.kinds >= 0]]
        on_truth = label_boxes(image, known, cells.scale) if len(known) else np.zeros((0, len(self.classes)), np.float32)
        found = cells.detections.boxes[cells.is_white]
        stained = stained_shares(image, found, white=truth.boxes[white.rows])
        return Evidence(outcome, cells, on_truth, stained)


class EvidenceStore:
    """The evidence of a run, written field by field below the folder of a `Store`, which keeps the rest of each field.

    Args:
        key: hash of the models and settings. truths: the labels of each field; they are part of a field's key too, as are its bytes and
            the question.
    """

    def __init__(self, store: Store, fields: Sequence[Field], truths: Sequence[Detections], *, key: str, question: Question) -> None:
        self._store, self._question = store, question
        self._truths = {f.id: t for f, t in zip(fields, truths, strict=True)}
        self._names = output_names(fields)
        self._key = f"{SCHEMA} {key} {question}"
        self._keys: dict[str, str] = {}
        self._gathered: dict[str, Evidence] = {}

    def recall(self, field: Field, data: Content) -> Outcome | None:
        """The outcome of an earlier run on the same bytes, labels, models and question; None when any part of it is missing."""
        key = self._keys[field.id] = self._key_of(field, data)
        if self._store.recall(field, data) is None:
            return None
        try:
            record = json.loads(self._path(field).read_text(encoding="utf-8"))
            known = _from_json(record, field, self._question) if record.pop("key", None) == key else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        if known is None:
            return None
        self._gathered[field.id] = known
        return known.outcome

    def keep(self, outcome: Outcome, image: Image | None, label_boxes: LabelBoxes) -> None:
        """Gather and write one field: what an analysis shows first, the evidence last, so that evidence means a finished field.

        Args:
            label_boxes: the classifier on known boxes, as `Analyzer.label_boxes`.
        """
        field = outcome.field
        evidence = self._question.gather(outcome, image, self._truths[field.id], label_boxes)
        self._path(field).unlink(missing_ok=True)
        self._store.keep(evidence.cells, image)
        if isinstance(outcome, FieldResult):
            record = {**_to_json(evidence), "key": self._keys.get(field.id, "")}
            write_atomic(self._path(field), json.dumps(record, allow_nan=False) + "\n")
        self._gathered[field.id] = evidence

    def of(self, fields: Sequence[Field]) -> list[Evidence]:
        """The evidence of each field, all of which have been analysed or recalled."""
        return [self._gathered[f.id] for f in fields]

    def _key_of(self, field: Field, data: Content) -> str:
        truth = self._truths[field.id]
        digest = hashlib.sha256(f"{self._key} #{field.page} {len(truth)} ".encode())
        for part in (truth.boxes, truth.labels):
            digest.update(np.ascontiguousarray(part).tobytes())
        for piece in pieces(data):
            digest.update(piece)
        return digest.hexdigest()

    def _path(self, field: Field) -> Path:
        return self._store.root / FOLDER / f"{self._names[field.id]}.json"


def _to_json(evidence: Evidence) -> dict[str, Any]:
    return {
        "outcome": to_json(evidence.outcome),
        "on_truth": shortest(evidence.on_truth),
        "stained": shortest(evidence.stained),
    }


def _from_json(record: dict[str, Any], field: Field, question: Question) -> Evidence:
    outcome = from_json(record["outcome"])
    if not isinstance(outcome, FieldResult):
        raise ValueError("not the evidence of a field that could be read")
    outcome = replace(outcome, field=field)
    cells = at_confidence(outcome, question.confidence)
    on_truth = np.array(record["on_truth"], np.float32).reshape(-1, len(question.classes))
    stained = np.array([np.nan if v is None else v for v in record["stained"]], np.float32)
    if len(stained) != int(cells.is_white.sum()):
        raise ValueError("evidence of other cells")
    return Evidence(outcome, cells, on_truth, stained)
