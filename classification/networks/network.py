"""Front, features, head: the one shape of all networks, and how a part of one is kept from learning."""

from typing import Self

from torch import Tensor, nn


class Network(nn.Module):
    """front → features → head; (B, 3, S, S) float, normalised, S as the backbone needs → (B, 1) or (B, C) logits.

    The names of `features` are the library's own, so its published weights fit without translation.
    """

    def __init__(self, front: nn.Module, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.front, self.features, self.head = front, features, head
        self._resting: tuple[nn.Module, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.front(x)))

    def rest_all_but(self, last: int) -> None:
        """Only the head and the last blocks of the features learn on; a block is a child of `features` that has weights.

        What rests keeps its batch statistics too: it works as in use, whatever the mode of the network.
        """
        blocks = [child for child in self.features.children() if any(True for _ in child.parameters())]
        self._resting = tuple(blocks[: max(0, len(blocks) - last)])
        self.features.requires_grad_(True)
        for block in self._resting:
            block.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for block in self._resting:
            block.eval()
        return self
