"""The operating point in the card: chosen on validation cells, applied to others, and counted on cells that chose nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.crops import CropTable
from smear.errors import ConfigError
from smear.metrics.clusters import counts_of_next_group
from smear.metrics.operating import at_threshold, choose_threshold, share_of, shares_at
from smear.metrics.statistics import bootstrap, name_groups
from smear.models import ModelCard

THRESHOLD = "positive"  # in ModelCard.thresholds: from this probability of the first class on, a cell is called positive
POINT = "operating_point"  # in ModelCard.metrics: how that threshold was chosen
COUNTS = "operating"  # in ModelCard.metrics: what corrects a slide's blast count
GROUPS = ("patient", "slide", "group", "field")  # the first that is known says which cells are not independent


def cell_groups(table: CropTable) -> tuple[tuple[str, ...], str]:
    """The independent group of every crop, (N,), and what a group is: patient, slide, group (twins), field, or the crop itself."""
    sources = table.column("source").tolist()
    columns = [(unit, table.column(unit).tolist()) for unit in GROUPS]
    pairs = []
    for i, source in enumerate(sources):
        unit, name = next(((u, values[i]) for u, values in columns if values[i]), ("crop", str(i)))
        pairs.append((unit, f"{source}/{name}"))
    return name_groups(pairs)


def choose_point(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str], *, rule: str, target: float
) -> dict[str, Any]:
    """The threshold on the first class's probability that `rule` picks on these validation cells, with its counts there.

    Returns:
        For `ModelCard.metrics["operating_point"]`: threshold, rule, target, positive, chosen_on, and the counts of `at_threshold`.

    Raises:
        ConfigError: one kind of cell is missing.
    """
    is_true, scores = labels == 0, probabilities[:, 0]
    point = choose_threshold(is_true, scores, rule=rule, target=target)
    if point is None:
        raise ConfigError(f"operating point: needs validation cells of {classes[0]} and of another class; there are not both")
    about = {"threshold": point.threshold, "rule": point.rule, "target": point.target, "positive": classes[0], "chosen_on": "validation"}
    return {**about, **at_threshold(is_true, scores, point.threshold)}


def apply_point(
    card: ModelCard, labels: NDArray[np.int64], probabilities: NDArray[np.floating], groups: Sequence[str], **drawing: Any
) -> dict[str, Any] | None:
    """The counts of these cells at the card's threshold, and how it was chosen; None when the card has no operating point.

    `low`, `high` and `method` of each share come from drawing whole groups, not cells.

    Args:
        groups: (N,) of `cell_groups`. drawing: n_resamples, seed and unit of `bootstrap`.
    """
    if THRESHOLD not in card.thresholds:
        return None
    threshold, is_true, scores = card.thresholds[THRESHOLD], labels == 0, probabilities[:, 0]
    chosen = card.metrics.get(POINT, {})
    about = {key: chosen.get(key) for key in ("rule", "target", "positive", "chosen_on")}
    intervals = bootstrap(groups, lambda index: shares_at(is_true[index], scores[index], threshold), **drawing)
    ranges = {name: {"low": i.low, "high": i.high, "method": i.method} for name, i in intervals.items()}
    counts = at_threshold(is_true, scores, threshold)
    return {"threshold": threshold, **about, **{name: {**share, **ranges[name]} for name, share in counts.items()}}


def count_for_card(card: ModelCard, table: CropTable, probabilities: NDArray[np.floating], *, split: str) -> dict[str, Any]:
    """Sensitivity and specificity as counts, from cells that neither trained nor tuned it, for `ModelCard.metrics["operating"]`.

    They are those of the label that an analysis gives, the most probable class: what corrects a count must be measured the way it counts.
    `next_slide` of each holds the counts, not whole, that are worth as much for a slide not seen: slides differ more than their cells
    say (`smear.metrics.clusters`), and a blast count is corrected with these.

    Raises:
        ConfigError: the cells were trained or tuned on, or one kind of cell is missing.
    """
    if split not in ("test", "all"):
        raise ConfigError(f"--operating: split {split!r} trained or tuned the classifier; use --split test")
    known = {entry.get("table_sha256") for entry in card.data} - {None}
    if split == "all" and any(about["table_sha256"] in known for about in table.about):
        raise ConfigError("--operating: the classifier was trained on a part of this table; use --split test")
    is_true, called = table.labels == 0, probabilities.argmax(axis=1) == 0
    if is_true.all() or not is_true.any():
        raise ConfigError(f"--operating: needs cells of {table.classes[0]} and of another class; there are not both")
    groups, unit = cell_groups(table)

    def rate(cells: NDArray[np.bool_]) -> dict[str, Any]:
        right, whose = (called == is_true)[cells], np.array(groups)[cells]
        k, n = counts_of_next_group(right, whose)
        return {**share_of(int(right.sum()), len(right)), "next_slide": {"k": k, "n": n, "n_groups": len(set(whose.tolist()))}}

    return {
        "sensitivity": rate(is_true),
        "specificity": rate(~is_true),
        "labelled_by": "most probable class",
        "positive": table.classes[0],
        "split": split,
        "set": ", ".join(str(about["name"]) for about in table.about),
        "n_groups": len(set(groups)),
        "unit": unit,
    }
