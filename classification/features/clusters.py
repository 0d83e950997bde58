"""Fuzzy c-means on a batch of small sets of points, from centres that are given: the same input, the same clusters."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]

_STEPS = 12  # the centres of colours in a crop move less than a grey level after this
_ON_CENTRE = 0.05  # squared distance below which a point lies on a centre: float32 knows it no better for colours


def fuzzy_means(points: Points, centres: Points, weights: Points | None = None, *, steps: int = _STEPS) -> Points:
    """Move the centres (B, K, D) to the clusters of the points (B, P, D); (B, K, D) float32.

    Fuzzifier 2: a point's share in a cluster falls with its squared distance. A cluster that no point shares in keeps its centre.

    Args:
        points: of about the size of Lab colours, -128 to 128.
        weights: (B, P) not negative, how much each point counts; None: all the same.

    Source: J. C. Bezdek, Pattern Recognition with Fuzzy Objective Function Algorithms, Plenum 1981, algorithm A11.8.
    """
    moved = centres.astype(np.float32)
    for _ in range(steps):
        pull = memberships(points, moved) ** 2  # (B, K, P)
        if weights is not None:
            pull = pull * weights[:, None]
        total = pull.sum(axis=2)[..., None]  # (B, K, 1)
        moved = np.where(total > 1e-6, np.matmul(pull, points) / np.maximum(total, 1e-6), moved)
    return moved


def memberships(points: Points, centres: Points) -> Points:
    """The share of each point (B, P, D) in each cluster, (B, K, P) float32; those of a point sum to 1."""
    share = np.matmul(-2 * centres, points.transpose(0, 2, 1))  # (B, K, P), worked on in place: it is large
    share += np.einsum("bpd,bpd->bp", points, points)[:, None]
    share += np.einsum("bkd,bkd->bk", centres, centres)[..., None]  # squared distances
    np.reciprocal(np.maximum(share, _ON_CENTRE, out=share), out=share)
    share /= share.sum(axis=1, keepdims=True)
    return share
