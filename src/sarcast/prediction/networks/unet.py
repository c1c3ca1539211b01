"""The paper's U-Net, its "mapping transformation function": Alatalo et al. 2023, Table I."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, field_validator
from torch import Tensor, nn

from sarcast.prediction.networks.base import Network, Prediction
from sarcast.sensor.conditions import COLUMNS, PaperScaling, column_indices, paper_vector
from sarcast.windows import BANDS, Window

DEVIATIONS = 4.0
"""Standard deviations on either side of the mean that become −1..1 (the paper, section III-B)."""
KERAS_EPSILON = 1e-3
"""Epsilon of the published code's batch norms."""


class UNetLayers(BaseModel):
    """Layers of the U-Net, whatever its input; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filters: tuple[PositiveInt, ...] = Field(
        (64, 128, 256, 512),
        min_length=1,
        description="Filters of the first convolutions; the last number is repeated.",
    )
    dropout: float = Field(
        0.3, ge=0.0, lt=1.0, description="Share dropped in the first three transposed convolutions."
    )
    momentum: float = Field(
        0.99, ge=0.0, lt=1.0, description="Momentum of the batch norms, as in Keras."
    )


class UNetOptions(UNetLayers):
    """Input and layers of the U-Net; the defaults are the paper's."""

    size: int = Field(512, ge=8, le=4096, description="Rows and columns of a window, a power of 2.")
    previous: int = Field(4, ge=1, le=64, description="Number of previous images.")

    @field_validator("size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError(f"size must be a power of 2, such as 64, 128, 256 or 512, not {size}")
        return size

    @property
    def filters_down(self) -> tuple[int, ...]:
        """Filters of the encoder's convolutions, one for each halving down to 1 x 1 pixel."""
        blocks = self.size.bit_length() - 1
        return (*self.filters, *[self.filters[-1]] * blocks)[:blocks]


class UNet(Network):
    """The paper's U-Net, from dB and raw conditions to dB.

    Parameters
    ----------
    options
        Size and layers.
    scaling
        Bounds with which images, elevation and conditions are scaled.
    ignored
        Names of the conditions that count as missing in every window.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, Table I; the skip connections are those of the published code.
    """

    kind: ClassVar[str] = "unet"
    min_batch: ClassVar[int] = 2

    def __init__(
        self, options: UNetOptions, scaling: PaperScaling, *, ignored: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.options: UNetOptions = options
        self.scaling = scaling
        self.ignored = tuple(ignored)
        self.size = options.size
        self.previous = options.previous
        down = options.filters_down
        up = down[-2::-1]
        values = len(COLUMNS) * (options.previous + 1)
        inputs = (options.previous * len(BANDS) + 1, *down)
        self.down = nn.ModuleList(
            _down(inputs[k], filters, 2 if k == len(down) - 1 else 4, options.momentum)
            for k, filters in enumerate(down)
        )
        concatenated = (down[-1] + values, *(2 * filters for filters in up))
        self.up = nn.ModuleList(
            _up(concatenated[k], filters, options.momentum, options.dropout if k < 3 else 0.0)
            for k, filters in enumerate(up)
        )
        self.last = nn.ConvTranspose2d(up[-1], len(BANDS), 4, stride=2, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.ndim == 4:
                nn.init.xavier_uniform_(parameter)

    def transform(self, images: Tensor, values: Tensor) -> Tensor:
        """Predict the scaled expected image from scaled inputs.

        Parameters
        ----------
        images
            Dims (window, channel, y, x): bands of the previous images, oldest first, and elevation.
        values
            Dims (window, value): the encoded conditions, ``conditions.paper_vector``.

        Returns
        -------
        Tensor
            Dims (window, band, y, x), −1..1.
        """
        skips = []
        x = images
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = torch.cat([x, values[:, :, None, None]], dim=1)
        mirrored = skips[-2:0:-1]
        for k, layer in enumerate(self.up):
            x = layer(x)
            if k < len(mirrored):
                x = torch.cat([x, mirrored[k]], dim=1)
        return torch.tanh(self.last(x))

    def forward(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,  # noqa: ARG002 - the paper's network has no dates among its inputs
        day_of_year: Tensor,  # noqa: ARG002
        context: Tensor | None = None,  # noqa: ARG002
    ) -> Prediction:
        """Predict the expected image; arguments as in ``windows.Batch``."""
        images = self._scale(previous).clamp(-1.0, 1.0).flatten(1, 2)
        terrain = elevation[:, None] / self.scaling.elevation_max
        stack = torch.cat([images, terrain], dim=1).nan_to_num(0.0)
        rows = conditions.detach().cpu().numpy().copy()
        rows[..., column_indices(self.ignored)] = np.nan
        values = torch.from_numpy(paper_vector(rows, self.scaling)[0]).to(stack.device)
        low, high = self._bounds(stack.device)
        scaled = self.transform(stack.contiguous(memory_format=torch.channels_last), values)
        return Prediction(mean=(scaled.float() + 1.0) / 2.0 * (high - low) + low)

    def loss(self, prediction: Prediction, target: Tensor, goal: Tensor | None = None) -> Tensor:
        """Mean squared error of the scaled image over the pixels where the target has data.

        Parameters
        ----------
        prediction
            Output of ``forward``.
        target
            Dims (window, band, y, x), dB; NaN is ignored.
        goal
            Image that the mean is fitted to, dims as ``target``; None for the target itself.
        """
        valid = torch.isfinite(target)
        fitted = self._scale(target if goal is None else goal).clamp(-1.0, 1.0)
        error = torch.where(valid, self._scale(prediction.mean) - fitted, 0.0)
        return error.square().sum() / valid.sum().clamp(min=1)

    def normalisation(self) -> dict[str, Any]:
        """Give the bounds of the scaling and the ignored conditions, for ``model.yaml``."""
        return {**asdict(self.scaling), "ignored": list(self.ignored)}

    @classmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> Self:
        """Make the network that ``model.yaml`` describes, with random weights."""
        bounds = {name: value for name, value in normalisation.items() if name != "ignored"}
        scaling = TypeAdapter(PaperScaling).validate_python(bounds)
        return cls(UNetOptions(**options), scaling, ignored=normalisation["ignored"])

    def _bounds(self, device: torch.device) -> tuple[Tensor, Tensor]:
        low, high = (
            torch.tensor(bound, dtype=torch.float32, device=device)[:, None, None]
            for bound in (self.scaling.band_low, self.scaling.band_high)
        )
        return low, high

    def _scale(self, decibels: Tensor) -> Tensor:
        low, high = self._bounds(decibels.device)
        return 2.0 * (decibels - low) / (high - low) - 1.0


def paper_scaling(windows: Sequence[Window]) -> PaperScaling:
    """Compute the paper's scaling of training data from some of its windows.

    Parameters
    ----------
    windows
        Windows of the training data; where they have no elevation, snow or rain, the bound is 1.
    """
    images = np.concatenate([window.previous for window in windows])
    mean = np.nanmean(images, axis=(0, 2, 3), dtype=np.float64)
    spread = DEVIATIONS * np.maximum(np.nanstd(images, axis=(0, 2, 3), dtype=np.float64), 1e-3)
    rows = np.concatenate([window.conditions for window in windows])
    return PaperScaling(
        band_low=tuple(float(bound) for bound in mean - spread),
        band_high=tuple(float(bound) for bound in mean + spread),
        elevation_max=_largest(np.stack([window.elevation for window in windows])),
        snow_depth_max=_largest(rows[:, COLUMNS.index("snow_depth")]),
        precipitation_max=_largest(rows[:, column_indices(("precipitation",))]),
    )


def _largest(values: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    largest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    return largest if largest > 0.0 else 1.0


def _down(inputs: int, filters: int, kernel: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, kernel, stride=2, padding=(kernel - 2) // 2),
        nn.BatchNorm2d(filters, eps=KERAS_EPSILON, momentum=1.0 - momentum),
        nn.ReLU(),
    )


def _up(inputs: int, filters: int, momentum: float, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, filters, 4, stride=2, padding=1),
        nn.BatchNorm2d(filters, eps=KERAS_EPSILON, momentum=1.0 - momentum),
        nn.Dropout(dropout),
        nn.ReLU(),
    )
