"""Stain: how a field is coloured, and which fields of a set share a stain.

`stain_features` measures the background, the red cells, the nuclei and the two optical-density directions of the dyes;
`stain_clusters` groups fields by them: the unit of leave-one-stain-out; `alignment` says how far stain gives the label away.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.stain import dye_vectors, shrink, two_thresholds
from smear.types import Image

FEATURES = (
    *(f"{part}_{channel}" for part in ("background", "red_cells", "nuclei") for channel in "Lab"),
    *(f"dye{i}_{channel}" for i in (1, 2) for channel in "rgb"),
)


def stain_features(image: Image) -> NDArray[np.float32]:
    """How one field is stained, (F,) float32 in the order of `FEATURES`.

    Mean CIE Lab (8-bit scaling of OpenCV, 0-255) of the three brightness classes of the green channel, in which the dyes absorb most
    (background, red cells, nuclei), then the two Macenko stain vectors (unit length, RGB). A field of one colour gives equal classes
    and zero vectors.
    """
    small = shrink(image)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)  # (P, 3)
    low, high = two_thresholds(small[..., 1])
    green = small[..., 1].reshape(-1)
    parts = (green > high, (green > low) & (green <= high), green <= low)
    means = [lab[part].mean(axis=0) if part.any() else lab.mean(axis=0) for part in parts]
    return np.concatenate([*means, dye_vectors(small).reshape(-1)]).astype(np.float32)


def standardise(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns brought to mean 0 and deviation 1 over the set; a constant column becomes 0. (N, F) → (N, F)."""
    spread = features.std(axis=0)
    return ((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)


def stain_clusters(features: NDArray[np.float32], *, n_clusters: int, seed: int = 0) -> NDArray[np.int64]:
    """The stain cluster of every field, numbered by falling size: (N, F) → (N,) int64.

    K-means on standardised features, 10 starts from `seed`. Fewer fields than clusters give one cluster a field.
    """
    from sklearn.cluster import KMeans

    if len(features) <= n_clusters:
        return np.arange(len(features), dtype=np.int64)
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(standardise(features))
    order = np.argsort(-np.bincount(found, minlength=n_clusters), kind="stable")
    return np.argsort(order)[found].astype(np.int64)


def alignment(first: Sequence[str], second: Sequence[str]) -> float:
    """How far one labelling tells the other, by adjusted mutual information: 0 chance, 1 the same partition."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(list(first), list(second)))
