"""What the numbers of a network mean: logits to calibrated probabilities (numpy alone, so that labelling starts fast)."""

import numpy as np
from numpy.typing import NDArray


def to_probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """(N, 1) or (N, C) logits → (N, C) float32, rows sum to 1; one logit is that of the first of two classes."""
    scaled = np.asarray(logits, np.float64) / temperature
    if scaled.shape[1] == 1:
        small = np.exp(-np.abs(scaled[:, 0]))  # never overflows
        first = np.where(scaled[:, 0] >= 0, 1, small) / (1 + small)
        return np.stack([first, 1 - first], axis=1).astype(np.float32)
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
