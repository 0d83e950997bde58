"""The pieces of a training step: rates, losses that punish large weights, and the four optimisers."""

import pytest
import torch
from torch import nn

from classification.learner import Learner
from classification.networks import build
from classification.settings import Optimiser, TrainSettings
from classification.steps import learning_rate, make_optimiser, penalty

CPU = torch.device("cpu")


def settings(**optimiser: object) -> TrainSettings:
    return TrainSettings.model_validate({"model": "tiny", "head": "plain", "precision": "float32", "epochs": 4, "optimiser": optimiser})


def rates(how: TrainSettings) -> list[float]:
    return [learning_rate(step, how, 10) for step in range(40)]


def test_a_constant_rate_stays_where_the_warm_up_ends_and_a_cosine_falls_to_zero() -> None:
    constant, cosine = (rates(settings(lr=0.1, schedule=name, warmup_epochs=1)) for name in ("constant", "cosine"))
    assert constant[:10] == cosine[:10] == sorted(constant[:10])
    assert constant[10:] == [0.1] * 30
    assert cosine[10] == 0.1
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert cosine[-1] < 0.001


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("adamax", torch.optim.Adamax), ("sgd", torch.optim.SGD)]
)
def test_an_optimiser_is_the_one_of_its_name_and_lowers_the_loss(name: str, kind: type) -> None:
    torch.manual_seed(0)
    rate = 0.1 if name == "sgd" else 0.01
    learner = Learner.of(build("tiny", "plain", 2), settings(name=name, lr=rate, schedule="constant", warmup_epochs=0, weight_decay=0), CPU)
    assert type(learner.optimiser) is kind
    pictures, labels = torch.rand(8, 3, 32, 32), torch.arange(8) % 2
    losses = [learner.step(pictures, labels, torch.ones(8), number=i, n_steps=30).item() for i in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_sgd_has_the_momentum_of_the_settings() -> None:
    optimiser = make_optimiser(nn.Linear(2, 2), Optimiser(name="sgd", momentum=0.7, weight_decay=0.01), CPU)
    assert [(group["momentum"], group["weight_decay"]) for group in optimiser.param_groups] == [(0.7, 0.01), (0.7, 0.0)]


@pytest.mark.parametrize(("head", "punished"), [("resnet50_cnn", [3]), ("modified_cnn", [2, 4]), ("plain", [2]), ("leukodetect", [3])])
def test_the_penalty_is_of_the_dense_layers_but_the_last_or_of_the_only_one(head: str, punished: list[int]) -> None:
    made = build("tiny", head, 2).head
    weights = torch.cat([made[i].weight.flatten() for i in punished])
    found = penalty(made, l1=0.25, l2=0.5)
    torch.testing.assert_close(found, 0.25 * weights.abs().sum() + 0.5 * weights.square().sum())
    found.backward()
    assert [i for i, layer in enumerate(made) if isinstance(layer, nn.Linear) and layer.weight.grad is not None] == punished


def test_punished_weights_become_smaller() -> None:
    size = {}
    for l1 in (0.0, 0.01):
        torch.manual_seed(0)
        how = settings(name="adamax", lr=0.005, schedule="constant", warmup_epochs=0, weight_decay=0, l1=l1)
        learner = Learner.of(build("tiny", "resnet50_cnn", 2), how, CPU)
        for i in range(20):
            learner.step(torch.rand(4, 3, 32, 32), torch.arange(4) % 2, torch.ones(4), number=i, n_steps=20)
        size[l1] = learner.network.head[3].weight.abs().mean().item()
    assert size[0.01] < 0.8 * size[0.0]


@pytest.mark.parametrize(("clip", "moved"), [(1e-6, False), (0.0, True)])
def test_a_gradient_is_clipped_unless_the_norm_is_zero(clip: float, moved: bool) -> None:
    torch.manual_seed(0)
    network = build("tiny", "plain", 2)
    before = network.head[2].weight.detach().clone()
    how = settings(name="sgd", lr=0.1, warmup_epochs=0, momentum=0.0, weight_decay=0, clip_norm=clip)
    Learner.of(network, how, CPU).step(torch.rand(4, 3, 32, 32), torch.arange(4) % 2, torch.ones(4), number=0, n_steps=2)
    assert ((network.head[2].weight - before).norm().item() > 1e-5) is moved
