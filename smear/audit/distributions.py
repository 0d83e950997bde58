"""How the classes and sizes of a set are spread: counts per split, and quantiles and histogram of the diameters of each class."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
N_BINS = 24


def class_counts(images: Iterable[tuple[str, Sequence[str]]], classes: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Split → "images" and how many of each class; every class in every split, also those that only `classes` names.

    Args:
        images: of each image its split and the class of each of its boxes (or its own class alone).
        classes: those that the set names, in its order; others follow by name.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    n_images: Counter[str] = Counter()
    for split, names in images:
        counts[split].update(names)
        n_images[split] += 1
    order_of = [*classes, *sorted({name for counter in counts.values() for name in counter} - set(classes))]
    order = sorted(n_images, key=lambda s: ("train", "val", "test").index(s) if s in ("train", "val", "test") else 3)
    return {split: {"images": n_images[split], **{name: counts[split][name] for name in order_of}} for split in order}


def size_summary(diameters_px: Mapping[str, Sequence[float] | NDArray[np.floating]]) -> dict[str, dict[str, Any]]:
    """Class → n, quantiles (pixels) and a histogram over `edges_px` (log-spaced, the same for all classes); no diameter, no entry."""
    known = {name: np.asarray(values, np.float64) for name, values in sorted(diameters_px.items()) if len(values)}
    if not known:
        return {}
    whole = np.concatenate(list(known.values()))
    low, high = max(float(whole.min()), 1e-3), float(whole.max())
    edges = np.geomspace(low, max(high, low * 1.01), N_BINS + 1)
    told = {"edges_px": [round(float(e), 3) for e in edges]}
    return {name: {**quantiles(values), **told, "histogram": histogram(values, edges)} for name, values in known.items()}


def quantiles(values: NDArray[np.floating]) -> dict[str, Any]:
    """`n` and `QUANTILES` of at least one value."""
    return {"n": len(values), **{key: round(float(np.quantile(values, q)), 2) for key, q in QUANTILES.items()}}


def histogram(values: NDArray[np.floating], edges: NDArray[np.floating]) -> list[int]:
    """How many values lie between each two of E edges, (E - 1,); what lies beyond the ends is counted at the ends."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [int(n) for n in counts]
