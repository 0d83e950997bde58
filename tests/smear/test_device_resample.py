"""Resizing of tensors is OpenCV's resizing, to a grey level."""

import numpy as np
import pytest
import torch

from smear.device_resample import resample
from smear.images import resize

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (151, 203, 3), dtype=np.uint8)  # the hardest picture: neighbours have nothing in common
SHRINK = (0.01, 0.05, 0.1, 0.25, 1 / 3, 0.37, 0.5, 0.5001, 0.6, 2 / 3, 0.75, 0.9, 0.97, 0.999)
GROW = (1.001, 1.1, 1.5, 2, 2.37, 3, 4.1)


def differences(image: np.ndarray, factor: float) -> np.ndarray:
    expected = resize(image, factor)
    found = resample(torch.from_numpy(image), expected.shape[:2])
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, expected.shape)
    return np.abs(expected.astype(int) - found.numpy())


@pytest.mark.parametrize("factor", [*SHRINK, *GROW])
def test_any_factor_is_opencv_s_to_a_grey_level(factor: float) -> None:
    off = differences(NOISE, factor)
    assert off.max() <= 1
    assert (off == 0).mean() > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (64, 5), (96, 96), (97, 193)])
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.8, 1.0, 1.7])
def test_any_shape_is_opencv_s_to_a_grey_level(shape: tuple[int, int], factor: float) -> None:
    assert differences(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8), factor).max(initial=0) <= 1


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("factor", [0.37, 0.5, 2.37])
def test_an_even_picture_stays_even(level: int, factor: float) -> None:
    image = np.full((41, 67, 3), level, np.uint8)
    assert (resample(torch.from_numpy(image), resize(image, factor).shape[:2]) == level).all()


def test_a_picture_is_resized_as_if_it_were_alone() -> None:
    many = torch.from_numpy(RNG.integers(0, 256, (5, 40, 40, 3), dtype=np.uint8))
    together = resample(many, (23, 23))
    for one, view in zip(many, together, strict=True):
        torch.testing.assert_close(resample(one, (23, 23)), view, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("factor", [*SHRINK, *GROW])
def test_cuda_resizes_as_the_cpu_does(factor: float) -> None:
    here = torch.from_numpy(NOISE)
    shape_hw = resize(NOISE, factor).shape[:2]
    off = (resample(here.cuda(), shape_hw).cpu().int() - resample(here, shape_hw).int()).abs()
    assert int(off.max()) <= 1
    assert float((off == 0).float().mean()) > 0.99
