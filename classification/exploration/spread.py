"""How a set is spread: classes by split, source, stain and group, and sizes and colours by class and by source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.crops import GROUPS, SPLITS, CropTable
from classification.exploration.crops import Crops
from classification.exploration.numbers import CHANNELS, SIZES, Column, Numbers
from smear.audit.distributions import N_BINS, histogram, quantiles, size_summary


def classes_by(values: NDArray[np.str_], labels: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Value → how many crops of each class, every class in every row; splits in their order, others by name."""
    order = sorted(set(values.tolist()), key=lambda value: (SPLITS.index(value) if value in SPLITS else len(SPLITS), value))
    counts = {value: dict.fromkeys(classes, 0) for value in order}
    for value, label in zip(values.tolist(), labels, strict=True):
        counts[value][label] += 1
    return counts


def group_kinds(table: CropTable) -> dict[str, dict[str, Any]]:
    """Of each of `GROUPS`: for how many crops it is known, how many there are, by class, of two classes, and how large they are."""
    told: dict[str, dict[str, Any]] = {}
    sources = table.column("source")
    for kind in GROUPS:
        values = table.column(kind)
        known = values != ""
        names = np.array([f"{s}/{v}" for s, v in zip(sources[known], values[known], strict=True)], np.str_)
        labels = table.labels[known]
        per_class = {name: len(set(names[labels == i].tolist())) for i, name in enumerate(table.classes)}
        _, sizes = np.unique(names, return_counts=True)
        told[kind] = {
            "n_crops_known": int(known.sum()),
            "n": len(sizes),
            "n_per_class": per_class,
            "n_of_two_classes": sum(per_class.values()) - len(sizes),
            "median_crops": float(np.median(sizes)) if len(sizes) else None,
            "most_crops": int(sizes.max()) if len(sizes) else None,
        }
    return told


def sizes_by_class(crops: Crops, numbers: Numbers) -> dict[str, dict[str, Any]]:
    """Size → class → n, quantiles and histogram; what was not measured is left out."""
    labels = np.array(crops.labels, np.str_)
    return {size: size_summary({name: _finite(numbers.sizes[size][labels == name]) for name in crops.table.classes}) for size in SIZES}


def colours_by(colours: dict[str, Column], values: NDArray[np.str_], order: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Channel of Lab → value → n, quantiles and histogram over `edges`, the same for all values of the channel."""
    found: dict[str, dict[str, Any]] = {}
    for channel in CHANNELS:
        known = {name: _finite(colours[channel][values == name]) for name in order}
        known = {name: some for name, some in known.items() if len(some)}
        whole = np.concatenate([np.zeros(0), *known.values()])
        low, high = (float(whole.min()), float(whole.max())) if len(whole) else (0.0, 0.0)
        edges = np.linspace(low, max(high, low + 1), N_BINS + 1)
        told = {"edges": [round(float(edge), 3) for edge in edges]}
        found[channel] = {name: {**quantiles(some), **told, "histogram": histogram(some, edges)} for name, some in known.items()}
    return found


def _finite(values: Column) -> Column:
    return np.asarray(values[np.isfinite(values)])
