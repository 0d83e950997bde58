"""Comparing only boxes that touch gives what comparing all of them gives, whatever the portions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear import boxes
from smear.tiles import SLACK_PX, merge, owned, plan_tiles
from smear.types import Detections

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True, params=[(1, 64), (50, 5), (2**20, 1)], ids=str, scope="module")
def portions(request):
    """Pairs at once: one box after the other, a few, all; strips of at least so many boxes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("PAIRS_AT_ONCE", "BOXES_A_STRIP"), request.param, strict=True):
            patch.setattr(boxes, name, value)
        yield


def scattered(rng, n, side=300.0) -> Detections:
    """Boxes of 0 to 60 px, whole pixels so that edges meet, in small groups, with ties in score."""
    centre = rng.uniform(0, side, (n, 2)).round() // rng.integers(1, 12) * rng.integers(1, 12)
    size = rng.integers(0, 60, (n, 2))
    corners = np.concatenate([centre - size // 2, centre + size - size // 2], axis=1)
    return Detections(corners, rng.choice([0.2, 0.5, 0.5, 0.9], n), rng.integers(0, 3, n))


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 80))
def test_touching_are_the_pairs_that_share_some_area(seed, n):
    found = scattered(np.random.default_rng(seed), n).boxes
    pairs = [(int(min(i, j)), int(max(i, j))) for a, b in boxes.touching(found) for i, j in zip(a, b, strict=True)]
    corner0, corner1 = np.maximum(found[:, None, :2], found[None, :, :2]), np.minimum(found[:, None, 2:], found[None, :, 2:])
    expected = np.argwhere(np.triu((corner1 > corner0).all(axis=2), 1))
    solid = [(i, j) for i, j in sorted(pairs) if (found[[i, j], 2:] > found[[i, j], :2]).all()]
    assert solid == [tuple(row) for row in expected.tolist()]


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 80), limit=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), across=st.booleans())
def test_suppression_is_greedy_over_all_pairs(seed, n, limit, across):
    found = scattered(np.random.default_rng(seed), n)
    overlap = boxes.iou(found.boxes, found.boxes)
    kept: list[int] = []
    for i in sorted(range(n), key=lambda i: (-found.scores[i], i)):
        if not any(overlap[i, j] > limit and (across or found.labels[i] == found.labels[j]) for j in kept):
            kept.append(i)
    assert boxes.survivors(found, iou_above=limit, across_classes=across).tolist() == kept


def repeats(found, owner, near_seam, limit) -> set[int]:
    """The rule of a seam, pair by pair: who repeats, from another tile, one of a higher score that repeats none."""
    ranked = sorted(np.flatnonzero(near_seam).tolist(), key=lambda i: (-found.scores[i], i))
    centre, diameter = boxes.centres(found.boxes), boxes.diameters(found.boxes)
    gone: set[int] = set()
    for at, i in enumerate(ranked):
        for j in ranked[at + 1 :] if i not in gone else ():
            reach = min(2 * SLACK_PX, np.float32(0.75) * (diameter[i] + diameter[j]) / 2)
            near = found.labels[i] == found.labels[j] and np.abs(centre[i] - centre[j]).max() <= reach
            if owner[i] != owner[j] and (near or boxes.iou(found.boxes[[i]], found.boxes[[j]])[0, 0] > limit):
                gone.add(j)
    return gone


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=SEEDS, tile_px=st.integers(60, 160), share=st.floats(0.3, 0.6))
def test_merging_compares_all_pairs_near_a_seam(seed, tile_px, share):
    rng = np.random.default_rng(seed)
    tiles = plan_tiles((200, 230), tile_px=tile_px, overlap_px=int(tile_px * share))
    found = [scattered(rng, 12, tile_px) for _ in tiles]
    shifted = [d.shift(*t.view[:2]) for t, d in zip(tiles, found, strict=True)]
    mine = [d.take(owned(t, d)) for t, d in zip(tiles, shifted, strict=True)]
    everything = Detections.concat(mine)
    owner = np.repeat(np.arange(len(tiles)), [len(d) for d in mine])
    seams = [np.array(t.core) + np.array([3, 3, -3, -3]) * SLACK_PX for t in tiles]
    near = [((c < s[:2]) | (c >= s[2:])).any(axis=1) for s, c in zip(seams, (boxes.centres(d.boxes) for d in mine), strict=True)]
    gone = repeats(everything, owner, np.concatenate(near), 0.3)
    rest = everything.take(np.array([i for i in range(len(everything)) if i not in gone], np.int64))
    assert merge(tiles, found, iou=0.3) == boxes.suppress(rest, iou_above=0.3)
