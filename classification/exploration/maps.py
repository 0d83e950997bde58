"""Maps of cells by their features: principal components, and UMAP (McInnes, Healy & Melville 2018, arXiv 1802.03426)."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smear.errors import MissingExtra

MIN_CELLS = 15  # fewer have no neighbourhoods to map
N_NEIGHBOURS = 15  # umap's own default
MOST_COMPONENTS = 50  # that are kept, and that UMAP begins with


@dataclass(frozen=True)
class Principal:
    """Principal components of N cells by F features: scores (N, K), explained (K,) shares of the variance, axes (K, F); K may be 0."""

    scores: NDArray[np.float64]
    explained: NDArray[np.float64]
    axes: NDArray[np.float64]


def principal(values: NDArray[np.float64], *, most: int = MOST_COMPONENTS) -> Principal:
    """Of features (N, F) that are all finite, brought to mean 0 and deviation 1 (a constant one to 0); K = 0 where nothing varies."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    n_cells, n_features = values.shape
    k = min(most, n_cells - 1, n_features)
    if k < 1 or not np.ptp(values, axis=0).any():
        return Principal(np.zeros((n_cells, 0)), np.zeros(0), np.zeros((0, n_features)))
    found = PCA(k, svd_solver="full")
    scores = found.fit_transform(StandardScaler().fit_transform(values))
    return Principal(scores, found.explained_variance_ratio_, found.components_)


def umap_map(scores: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """(N, 2) places of N ≥ `MIN_CELLS` cells, N by K principal components; the same for the same seed.

    Raises:
        MissingExtra: umap-learn is not installed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # sets apart are shown apart
        warnings.filterwarnings("ignore", "(?s).*k >= N", RuntimeWarning)  # its own small eigenproblem, which it then solves densely
        try:
            from umap import UMAP
        except ImportError as error:
            raise MissingExtra("the second map", "umap-learn", "explain") from error
        mapped = UMAP(n_neighbors=min(N_NEIGHBOURS, len(scores) - 1), random_state=seed, n_jobs=1).fit_transform(scores)
    return np.asarray(mapped, np.float64)
