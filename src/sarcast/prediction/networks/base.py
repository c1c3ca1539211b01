"""The base class of networks: what training, model folders and prediction need of one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from sarcast.prediction.networks.context import Blocks, fit
from sarcast.windows import Batch


class Prediction(NamedTuple):
    """Output of a network: the expected image and its uncertainty.

    Attributes
    ----------
    mean
        Dims (window, band, y, x), dB.
    log_variance
        Dims (window, band, y, x), natural logarithm of dB²; None from a network without variance.
    window_variance
        Dims (window, band, 1, 1), dB²: variance over the previous images, by which the loss weighs
        the windows; None from a network whose loss does not.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    window_variance: Tensor | None = None


class Network(nn.Module, ABC):
    """A module that predicts expected images from the inputs of a ``windows.Batch``.

    To add a network: derive from this class, and add it to ``NETWORKS`` in
    ``sarcast.prediction.model_folder``.

    Attributes
    ----------
    kind
        Its name in ``model.yaml``.
    compiled
        Classes of the submodules that are worth compiling.
    multiple
        Rows and columns are padded to a multiple of this.
    min_batch
        Smallest number of windows in a training batch: 2 where batch norm needs a spread.
    size, previous
        As in ``windows.Predictor``.
    uses_context
        Whether the expected image depends on the scene context of the target.
    options
        Options of the architecture.
    ignored
        Names of the conditions that count as missing in every window.
    """

    kind: ClassVar[str]
    compiled: ClassVar[tuple[type[nn.Module], ...]] = ()
    multiple: ClassVar[int] = 1
    min_batch: ClassVar[int] = 1
    size: int | None = None
    previous: int | None = None
    uses_context: ClassVar[bool] = False
    options: BaseModel
    ignored: tuple[str, ...]

    @abstractmethod
    def forward(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        context: Tensor | None = None,
    ) -> Prediction:
        """Predict the expected image; arguments as in ``windows.Batch``."""

    def predict_targets(self, batch: Batch, targets: int) -> Prediction:
        """Predict windows of which each run of ``targets`` has the same baseline.

        Networks that can encode a baseline once for all its targets override this.
        """
        del targets
        prediction: Prediction = self(*batch.inputs())
        return prediction

    def scene_blocks(self, batch: Batch, targets: int = 1) -> Blocks:
        """Compute the blocks that scene context is fitted to, for networks that use it.

        Each run of ``targets`` windows has the same baseline.
        """
        raise NotImplementedError(f"the network {self.kind} uses no scene context")

    def scene_context(self, batch: Batch, targets: int = 1) -> Tensor:
        """Compute the scene context of a batch from its targets.

        Each run of ``targets`` windows has the same baseline.

        Returns
        -------
        Tensor
            As ``context`` of ``windows.Batch``; NaN for a window that is too small, unseen, or
            mostly changed.
        """
        return fit(self.scene_blocks(batch, targets))

    @abstractmethod
    def loss(self, prediction: Prediction, target: Tensor, goal: Tensor | None = None) -> Tensor:
        """Compute the scalar that training minimises.

        Parameters
        ----------
        prediction
            Output of ``forward``.
        target
            Dims (window, band, y, x), dB; NaN is ignored.
        goal
            Image that the mean is fitted to, dims as ``target``; None for the target itself.
        """

    @abstractmethod
    def normalisation(self) -> dict[str, Any]:
        """Give what ``build`` needs besides the options, as plain values for ``model.yaml``."""

    @classmethod
    @abstractmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> Self:
        """Make the network that ``model.yaml`` describes, with random weights."""

    def with_ignored(self, names: Sequence[str]) -> Self:
        """Give a copy of the network that ignores these conditions, and no others."""
        copied = deepcopy(self)
        copied.ignored = tuple(names)
        return copied

    def channels_last(self) -> Self:
        """Store the weights in the order that convolutions compute fastest with; give the network.

        The values stay the same.
        """
        module: Any = self  # torch's annotations of ``to`` lack the memory format
        module.to(memory_format=torch.channels_last)
        return self


class ContrastNetwork(Network):
    """A network that can also be trained on how far other conditions move the expected image."""

    @abstractmethod
    def contrast(
        self, prediction: Prediction, other: Prediction, moved: Tensor, weight: Tensor
    ) -> Tensor:
        """Compute the error of the difference between two conditions, as a scalar.

        Parameters
        ----------
        prediction, other
            Outputs of ``forward`` for the same windows under the first and the second conditions.
        moved
            Dims (window, band, y, x), dB: the true expected image under the second conditions minus
            that under the first.
        weight
            Dims (window, 1, y, x): weight of each pixel, 0 in windows that do not count.
        """
