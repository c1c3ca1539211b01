"""Exponential moving average of a network's weights, which predicts better than the last ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sarcast.prediction.networks.base import Network


def averaged_model(network: Network, decay: float) -> AveragedModel:
    """Average the weights of a network, its initial ones included; buffers are the latest.

    Parameters
    ----------
    network
        The network, on the device of its training.
    decay
        Share d of the average that is kept at each step, 0..1. At the n-th step, counted from 1,
        it is min(d, n / (n + 9)), so that the initial weights are soon forgotten.
    """
    average = AveragedModel(network, multi_avg_fn=_with_rising_decay(decay))
    average.n_averaged.fill_(1)
    return average


def _with_rising_decay(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def update(average: list[Tensor], latest: list[Tensor], averaged: Tensor) -> None:
        number = float(averaged)
        torch._foreach_lerp_(average, latest, 1.0 - min(decay, number / (number + 9.0)))

    return update


@contextmanager
def average_in_use(network: nn.Module, average: AveragedModel) -> Iterator[None]:
    """Put the averaged weights into a network, and its own back at the end."""
    own = [parameter.detach().clone() for parameter in network.parameters()]
    _copy_weights(average.module.parameters(), network)
    try:
        yield
    finally:
        _copy_weights(own, network)


def average_state(average: AveragedModel) -> dict[str, Tensor]:
    """Copy the averaged weights of a network, by name."""
    named = average.module.named_parameters()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named}


def restore_average(average: AveragedModel, state: Mapping[str, Tensor], steps: int) -> None:
    """Restore what ``average_state`` gave after so many steps."""
    for name, tensor in average.module.named_parameters():
        tensor.detach().copy_(state[name])
    average.n_averaged.fill_(steps + 1)


def _copy_weights(weights: Iterable[Tensor], network: nn.Module) -> None:
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.detach().copy_(weight.detach())
