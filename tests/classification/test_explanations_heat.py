"""Shares of the heat, maps without knowledge, and how a map looks."""

import numpy as np
import pytest

from classification.explanations.heat import SHOWN_PX, ZONES, centre_maps, overlay, random_maps, rank, zone_shares


def masks(n: int = 1, side: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A cell of 12 × 12 pixels in the middle, its nucleus of 6 × 6."""
    cells, nuclei = np.zeros((n, side, side), bool), np.zeros((n, side, side), bool)
    cells[:, 4:16, 4:16] = nuclei[:, 7:13, 7:13] = True
    return cells, nuclei


def test_zones_share_all_of_the_heat() -> None:
    cells, nuclei = masks()
    heat = np.zeros((1, 20, 20), np.float32)
    heat[0, 8, 8], heat[0, 5, 5], heat[0, 0, 0] = 3, 2, 5
    assert {zone: share.tolist() for zone, share in zone_shares(heat, cells, nuclei).items()} == {
        "nucleus": [0.3],
        "cytoplasm": [0.2],
        "outside": [0.5],
    }
    even = zone_shares(np.ones((1, 20, 20), np.float32), cells, nuclei)
    assert [even[zone][0] for zone in ZONES] == pytest.approx([36 / 400, 108 / 400, 256 / 400])


def test_what_is_not_known_is_not_a_share_of_nothing() -> None:
    cells, nuclei = masks(4)
    cells[1] = nuclei[1] = nuclei[2] = False
    heat = np.ones((4, 20, 20), np.float32)
    heat[3] = 0
    found = zone_shares(heat, cells, nuclei)
    assert np.isnan(found["outside"]).tolist() == [False, True, False, True]
    assert np.isnan(found["nucleus"]).tolist() == [False, True, True, True]
    assert np.isnan(found["cytoplasm"]).tolist() == [False, True, True, True]


def test_no_cell_keeps_every_shape() -> None:
    cells, nuclei = masks(0)
    nothing = np.zeros((0, 20, 20), np.float32)
    assert {share.shape for share in zone_shares(nothing, cells, nuclei).values()} == {(0,)}
    assert random_maps(0, 20, (4, 4), seed=0).shape == centre_maps(0, 20).shape == rank(nothing, seed=0).shape == (0, 20, 20)


def test_a_random_map_is_as_coarse_as_asked_and_follows_from_its_seed() -> None:
    two, again, other = (random_maps(3, 40, (2, 2), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(two, again)
    assert not np.array_equal(two, other)
    assert (two.min(axis=(1, 2)) == 0).all()
    assert two.max(axis=(1, 2)) == pytest.approx([1, 1, 1])
    assert np.abs(np.diff(two, axis=2)).max() < np.abs(np.diff(random_maps(3, 40, (20, 20), seed=1), axis=2)).max()
    assert (random_maps(1, 40, (1, 1), seed=0) == 0).all()  # one place has no hottest


def test_the_centre_map_is_hottest_in_the_middle_and_round() -> None:
    spot = centre_maps(1, 21)[0]
    assert np.unravel_index(spot.argmax(), spot.shape) == (10, 10)
    np.testing.assert_allclose(spot, spot.T, atol=1e-6)
    np.testing.assert_allclose(spot, spot[::-1], atol=1e-6)


def test_ranks_keep_the_order_and_leave_no_two_pixels_alike() -> None:
    """A map with a plateau loses as many pixels as any other: a percentile of it takes exactly its share."""
    heat = np.zeros((1, 30, 30), np.float32)
    heat[0, 3:6, 3:6] = 1.0
    found = rank(heat, seed=0)
    assert len(np.unique(found)) == 900
    assert found[0, 3:6, 3:6].min() > np.delete(found.ravel(), (np.arange(3, 6)[:, None] * 30 + np.arange(3, 6)).ravel()).max()
    assert (found >= np.percentile(found, 90)).sum() == 90


def test_colour_means_heat_and_nothing_else() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    crop[..., 0] = 255
    heat = np.zeros((20, 20), np.float32)
    heat[:, 10:] = 1
    nothing = np.zeros((20, 20), bool)
    shown = overlay(crop, heat, nothing, nothing).astype(int)
    assert shown.shape == (SHOWN_PX, SHOWN_PX, 3)
    cold, hot = shown[:, : SHOWN_PX // 3], shown[:, -SHOWN_PX // 3 :]
    assert (cold[..., 2] > cold[..., 0]).all()  # blue
    assert (hot[..., 0] > hot[..., 2]).all()  # yellow
    assert hot.mean() > cold.mean()  # also in grey, on a printer


def test_outlines_of_the_masks_are_drawn_in_white() -> None:
    cells, nuclei = masks()
    shown = overlay(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.float32), cells[0], nuclei[0])
    white = (shown > 128).all(axis=2)
    middle = white[SHOWN_PX // 2]
    assert len(np.flatnonzero(np.diff(middle.astype(int)) == 1)) == 4  # in and out of the cell, in and out of its nucleus
