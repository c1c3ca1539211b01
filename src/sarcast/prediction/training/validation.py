"""Windows that are not trained on, and the error of a network on them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sarcast.prediction.networks.base import Network, Prediction
from sarcast.prediction.training.augment import with_context
from sarcast.windows import Batch, Window, collate, group_by_shape


@dataclass(frozen=True)
class ValidationResult:
    """Errors of a network on the validation windows.

    Attributes
    ----------
    loss
        Mean over the windows of the loss.
    rmse_db
        Root mean squared error of each band, dB.
    image
        Dims (1, y, x), 0..1: actual and expected VV of the first window, side by side.
    """

    loss: float
    rmse_db: list[float]
    image: Tensor

    @property
    def error_db2(self) -> float:
        """Mean squared error, averaged over the bands, dB²."""
        return float(np.mean(np.square(self.rmse_db)))


class ValidationWindows:
    """Windows for validation, in batches on the device; every third without scene context.

    Parameters
    ----------
    windows
        At least one.
    batch
        Largest number of windows in a batch.
    device
        Device of the network.
    """

    def __init__(self, windows: Sequence[Window], batch: int, device: torch.device) -> None:
        self._batches = [collate(part).to(device) for part in group_by_shape(windows, batch)]
        self._windows = len(windows)

    @torch.no_grad()
    def validate(
        self, network: Network, predict: Callable[[Batch], Prediction]
    ) -> ValidationResult:
        """Compute the errors of a network.

        Parameters
        ----------
        network
            The network, in evaluation mode, whose ``loss`` is used.
        predict
            Its predictions, in the number format of the training.
        """
        losses, squares, counts, image = 0.0, torch.zeros(2), torch.zeros(2), None
        for batch in self._with_context(network):
            prediction = predict(batch)
            losses += float(network.loss(prediction, batch.target)) * len(batch.target)
            valid = torch.isfinite(batch.target)
            error = torch.where(valid, prediction.mean - batch.target, 0.0)
            squares += error.square().sum(dim=(0, 2, 3)).cpu()
            counts += valid.sum(dim=(0, 2, 3)).cpu()
            if image is None:
                image = _side_by_side(batch.target[0, 0], prediction.mean[0, 0])
        rmse = (squares / counts.clamp(min=1)).sqrt()
        assert image is not None
        return ValidationResult(losses / self._windows, [float(value) for value in rmse], image)

    def _with_context(self, network: Network) -> Iterator[Batch]:
        first = 0
        for batch in self._batches:
            yield _partly_with_context(network, batch, first)
            first += len(batch.target)


def _partly_with_context(network: Network, batch: Batch, first: int) -> Batch:
    """Add the scene context of all windows but every third, counted from number ``first``."""
    batch = with_context(batch, network)
    if batch.context is None:
        return batch
    numbers = first + torch.arange(len(batch.target), device=batch.target.device)
    hidden = (numbers % 3 == 2)[:, None, None, None]
    return replace(batch, context=batch.context.masked_fill(hidden, torch.nan))


def _side_by_side(actual: Tensor, expected: Tensor) -> Tensor:
    """Put two VV images side by side: dims (y, x), dB, -25..0 becoming 0..1; dims (1, y, x)."""
    pair = torch.cat([actual, expected], dim=1).float().cpu()
    return ((pair + 25.0) / 25.0).nan_to_num(0.0).clamp(0.0, 1.0)[None]
