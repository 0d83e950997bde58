"""Odd cells: far from all others in the space of their features, with the features that set them apart.

Features are centred by their median and scaled by their spread, their principal components taken, and the distance of each cell from
the middle is Mahalanobis', with centre and covariance by the minimum covariance determinant (Rousseeuw & Van Driessen 1999,
Technometrics 41), which the odd cells themselves cannot draw to them. The limit is that of a normal cloud or, where the cells make no
such cloud, Tukey's fence around the middle half of their distances: odd is what few are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METHOD = "robust Mahalanobis distance (minimum covariance determinant) on principal components of robustly scaled features"
MIN_CELLS = 20  # fewer have no middle to be far from
N_COMPONENTS, CELLS_A_COMPONENT = 10, 5  # at most so many components, and one for each so many cells
CLIP = 12.0  # robust deviations: beyond, a feature says only that it is far; one number must not rule the components
BEYOND = 0.999  # share of a normal cloud within the limit
FENCE = 1.5  # middle halves beyond the middle half (Tukey 1977, Exploratory Data Analysis)
N_REASONS = 3
NORMAL_IQR = 1.349  # the distance of the quartiles of a normal distribution of deviation 1


@dataclass(frozen=True)
class Odd:
    """scores (N,): 1 is the limit; reasons: of each cell the features that are farthest out, with robust deviations, the farthest first."""

    scores: NDArray[np.float64]
    n_components: int
    reasons: tuple[tuple[tuple[str, float], ...], ...]


def find_odd(values: NDArray[np.float64], names: tuple[str, ...], *, seed: int) -> Odd | None:
    """How odd each of N cells is, by features (N, F) that are all finite; None: too few cells differ.

    The middle is sought among cells that differ: copies would be the densest half, and without a spread.
    """
    from scipy.stats import chi2
    from sklearn.covariance import MinCovDet
    from sklearn.decomposition import PCA

    distinct = np.sort(np.unique(values, axis=0, return_index=True)[1])
    if len(distinct) < MIN_CELLS:
        return None
    deviations = robust(values)
    clipped = np.clip(deviations, -CLIP, CLIP)
    rank = int(np.linalg.matrix_rank(clipped - clipped.mean(axis=0)))
    k = min(N_COMPONENTS, len(distinct) // CELLS_A_COMPONENT, rank)
    if k < 1:
        return None
    scores = PCA(k, svd_solver="full").fit_transform(clipped)
    distances = np.sqrt(MinCovDet(random_state=seed).fit(scores[distinct]).mahalanobis(scores))
    limit = max(float(np.sqrt(chi2.ppf(BEYOND, k))), _fence(distances[distinct]))
    return Odd(distances / limit, k, tuple(_reasons(row, names) for row in deviations))


def _fence(distances: NDArray[np.float64]) -> float:
    low, high = np.quantile(distances, [0.25, 0.75])
    return float(high + FENCE * (high - low))


def robust(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns centred by their median, in robust deviations: of the middle half; where that is one value, of all; 0 where all are one."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    spread = (high - low) / NORMAL_IQR
    spread = np.where(spread > 0, spread, values.std(axis=0))
    return np.asarray((values - middle) / np.where(spread > 0, spread, 1))


def _reasons(row: NDArray[np.float64], names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-np.abs(row), kind="stable")[:N_REASONS]
    return tuple((names[i], float(row[i])) for i in order)
