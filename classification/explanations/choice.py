"""Which crops are explained: some of every class, right and wrong, and of as many groups as there is room for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classification.compare_page import choose_cells


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
