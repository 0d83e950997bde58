"""Stain: how a field is coloured, and which fields of a set share a stain.

`stain_features` measures the background, the red cells, the nuclei and the two optical-density directions of the dyes;
`stain_clusters` groups fields by them: the unit of leave-one-stain-out; `alignment` says how far stain gives the label away.

Sources: Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291 (optical density); Macenko et al., ISBI 2009, 1107 (stain
vectors as the extreme angles in the plane of the two largest principal directions); Liao et al., J. Inf. Sci. Eng. 17 (2001) 713
(multi-level Otsu threshold).
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

SMALL_PX = 112  # colours need no detail: features are measured on fields shrunk to this side
OTSU_BINS = 64
OD_FLOOR = 0.15  # optical density below which a pixel is background (Macenko's beta)
EXTREME_PERCENT = 1.0  # the angle percentile that stands for a pure dye (Macenko's alpha)
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
    small = cv2.resize(image, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)  # (P, 3)
    low, high = _two_thresholds(small[..., 1])
    green = small[..., 1].reshape(-1)
    parts = (green > high, (green > low) & (green <= high), green <= low)
    means = [lab[part].mean(axis=0) if part.any() else lab.mean(axis=0) for part in parts]
    return np.concatenate([*means, _dye_vectors(small).reshape(-1)]).astype(np.float32)


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


def _two_thresholds(channel: NDArray[np.uint8]) -> tuple[float, float]:
    """The two grey levels that part a channel into three classes of least spread (Otsu, two levels)."""
    counts, edges = np.histogram(channel, bins=OTSU_BINS, range=(0, 256))
    weight = np.concatenate([[0], np.cumsum(counts)]).astype(float)  # (B + 1,)
    moment = np.concatenate([[0], np.cumsum(counts * edges[1:])])

    def between(start: NDArray, stop: NDArray) -> NDArray:
        mass = weight[stop] - weight[start]
        return np.divide((moment[stop] - moment[start]) ** 2, mass, out=np.zeros(mass.shape), where=mass > 0)

    low, high = np.triu_indices(OTSU_BINS + 1, k=0)
    zero, end = np.zeros_like(low), np.full_like(low, OTSU_BINS)
    best = int(np.argmax(between(zero, low) + between(low, high) + between(high, end)))
    return float(edges[low[best]]), float(edges[high[best]])


def _dye_vectors(image: Image) -> NDArray[np.float32]:
    """The two stain directions of a field, (2, 3) unit vectors of optical density, the bluer absorber (more red light lost) first."""
    density = -np.log10((image.reshape(-1, 3).astype(np.float32) + 1) / 256)  # (P, 3)
    density = density[(density > OD_FLOOR).any(axis=1)]
    if len(density) < 3:
        return np.zeros((2, 3), np.float32)
    plane = np.linalg.eigh(np.cov(density.T))[1][:, 1:]  # (3, 2), the two largest principal directions
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    flat = density @ plane
    angles = np.arctan2(flat[:, 0], flat[:, 1])
    extreme = np.percentile(angles, [EXTREME_PERCENT, 100 - EXTREME_PERCENT])
    vectors = np.stack([np.sin(extreme), np.cos(extreme)], axis=1) @ plane.T  # (2, 3)
    vectors = vectors * np.where(vectors.sum(axis=1, keepdims=True) < 0, -1, 1)
    return vectors[np.argsort(-vectors[:, 0], kind="stable")].astype(np.float32)
