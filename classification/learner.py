"""A network while it learns: what one step changes, and what a checkpoint must hold of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from classification.mixing import mix_batch
from classification.networks import Network
from classification.settings import TrainSettings
from classification.steps import autocast, cell_losses, choose_precision, learning_rate, make_optimiser, penalty, update_average


@dataclass(frozen=True)
class Learner:
    """A network in channels_last on its device, its optimiser, the scale of its 16-bit gradients, and its running average."""

    network: Network
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, Tensor]
    device: torch.device
    precision: torch.dtype
    settings: TrainSettings

    @classmethod
    def of(cls, network: Network, settings: TrainSettings, device: torch.device) -> Self:
        """At the first step; the network moves to the device. Raises ConfigError as `choose_precision`."""
        precision = choose_precision(settings.precision, device)
        network = network.to(device, memory_format=torch.channels_last)
        optimiser = make_optimiser(network, settings.optimiser, device)
        scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        return cls(network, optimiser, scaler, average, device, precision, settings)

    def step(self, pictures: Tensor, labels: Tensor, weights: Tensor, *, number: int, n_steps: int) -> Tensor:
        """Learn from one batch; returns its loss before that, still on the device.

        Args:
            pictures: (B, 3, S, S) float32 on the device.
            labels, weights: (B,) int64 and float32 on the device.
            number: of this step, from 0 over the whole run.
            n_steps: of one epoch.
        """
        rate = learning_rate(number, self.settings, n_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        how = self.settings.optimiser
        pictures, labels, weights = mix_batch(pictures, labels, weights, self.settings, number=number)
        with autocast(self.device, self.precision):
            logits = self.network(pictures)
        each = cell_losses(logits, labels, smoothing=how.label_smoothing)
        loss = (each * weights).mean()
        if how.l1 or how.l2:
            loss = loss + penalty(self.network.head, l1=how.l1, l2=how.l2)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        if how.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), how.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        update_average(self.average, self.network, decay=how.ema, step=number)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """All that `load_state` needs to go on as if nothing had happened."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
