"""Heat lies where the evidence is, its ROAD says so, and every backbone gives a map."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from classification.explanations.cams import METHODS, find_layer, heat_maps, road_scores
from classification.explanations.heat import centre_maps, random_maps, rank
from classification.networks import Network, build
from classification.networks.backbones import BACKBONES
from smear.errors import MissingExtra

LARGE = ("vgg16", "vgg19", "resnet50", "densenet121", "efficientnet_b0", "efficientnet_b2", "efficientnet_b3", "xception", "mobilenet_v2")
SIDE, PATCH = 32, 8
RED, GREEN = (1.0, 0.2, 0.2), (0.2, 1.0, 0.2)


def patched(n: int = 4) -> torch.Tensor:
    """Grey crops with a little grain, a red patch in the upper left corner and a green one in the lower right."""
    crops = 0.5 + 0.05 * torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    crops[:, :, :PATCH, :PATCH] = torch.tensor(RED)[:, None, None]
    crops[:, :, -PATCH:, -PATCH:] = torch.tensor(GREEN)[:, None, None]
    return crops


def colour_network(n_logits: int) -> Network:
    """Red speaks for class 0, green for class 1, and nothing else counts; one logit or two."""
    see = nn.Conv2d(3, 2, 3, padding=1, bias=False)
    weights = torch.zeros(2, 3, 3, 3)
    weights[0, :, 1, 1], weights[1, :, 1, 1] = torch.tensor([2.0, -1.0, -1.0]), torch.tensor([-1.0, 2.0, -1.0])
    say = nn.Linear(2, n_logits, bias=False)
    with torch.no_grad():
        see.weight.copy_(weights)
        say.weight.copy_(20 * torch.tensor([[1.0, -1.0]] if n_logits == 1 else [[1.0, 0.0], [0.0, 1.0]]))
    features = nn.Sequential(see, nn.Threshold(0.3, 0.0), nn.AvgPool2d(2))
    return Network(nn.Identity(), features, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), say)).eval().requires_grad_(False)


def corner_share(heat: np.ndarray, label: int) -> np.ndarray:
    """How much of each map lies in the corner of the class; its edge is blurred by the resolution of the map."""
    reach = PATCH + 2
    corner = heat[:, :reach, :reach] if label == 0 else heat[:, -reach:, -reach:]
    return corner.sum(axis=(1, 2)) / heat.sum(axis=(1, 2))


@pytest.mark.parametrize("n_logits", [1, 2])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_the_heat_lies_in_the_corner_that_decides(method: str, label: int, n_logits: int) -> None:
    network, crops = colour_network(n_logits), patched()
    layer = find_layer(network, SIDE, METHODS[method].at)
    heat = heat_maps(network, crops, np.full(4, label), method, layer)
    assert heat.shape == (4, SIDE, SIDE)
    assert (corner_share(heat, label) > 0.98).all()


@pytest.mark.parametrize("n_logits", [1, 2])
def test_a_true_map_is_more_faithful_than_a_random_one_and_than_the_other_corner(n_logits: int) -> None:
    network, crops, labels = colour_network(n_logits), patched(), np.zeros(4, np.int64)
    heat = heat_maps(network, crops, labels, "grad_cam", find_layer(network, SIDE, "last"))

    def road(order: np.ndarray) -> np.ndarray:
        return road_scores(network, crops, labels, rank(order, seed=1), temperature=1.0, seed=1)

    true = road(heat)
    assert (true > 0.1).all()
    for other in (random_maps(4, SIDE, (16, 16), seed=2), centre_maps(4, SIDE), heat[:, ::-1, ::-1].copy()):
        assert (true > road(other) + 0.05).all()


def test_only_layer_cam_sees_where_a_head_looks_when_the_map_is_the_same_everywhere() -> None:
    """A head that reads one place of the map: Grad-CAM weighs channels, so it cannot know which."""
    features = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AvgPool2d(2))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 1, bias=False))
    with torch.no_grad():
        features[0].weight.fill_(1.0)
        head[2].weight.zero_()[0, 0] = 1.0
    network = Network(nn.Identity(), features, head).eval()
    crops = 0.5 + 0.1 * torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    shares = {
        name: corner_share(heat_maps(network, crops, np.zeros(2, np.int64), name, find_layer(network, SIDE, method.at)), 0)
        for name, method in METHODS.items()
    }
    assert (shares["layer_cam"] > 0.95).all()
    assert (shares["grad_cam"] < 0.3).all()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in BACKBONES])
def test_every_backbone_gives_maps_of_the_size_of_the_crop(name: str) -> None:
    side = BACKBONES[name].min_px
    torch.manual_seed(0)
    crops = torch.rand(2, 3, side, side)
    network = build(name, "leukodetect", 2).eval().requires_grad_(False)
    for method, how in METHODS.items():
        layer = find_layer(network, side, how.at)
        heat = heat_maps(network, crops, np.array([0, 1]), method, layer)
        assert heat.shape == (2, side, side)
        assert np.isfinite(heat).all()
        assert heat.min() >= 0
        assert heat.max() <= 1
    assert find_layer(network, side, "fine").places >= find_layer(network, side, "last").places


@pytest.mark.slow
def test_the_fine_map_of_the_shipped_network_has_places_smaller_than_a_nucleus() -> None:
    network = build("densenet121", "leukodetect", 2).eval()
    assert find_layer(network, 80, "last").places == (2, 2)
    fine = find_layer(network, 80, "fine")
    assert (fine.name, fine.places) == ("features.denseblock2", (10, 10))


@pytest.mark.parametrize("method", METHODS)
def test_no_crop_is_no_map_and_no_score(method: str) -> None:
    network, nothing = build("tiny", "plain", 2).eval(), torch.zeros(0, 3, SIDE, SIDE)
    layer, labels = find_layer(network, SIDE, METHODS[method].at), np.zeros(0, np.int64)
    heat = heat_maps(network, nothing, labels, method, layer)
    assert heat.shape == (0, SIDE, SIDE)
    assert road_scores(network, nothing, labels, rank(heat, seed=0), temperature=1.0, seed=0).shape == (0,)


def test_explaining_leaves_the_network_and_the_random_numbers_as_they_were() -> None:
    network, crops, labels = build("tiny", "plain", 2).eval().requires_grad_(False), patched(2), np.array([0, 1])
    before, numbers = {n: v.clone() for n, v in network.state_dict().items()}, torch.random.get_rng_state()
    layer = find_layer(network, SIDE, "fine")
    found = [
        road_scores(network, crops, labels, rank(heat_maps(network, crops, labels, "layer_cam", layer), seed=0), temperature=1.0, seed=7)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    network = build("tiny", "plain", 2).eval()
    with pytest.raises(MissingExtra, match=r"needs the package 'grad-cam'.*leukofield\[explain\]"):
        heat_maps(network, patched(1), np.zeros(1, np.int64), "grad_cam", find_layer(network, SIDE, "last"))
