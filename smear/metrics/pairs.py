"""Who belongs to whom: each true white cell of a field beside the detection that found it, and what every other detection lies on."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smear.boxes import iou as overlap
from smear.metrics.detection import match
from smear.metrics.extras import EXTRAS, is_another, lies_on, name_extras
from smear.types import Cell, Detections, FieldFailure, Outcome

__all__ = ["EXTRAS", "MATCH_IOU", "OWNERS", "OWNERS_OF_UNKNOWN", "Pair", "WhiteTruth", "pair_cells", "white_truth"]

MATCH_IOU = 0.5  # boxes of one size that overlap so are at most a third of their side apart: the cell is still whole in a 3-red-cell crop
OWNERS = ("right", "wrong", "review", "missed", "doubled", "loose")  # of a true cell whose kind is known
OWNERS_OF_UNKNOWN = ("found", "missed", "doubled", "loose")


@dataclass(frozen=True)
class Pair:
    """One true white cell with the detection that found it, or a lone half.

    field: index of the field. truth: class index of the true cell, -1 for a white cell of unknown kind, None for an extra detection.
    found: the detected cell, None for a missed one. probabilities: (C,) in the order of the classes asked for, NaN when there are none.
    row: of the true cell among all labels of its field. true_box: (4,) pixels. iou: of the two boxes, NaN for a lone half.
    is_loose: the detection lies on the cell, but overlaps it less than a match does. n_doubles: further detections on the same true cell.
    extra: what an extra detection is, one of `EXTRAS`.
    """

    field: int
    truth: int | None
    found: Cell | None
    probabilities: NDArray[np.float64]
    row: int | None = None
    true_box: NDArray[np.float32] | None = None
    iou: float = math.nan
    is_loose: bool = False
    n_doubles: int = 0
    extra: str = ""

    @property
    def label(self) -> int | None:
        """Class index of the label given; None for a missed or unlabelled cell."""
        return int(self.probabilities.argmax()) if len(self.probabilities) and np.isfinite(self.probabilities).all() else None

    @property
    def is_matched(self) -> bool:
        """A true cell and a detection whose boxes match."""
        return self.truth is not None and self.found is not None and not self.is_loose

    @property
    def answer(self) -> int | None:
        """The label, where it counts as an answer about the true cell: the boxes must match."""
        return self.label if self.is_matched else None

    @property
    def owner(self) -> str:
        """The one count that this pair ends in: of `EXTRAS`, `OWNERS` or, when the kind is unknown, `OWNERS_OF_UNKNOWN`."""
        if self.truth is None:
            return self.extra
        if self.found is None:
            return "missed"
        if self.n_doubles or self.is_loose:
            return "doubled" if self.n_doubles else "loose"
        if self.truth < 0:
            return "found"
        if self.found.needs_review:
            return "review"
        return "right" if self.label == self.truth else "wrong"


@dataclass(frozen=True)
class WhiteTruth:
    """The true white cells of one field among its labels: `rows` (N,) of them, `kinds` (N,) class indices, -1 when unknown."""

    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]


def white_truth(truth: Detections, classes: Sequence[str], *, truth_classes: Sequence[str], white_classes: Collection[str]) -> WhiteTruth:
    """Which labels of a field are white cells, and of which of the `classes`.

    Raises:
        ValueError: a label has no name in `truth_classes`.
    """
    named = np.array([classes.index(c) if c in classes else -1 if c in white_classes else -2 for c in truth_classes], np.int64)
    if len(truth) and truth.labels.max() >= len(named):
        raise ValueError(f"label {truth.labels.max()} is outside the {len(named)} truth classes")
    kinds = named[truth.labels]
    return WhiteTruth(np.flatnonzero(kinds >= -1), kinds[kinds >= -1])


def pair_cells(
    truths: Sequence[Detections],
    results: Sequence[Outcome],
    classes: Sequence[str],
    *,
    truth_classes: Sequence[str],
    white_classes: Collection[str] = ("WBC",),
    ignored_classes: Collection[str] = (),
    stained: Sequence[NDArray[np.floating]] | None = None,
    iou: float = MATCH_IOU,
) -> Iterator[Pair]:
    """Yield every true white cell once, and every extra detected one, field by field.

    Detections are matched to true cells greedily by score at `iou`, whatever their labels; then those left over to cells left over that
    they lie on (loose). What still is left over and lies on a true cell is a duplicate and doubles it; the rest is told apart by
    `name_extras`. A failed field misses all its cells.

    Args:
        stained: per field, the stained share (`smear.stained`) of each detected white cell, in the order of `cells()`; None: unknown.

    Raises:
        ValueError: the sequences differ in length, a label has no name, or a labelled result lacks one of `classes`.
    """
    if len(truths) != len(results) or (stained is not None and len(stained) != len(results)):
        raise ValueError(f"{len(truths)} truths, {len(results)} results{'' if stained is None else f', {len(stained)} stains'}")
    is_ignored = np.array([c in ignored_classes for c in truth_classes], bool)
    for index, (truth, result) in enumerate(zip(truths, results, strict=True)):
        white = white_truth(truth, classes, truth_classes=truth_classes, white_classes=white_classes)
        if isinstance(result, FieldFailure):
            nothing = np.full(len(classes), math.nan)
            yield from (Pair(index, int(k), None, nothing, int(r), truth.boxes[r]) for r, k in zip(white.rows, white.kinds, strict=True))
            continue
        cells, columns = list(result.cells()), _columns(result.classes, classes)
        others = truth.take(np.setdiff1d(np.arange(len(truth)), white.rows))
        pairs, extras, is_double = _pair_field(index, truth, white, others.boxes, cells, columns, iou)
        yield from pairs
        shares = np.full(len(cells), math.nan) if stained is None else np.asarray(stained[index], np.float64)
        names = name_extras(_boxes(cells)[extras], is_double, others, is_ignored, shares[extras], result)
        for cell, name in zip(extras, names, strict=True):
            yield Pair(index, None, cells[cell], _probabilities(cells[cell], columns), extra=name)


def _pair_field(
    index: int,
    truth: Detections,
    white: WhiteTruth,
    others: NDArray[np.float32],
    cells: Sequence[Cell],
    columns: Sequence[int | None],
    limit: float,
) -> tuple[list[Pair], NDArray[np.int64], NDArray[np.bool_]]:
    """The pairs of one field; the extra cells (E,), and whether each lies on a true cell."""
    boxes, found = truth.boxes[white.rows], _boxes(cells)
    scores = np.array([c.detection_score for c in cells], np.float32)
    taken = {int(t): int(f) for t, f in match(boxes, found, limit, scores=scores)}
    on = np.where(is_another(found, boxes, others), np.float32(0), lies_on(found, boxes))  # (M, N)
    loose = _pair_loose(on, scores, taken)
    extras = np.setdiff1d(np.arange(len(cells)), np.array([*taken.values(), *loose.values()], np.int64))
    is_double = on[extras].max(axis=1, initial=0) > 0
    doubled = on[extras][is_double].argmax(axis=1) if is_double.any() else np.zeros(0, np.int64)
    n_doubles = np.bincount(doubled, minlength=len(boxes))
    pairs = []
    for t, (row, kind) in enumerate(zip(white.rows, white.kinds, strict=True)):
        pair = Pair(index, int(kind), None, np.full(len(columns), math.nan), int(row), boxes[t])
        if t in taken or t in loose:
            cell = cells[taken[t] if t in taken else loose[t]]
            shared = float(overlap(boxes[t : t + 1], cell.box[None])[0, 0])
            pair = replace(pair, found=cell, probabilities=_probabilities(cell, columns), iou=shared)
        pairs.append(replace(pair, is_loose=t in loose, n_doubles=int(n_doubles[t])))
    return pairs, extras, is_double


def _pair_loose(on: NDArray[np.float32], scores: NDArray[np.float32], taken: Mapping[int, int]) -> dict[int, int]:
    """True cell → detection, for those not yet taken: each detection, best score first, takes the free cell that it lies on most.

    on: (M, N) IoU of detections and the true cells that they lie on, else 0.
    """
    free = np.array(on)
    free[:, list(taken)] = 0
    free[list(taken.values())] = 0
    pairs: dict[int, int] = {}
    for f in np.argsort(-scores, kind="stable") if free.size else ():
        best = int(free[f].argmax())
        if free[f, best] > 0:
            pairs[best] = int(f)
            free[:, best] = 0
    return pairs


def _boxes(cells: Sequence[Cell]) -> NDArray[np.float32]:
    return np.array([c.box for c in cells], np.float32).reshape(-1, 4)


def _columns(known: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    if not known:  # the run had no classifier
        return [None] * len(classes)
    if set(classes) - set(known):
        raise ValueError(f"the results are labelled {list(known)}, the metrics ask for {list(classes)}")
    return [known.index(c) for c in classes]


def _probabilities(cell: Cell, columns: Sequence[int | None]) -> NDArray[np.float64]:
    return np.array([math.nan if k is None else cell.probabilities[k] for k in columns], np.float64)
