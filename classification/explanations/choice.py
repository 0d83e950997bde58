"""Which crops are explained: some of every class, right and wrong, and of as many groups as there is room for."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classification.compare_data import FINER, Bench, read_bench
from classification.compare_page import choose_cells
from classification.crops import label_names
from classification.readable import Watch


def read_pool(
    data: Sequence[Path],
    classes: Sequence[str],
    *,
    label_column: str,
    group: str | None,
    split: str,
    most: int,
    seed: int,
    watch: Watch = lambda rows, n: rows,
) -> Bench:
    """The crops that are labelled first, so that there are wrong ones to choose from; raises as `read_bench`.

    Args:
        classes: those of the model, in its order. group: a column, or None for the coarsest of `FINER` that says something.
        split: "all", or one of them. most: so many at most, every group keeping its share.
    """
    unit = group or next((name for name in FINER if label_names(data, name) - {""}), "file")
    return read_bench(
        data,
        classes=tuple(classes),
        label_column=label_column,
        group=unit,
        split=None if split == "all" else split,
        max_cells=most,
        seed=seed,
        watch=watch,
    )


def choose_explained(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: NDArray[np.str_], *, most: int, seed: int
) -> NDArray[np.int64]:
    """At most so many of N rows: in turn from each class, right and wrong apart, and within these from each group; drawn by the seed.

    They come by class, wrong ones first.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels)).tolist()
    kinds = [f"{label}, {label == given}" for label, given in zip(labels, predicted, strict=True)]
    drawn = choose_cells([{"row": i, "label": kinds[i], "group": groups[i]} for i in shuffled], most) if most else []
    return np.array(sorted((cell["row"] for cell in drawn), key=lambda i: (labels[i], labels[i] == predicted[i], i)), np.int64)


def count_kinds(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many of each class are labelled `right` and `wrong`."""
    counts = Counter(zip(labels.tolist(), (labels == predicted).tolist(), strict=True))
    return {name: {"right": counts[c, True], "wrong": counts[c, False]} for c, name in enumerate(classes)}
