"""The running average of a network's weights, which predicts better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a network's weights; its buffers are the latest.

    Parameters
    ----------
    network
        The network, on the device of its training.
    memory
        Share of the average that is kept at each step, 0..1; less in the first steps, so that the
        first weights are soon forgotten. 0 keeps the latest weights.
    """

    def __init__(self, network: nn.Module, memory: float) -> None:
        self.parameters = list(network.parameters())
        self.names = [name for name, _ in network.named_parameters()]
        self.memory = memory
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        memory = min(self.memory, (1.0 + step) / (10.0 + step))
        weights = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(self.average, weights, 1.0 - memory)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the network have the average for a while, then its own weights again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> dict[str, Tensor]:
        """Give a copy of the average by name."""
        pairs = zip(self.names, self.average, strict=True)
        return {name: tensor.cpu().contiguous().clone() for name, tensor in pairs}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        for name, tensor in zip(self.names, self.average, strict=True):
            tensor.copy_(state[name])

    def _exchange(self) -> None:
        for parameter, average in zip(self.parameters, self.average, strict=True):
            held = parameter.data.clone()
            parameter.data.copy_(average)
            average.copy_(held)
