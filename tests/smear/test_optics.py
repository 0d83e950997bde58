"""Pixels go to the device only where every network takes them there."""

from types import SimpleNamespace

import pytest

from smear.optics import HostOptics, optics_for


def network(device: str, takes_tensors: bool = True) -> SimpleNamespace:
    return SimpleNamespace(device=device, takes_tensors=takes_tensors)


@pytest.mark.parametrize(
    "networks",
    [
        [network("cpu"), network("cpu")],
        [network("cuda:0"), network("cpu")],
        [network("cuda:0"), network("cuda:1")],
        [network("cuda:0"), network("cuda:0", takes_tensors=False)],
        [SimpleNamespace(device="cuda:0")],  # a runtime that knows nothing of tensors
    ],
)
def test_mixed_networks_are_fed_by_the_host(networks: list) -> None:
    assert isinstance(optics_for(networks), HostOptics)


@pytest.mark.parametrize("n", [1, 2])
def test_networks_on_one_gpu_are_fed_there(n: int) -> None:
    assert optics_for([network("cuda:1")] * n).device == "cuda:1"
