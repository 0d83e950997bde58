"""Laws of the geometry that counting rests on, over random fields, tiles and boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smear import boxes
from smear.annotations import read_labels, write_labels
from smear.tiles import SLACK_PX, merge, plan_tiles
from smear.types import Detections

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
JITTER_PX = 3  # what two tiles may disagree by; the slack is one more


@st.composite
def plans(draw, longest=2000):
    tile_px = draw(st.integers(16, 800))
    overlap_px = draw(st.integers(0, tile_px - 1))
    most = min(longest, tile_px + 12 * (tile_px - overlap_px))  # no more than a dozen tiles a side
    shape_hw = (draw(st.integers(1, most)), draw(st.integers(1, most)))
    snug = draw(st.booleans())
    how = {"tile_px": tile_px, "overlap_px": overlap_px, "snug": snug}
    return shape_hw, how, plan_tiles(shape_hw, **how)


def random_boxes(rng, n, side=100.0) -> np.ndarray:
    corners = rng.uniform(0, side, (n, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


@SETTINGS
@given(plans())
def test_cores_partition_the_field(plan):
    (height, width), _, tiles = plan
    owners = np.zeros((height, width), np.uint8)
    for tile in tiles:
        x0, y0, x1, y1 = tile.core
        assert x0 < x1
        assert y0 < y1
        owners[y0:y1, x0:x1] += 1
    assert (owners == 1).all()


@SETTINGS
@given(plans())
def test_views_lie_in_the_field_and_hold_their_core_with_half_the_overlap_round_it(plan):
    (height, width), how, tiles = plan
    overlap_px = how["overlap_px"]
    for tile in tiles:
        for low, high, core_low, core_high, length in (
            (tile.view[0], tile.view[2], tile.core[0], tile.core[2], width),
            (tile.view[1], tile.view[3], tile.core[1], tile.core[3], height),
        ):
            assert 0 <= low < high <= length
            assert high - low <= min(how["tile_px"], length)
            assert high - low == min(how["tile_px"], length) or how["snug"]
            assert core_low == low == 0 or core_low - low >= overlap_px // 2
            assert core_high == high == length or high - core_high >= overlap_px // 2


@SETTINGS
@given(plans())
def test_the_same_request_gives_the_same_tiles(plan):
    shape_hw, how, tiles = plan
    assert plan_tiles(shape_hw, **how) == tiles


def scatter(rng, shape_hw, largest, n) -> np.ndarray:
    """Cells of four jitters to `largest` inside the field, no two closer than their sizes: (N, 4)."""
    placed: list[np.ndarray] = []
    for _ in range(n):
        size = rng.uniform(4 * JITTER_PX, largest, 2)
        if (size >= shape_hw[::-1]).any():
            continue
        corner = rng.uniform(0, np.array(shape_hw[::-1]) - size)
        box = np.concatenate([corner, corner + size])
        if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in placed):
            placed.append(box)
    return np.array(placed, np.float32).reshape(-1, 4)


def seen_by(tile, truth, labels, rng) -> Detections:
    """What a detector with a jitter of `JITTER_PX` a corner reports in one view: whole cells, and parts that show at the border."""
    x0, y0, x1, y1 = tile.view
    visible = (truth[:, 0] < x1 - 4) & (truth[:, 2] > x0 + 4) & (truth[:, 1] < y1 - 4) & (truth[:, 3] > y0 + 4)
    cut = boxes.clip(truth[visible] - np.array([x0, y0, x0, y0], np.float32), (y1 - y0, x1 - x0))
    moved = cut + rng.uniform(-JITTER_PX, JITTER_PX, cut.shape)
    moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:] - 1), moved[:, 2:]], axis=1)
    return Detections(moved, rng.uniform(0.3, 1, len(cut)), labels[visible])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=SEEDS, shape_hw=st.tuples(st.integers(60, 500), st.integers(60, 500)), tile_px=st.integers(64, 300), share=st.floats(0.25, 0.6),
    snug=st.booleans(),
)  # fmt: skip
def test_no_cell_is_lost_and_none_is_doubled_at_a_seam(seed, shape_hw, tile_px, share, snug):
    overlap_px = int(tile_px * share)
    largest = overlap_px - 2 * SLACK_PX
    if largest <= 4 * JITTER_PX:
        return
    rng = np.random.default_rng(seed)
    truth = scatter(rng, shape_hw, largest, 40)
    labels = rng.integers(0, 3, len(truth))
    tiles = plan_tiles(shape_hw, tile_px=tile_px, overlap_px=overlap_px, snug=snug)
    merged = merge(tiles, [seen_by(tile, truth, labels, rng) for tile in tiles], iou=0.5)
    gap = np.abs(boxes.centres(merged.boxes)[:, None] - boxes.centres(truth)[None]).max(axis=2)  # (N, M)
    # a part of a cell, seen at the border of a view within the slack of its core, may stand for the whole: off, but counted once
    near = (gap <= JITTER_PX + SLACK_PX) & (merged.labels[:, None] == labels[None])
    assert len(merged) == len(truth)
    assert near.any(axis=0).all()


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 30))
def test_merging_one_tile_is_plain_suppression(seed, n):
    rng = np.random.default_rng(seed)
    found = Detections(random_boxes(rng, n), rng.random(n), rng.integers(0, 2, n))
    tiles = plan_tiles((100, 100), tile_px=100, overlap_px=10)
    assert merge(tiles, [found]) == boxes.suppress(found, iou_above=0.5)


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 12), m=st.integers(0, 12))
def test_iou_agrees_with_the_slow_loop(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, n), random_boxes(rng, m)
    slow = np.zeros((n, m))
    for i, (ax0, ay0, ax1, ay1) in enumerate(a.astype(float)):
        for j, (bx0, by0, bx1, by1) in enumerate(b.astype(float)):
            inter = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
            union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - inter
            slow[i, j] = inter / union if union > 0 else 0
    found = boxes.iou(a, b)
    np.testing.assert_allclose(found, slow, atol=1e-4)
    np.testing.assert_allclose(found, boxes.iou(b, a).T, atol=1e-6)
    assert ((found >= 0) & (found <= 1 + 1e-5)).all()


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 40), limit=st.floats(0, 1))
def test_suppression_agrees_with_the_slow_loop(seed, n, limit):
    rng = np.random.default_rng(seed)
    found = Detections(random_boxes(rng, n), rng.choice([0.2, 0.5, 0.8], n), rng.integers(0, 2, n))  # ties on purpose
    kept: list[int] = []
    for i in sorted(range(n), key=lambda i: (-found.scores[i], i)):
        rivals = [j for j in kept if found.labels[j] == found.labels[i]]
        if not any(boxes.iou(found.boxes[i : i + 1], found.boxes[j : j + 1])[0, 0] > limit for j in rivals):
            kept.append(i)
    assert boxes.suppress(found, iou_above=limit) == found.take(np.array(kept, np.int64))


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 20), height=st.integers(1, 6000), width=st.integers(1, 6000))
def test_yolo_rows_come_back_to_a_hundredth_of_a_pixel(seed, n, height, width):
    relative = random_boxes(np.random.default_rng(seed), n, side=1.0)
    corners = relative * np.array([width, height, width, height], np.float32)
    np.testing.assert_allclose(boxes.from_yolo(boxes.to_yolo(corners, (height, width)), (height, width)), corners, atol=0.01)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=SEEDS, n=st.integers(0, 20), height=st.integers(8, 4000), width=st.integers(8, 4000))
def test_label_files_come_back_to_a_hundredth_of_a_pixel(tmp_path_factory, seed, n, height, width):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.9, (n, 2))
    relative = np.concatenate([corner, corner + rng.uniform(0.01, 0.1, (n, 2))], axis=1)
    truth = Detections(relative * [width, height, width, height], np.ones(n), rng.integers(0, 3, n))
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    write_labels(path, truth, (height, width))
    back = read_labels(path, (height, width), 3)
    assert back.labels.tolist() == truth.labels.tolist()
    np.testing.assert_allclose(back.boxes, truth.boxes, atol=0.01)


@SETTINGS
@given(seed=SEEDS, n=st.integers(0, 20))
def test_clipped_boxes_lie_inside_and_clipping_again_changes_nothing(seed, n):
    anywhere = random_boxes(np.random.default_rng(seed), n, side=300.0) - 100
    once = boxes.clip(anywhere, (80, 120))
    assert (once >= 0).all()
    assert (once[:, 2:] <= [120, 80]).all()
    assert (once[:, 2:] >= once[:, :2]).all()
    np.testing.assert_array_equal(boxes.clip(once, (80, 120)), once)


@pytest.mark.slow
def test_merging_ten_thousand_cells_is_quick():
    import time

    rng = np.random.default_rng(0)
    truth = scatter(rng, (9000, 9000), 60, 4500)
    tiles = plan_tiles((9000, 9000), tile_px=640, overlap_px=160)
    found = [seen_by(tile, truth, np.zeros(len(truth), int), rng) for tile in tiles]
    started = time.process_time()
    assert len(merge(tiles, found)) == len(truth)
    assert time.process_time() - started < 3
