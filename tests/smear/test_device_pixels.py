"""What a device cuts and resizes is what the host cuts and resizes, and an analysis with it finds the same cells."""

import numpy as np
import pytest
import torch

from smear.device_pixels import DeviceOptics
from smear.models import CropContract
from smear.optics import HostOptics

RNG = np.random.default_rng(3)
FIELD = RNG.integers(0, 256, (180, 240, 3), dtype=np.uint8)
BOXES = np.array(
    [[50, 60, 90, 100], [0, 0, 30, 20], [215.5, 150.2, 240, 180], [-40, -40, -10, -10], [100, 5, 131, 61], [0, 0, 240, 180]], np.float32
)


def both(contract: CropContract, *, rbc_px: float = 20.3, out_px: int = 32, boxes: np.ndarray = BOXES):
    there, here = DeviceOptics("cpu"), HostOptics()
    options = {"rbc_px": rbc_px, "out_px": out_px}
    return there.cut(there.place(FIELD), boxes, contract, **options), here.cut(FIELD, boxes, contract, **options)


@pytest.mark.parametrize("unit", ["rbc", "box"])
@pytest.mark.parametrize("background", ["kept", "ellipse", "black"])
@pytest.mark.parametrize("rbc_px", [4.0, 20.3, 90.0])  # crops grow, shrink, and reach far beyond the field
def test_cells_are_cut_as_on_the_host(unit: str, background: str, rbc_px: float) -> None:
    (found, said), (expected, warnings) = both(CropContract(unit=unit, width=2.5, background=background), rbc_px=rbc_px)
    assert said == warnings
    off = np.abs(np.stack([view.numpy() for view in found]).astype(int) - np.stack(expected))
    assert off.max() <= 1
    assert (off == 0).mean() > 0.99


def test_no_cells_are_cut_into_nothing() -> None:
    for background in ("kept", "black"):
        assert both(CropContract(background=background), boxes=BOXES[:0]) == (([], []), ([], []))


def test_large_cells_are_cut_in_several_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = both(CropContract())
    monkeypatch.setattr("smear.device_pixels.MAX_CROP_PIXELS", 2 * 61**2)
    alone, _ = both(CropContract())
    for a, b in zip(together[0], alone[0], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_scale_that_is_not_a_number_is_refused_as_on_the_host() -> None:
    for optics in (DeviceOptics("cpu"), HostOptics()):
        with pytest.raises(ValueError, match="cannot crop"):
            optics.cut(optics.place(FIELD), BOXES, CropContract(), rbc_px=float("nan"), out_px=32)


def test_a_read_only_image_can_be_placed_and_stays_as_it_is() -> None:
    image = FIELD.copy()
    image.setflags(write=False)
    optics = DeviceOptics("cpu")
    np.testing.assert_array_equal(optics.fetch(optics.resize(optics.place(image), 1.0)), FIELD)


@pytest.mark.gpu
def test_a_field_on_cuda_is_cut_and_resized_as_on_the_cpu() -> None:
    there, here = DeviceOptics("cuda:0"), DeviceOptics("cpu")
    for factor in (0.4, 1.7):
        seen = there.fetch(there.resize(there.place(FIELD), factor)).astype(int)
        assert np.abs(seen - here.fetch(here.resize(here.place(FIELD), factor))).max() <= 1
    options = {"rbc_px": 20.3, "out_px": 32}
    cut, _ = there.cut(there.place(FIELD), BOXES, CropContract(), **options)
    expected, _ = here.cut(here.place(FIELD), BOXES, CropContract(), **options)
    assert np.abs(there.fetch(there.stack(cut)).astype(int) - here.fetch(here.stack(expected))).max() <= 1
