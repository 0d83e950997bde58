"""Pseudo-slides: find again which slide each numbered field came from, when only colours and file numbers are left.

Exports of several slides are often merged by sorting their file names, so that neighbours in number come from different slides, in turn
(in Taleqani's Benign folder the colours repeat every third field). `follow_tracks` separates the interleaved streams by colour,
`change_points` cuts a stream where its colours change level, and `pseudo_slides` does both. A pseudo-slide is an estimate that keeps
what belongs together in one split; it is not a patient.

Source of the segmentation: binary segmentation (Scott & Knott, Biometrics 30 (1974) 507) with a BIC-like penalty.
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

JUMP = 1.0  # root-mean-square standard deviations: colours of one slide stay nearer to each other than this
MEMORY = 0.3  # weight of the newest field in a track's recent colour
MIN_FIELDS = 8  # a shorter stretch is an odd field (blur, an artefact), not a slide
PENALTY = 4.0  # times F log N noise variances; on Taleqani in shuffled order 2 finds one change point, 3 or more find none
MAD_TO_VARIANCE = 0.4549  # the median of the square of a standard normal deviate


def pseudo_slides(features: Features, *, jump: float = JUMP, penalty: float = PENALTY, min_fields: int = MIN_FIELDS) -> NDArray[np.int64]:
    """The pseudo-slide of each field of one numbered run, numbered by first appearance.

    Args:
        features: (N, F) standardised colour features, rows in file-number order.
        jump, penalty: larger gives fewer, larger pseudo-slides.
        min_fields: a shorter track joins the nearest longer one.

    Returns:
        (N,) int64.
    """
    tracks = _join_short(features, follow_tracks(features, jump=jump), min_fields)
    found = np.zeros(len(features), np.int64)
    for track in np.unique(tracks):
        rows = np.flatnonzero(tracks == track)
        cuts = change_points(features[rows], penalty=penalty, min_fields=min_fields)
        found[rows] = found.max(initial=0) + 1 + np.searchsorted(cuts, np.arange(len(rows)), side="right")
    return _by_first_appearance(found)


def follow_tracks(features: Features, *, jump: float = JUMP, memory: float = MEMORY) -> NDArray[np.int64]:
    """Separate interleaved streams: each field joins the track whose recent colour is nearest, or opens one.

    Args:
        features: (N, F) standardised, in number order. jump: a field farther than this (RMS over the features) opens a track.
        memory: weight of the newest field in a track's recent colour, in (0, 1].

    Returns:
        (N,) int64 track numbers from 0 in order of appearance.
    """
    recent: list[Features] = []
    found = np.zeros(len(features), np.int64)
    for i, row in enumerate(features):
        far = [float(np.sqrt(np.mean((row - colour) ** 2))) for colour in recent]
        track = int(np.argmin(far)) if far and min(far) <= jump else len(recent)
        if track == len(recent):
            recent.append(row)
        else:
            recent[track] = (1 - memory) * recent[track] + memory * row
        found[i] = track
    return found


def change_points(features: Features, *, penalty: float = PENALTY, min_fields: int = MIN_FIELDS) -> list[int]:
    """Where the mean of a sequence changes: sorted row numbers that begin a new stretch; (N, F) → at most N / min_fields - 1 cuts."""
    n_fields, n_features = features.shape
    if n_fields < 2 * min_fields:
        return []
    noise = np.median(np.diff(features, axis=0) ** 2, axis=0) / (2 * MAD_TO_VARIANCE)  # (F,) from neighbours: level changes are rare
    known = noise > 0
    scaled = features[:, known] / np.sqrt(noise[known])
    sums = np.concatenate([np.zeros((1, scaled.shape[1])), np.cumsum(scaled, axis=0, dtype=np.float64)])  # (N + 1, F)
    threshold = penalty * n_features * np.log(n_fields)
    cuts: list[int] = []
    todo = [(0, n_fields)]
    while todo:
        start, stop = todo.pop()
        if stop - start < 2 * min_fields:
            continue
        at = np.arange(start + min_fields, stop - min_fields + 1)
        left, right, both = sums[at] - sums[start], sums[stop] - sums[at], sums[stop] - sums[start]
        gain = (left**2).sum(axis=1) / (at - start) + (right**2).sum(axis=1) / (stop - at) - (both**2).sum() / (stop - start)
        best = int(np.argmax(gain))
        if gain[best] > threshold:
            cuts.append(int(at[best]))
            todo += [(start, cuts[-1]), (cuts[-1], stop)]
    return sorted(cuts)


def _join_short(features: Features, tracks: NDArray[np.int64], min_fields: int) -> NDArray[np.int64]:
    """Fields of tracks shorter than `min_fields` go to the long track of the nearest mean colour; all one when none is long."""
    if not len(tracks):
        return tracks
    sizes = np.bincount(tracks)
    long = np.flatnonzero(sizes >= min_fields)
    if not len(long):
        return np.zeros_like(tracks)
    means = np.stack([features[tracks == t].mean(axis=0) for t in long])  # (T, F)
    joined = tracks.copy()
    for i in np.flatnonzero(sizes[tracks] < min_fields):
        joined[i] = long[int(np.argmin(((means - features[i]) ** 2).sum(axis=1)))]
    return joined


def _by_first_appearance(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
