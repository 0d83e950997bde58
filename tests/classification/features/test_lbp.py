import builtins

import numpy as np
import pytest

from classification.features.lbp import LBP
from smear.errors import MissingExtra

ALL = np.ones((1, 112, 112), bool)


def patterns(grey: np.ndarray, mask: np.ndarray = ALL) -> np.ndarray:
    return LBP(np.repeat(grey[None, :, :, None], 3, axis=3).astype(np.uint8), mask, mask)[0]


def test_shares_of_each_ring_sum_to_one():
    found = patterns(np.random.default_rng(0).integers(0, 256, (112, 112)))
    assert found.shape == (28,)
    assert found[:10].sum() == pytest.approx(1)
    assert found[10:].sum() == pytest.approx(1)


def test_a_constant_picture_has_no_darker_neighbour(ellipse):
    found = patterns(np.full((112, 112), 90), ellipse(112, 20, 20)[None])
    assert found[8] == 1  # all eight neighbours are at least as light
    assert found[10 + 16] == 1


def test_a_straight_edge_has_half_its_neighbours_lighter(ellipse):
    """Along a slope of grey about half of the ring is lighter; which half does not matter."""
    slope = np.tile(np.arange(112) * 2, (112, 1))
    for grey in (slope, slope[:, ::-1], slope.T):
        found = patterns(grey, ellipse(112, 30, 30)[None])
        assert found[3:6].sum() == pytest.approx(1)


def test_a_quarter_turn_changes_little(ellipse):
    grey, mask = np.random.default_rng(1).integers(0, 256, (112, 112)), ellipse(112, 40, 25)[None]
    np.testing.assert_allclose(patterns(np.rot90(grey), np.rot90(mask, axes=(1, 2)).copy()), patterns(grey, mask), atol=0.02)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch):
    def refuse(name, *rest, _real=builtins.__import__, **more):
        if name.startswith("skimage"):
            raise ImportError(name)
        return _real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"'lbp' needs the package 'scikit-image'.*leukofield\[papers\]"):
        patterns(np.zeros((112, 112)))
