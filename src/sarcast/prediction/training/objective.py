"""The loss that training minimises, from a batch of windows."""

from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor

from sarcast.prediction.networks.base import ContrastNetwork, Network, Prediction
from sarcast.prediction.training.options import TrainOptions
from sarcast.windows import Batch

MIN_COMPILED_PX = 64
"""Rows of the smallest windows that a network is compiled for; compiling a size takes a minute."""

FOREST_WEIGHT = 3.0
"""Weight of forest beside other ground in the contrast. The network cannot know for certain what
the ground is, so that it responds too strongly in forest, whose own response is the weakest; and
in forest an exaggerated response hides change."""


class Objective:
    """The loss of a network on batches of windows.

    Parameters
    ----------
    network
        The network, whose ``loss`` and ``contrast`` are used.
    module
        The same network as Lightning Fabric wraps it, whose ``forward`` is used.
    options
        Number format, and weights of oracle and contrast.
    device
        Type of the device, such as ``"cuda"``.
    """

    def __init__(self, network: Network, module: Any, options: TrainOptions, device: str) -> None:
        self.network, self.module = network, module
        self._options, self._device = options, device

    def loss(self, batch: Batch, share_done: float) -> Tensor:
        """Compute the loss of a batch; ``share_done`` is the share of the training that is done."""
        target, goal = self.targets(batch, share_done)
        prediction = self.predict(batch)
        loss = self.network.loss(prediction, target, goal)
        if not self._options.contrast or batch.counterfactual_conditions is None:
            return loss
        return loss + self._options.contrast * self._contrast(batch, prediction)

    def targets(self, batch: Batch, share_done: float) -> tuple[Tensor, Tensor]:
        """Give the image that is predicted, and the image that the mean is fitted to.

        Parameters
        ----------
        batch
            Windows of a cube or of a world.
        share_done
            Share s of the training that is done, 0..1.

        Returns
        -------
        Tensor
            Dims (window, band, y, x), dB: the target, NaN where the ground changed.
        Tensor
            The same dims: the goal g where it is known and else the target. Where the expected
            image e of a world is known, g − w (g − e − b), with w = ``oracle`` (1 − s), and b the
            mean of g − e over a window, for weather that is not in the conditions.
        """
        goal = target = batch.mask_changes().target
        if batch.goal is not None:
            goal = torch.where(torch.isfinite(batch.goal), batch.goal, target)
        if batch.expected is None or not self._options.oracle:
            return target, goal
        difference = goal - batch.expected
        bias = difference.nanmean(dim=(2, 3), keepdim=True)
        weight = self._options.oracle * (1.0 - share_done)
        return target, goal - weight * (difference - bias)

    def predict(self, batch: Batch) -> Prediction:
        """Predict in the number format of the training; the inputs stay 32 bits."""
        mixed = self._options.precision == "bf16-mixed"
        with ExitStack() as stack:
            if batch.target.shape[-1] < MIN_COMPILED_PX:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(torch.autocast(self._device, torch.bfloat16, enabled=mixed))
            prediction: Prediction = self.module(*batch.inputs())
        return prediction

    def _contrast(self, batch: Batch, prediction: Prediction) -> Tensor:
        """Compute the error of the difference between a batch's two sets of conditions."""
        other = batch.counterfactual()
        assert batch.expected is not None and other.expected is not None
        assert batch.counterfactual_conditions is not None
        known = torch.isfinite(batch.counterfactual_conditions).all(dim=1)
        moved = other.expected - batch.expected
        weight = torch.ones_like(batch.expected[:, :1])
        if batch.forest is not None:
            weight = weight + (FOREST_WEIGHT - 1.0) * batch.forest[:, None]
        network = cast(ContrastNetwork, self.network)
        return network.contrast(
            prediction, self.predict(other), moved, known[:, None, None, None] * weight
        )
