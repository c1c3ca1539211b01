"""Inputs of the temporal network: what its encoder and its decoder are given."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sarcast.prediction.networks import context as scene
from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.scaling import Scaled
from sarcast.sensor.conditions import HEADING
from sarcast.windows import BANDS

SLOPE_M = 3.0
"""Rise over one pixel, m, above which slopes are compressed logarithmically."""
RELIEF_M = 100.0
"""Height above the mean of the window, m, that becomes 1."""
MULTIPLE = 16
"""Rows and columns are padded to a multiple of this: the encoder halves them four times."""
IMAGE_CHANNELS = 2 * len(BANDS) + 1
"""Channels of each image: its bands, where they have data, its slope along the look direction."""
SHARED_CHANNELS = 2 * len(BANDS) + 2
"""Channels that all images share: mean and deviation of the bands, relief, where it is known."""
SCENE_CHANNELS = len(BANDS) + len(scene.PROPERTIES) + 2
"""Channels of the target's scene: departure, properties, whether it is known, slope."""


class BaselineInputs(NamedTuple):
    """What the encoder is given: previous images and terrain, for any target.

    Attributes
    ----------
    scaled
        The previous images.
    elevation
        Dims (window, y, x), m.
    statistics
        Dims (window, image, value): result of ``scaling.statistics``.
    embeddings
        Dims (window, image, value): of each image by itself.
    images
        Dims (window, image, channel, y, x): channels of each image.
    shared
        Dims (window, channel, y, x): channels that all images share.
    """

    scaled: Scaled
    elevation: Tensor
    statistics: Tensor
    embeddings: Tensor
    images: Tensor
    shared: Tensor

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return sum(tensor.nbytes for tensor in (*vars(self.scaled).values(), *self[1:]))

    def for_targets(self) -> "BaselineInputs":
        """Without what the encoder alone reads, half of it; for inference on a CPU."""
        nothing = self.images.new_empty(0)
        scaled = replace(self.scaled, valid=nothing)
        return self._replace(scaled=scaled, images=nothing, shared=nothing)


class TargetInputs(NamedTuple):
    """What the decoder is given besides the encoded baseline: a target and its scene.

    Attributes
    ----------
    pair_embeddings
        Dims (window, image, value): of each image and how the target differs from it.
    target_embedding
        Dims (window, value): of the target by itself.
    scene
        Dims (window, channel, y, x), at 1/2 of the resolution.
    departure
        Dims (window, band, y, x), in spreads of the window: departure that the scene shows.
    """

    pair_embeddings: Tensor
    target_embedding: Tensor
    scene: Tensor
    departure: Tensor


class Encoded(NamedTuple):
    """A baseline, and its features at 1/2, 1/4 and 1/8, (window, image, channel, y, x)."""

    baseline: BaselineInputs
    features: list[Tensor]


def input_channels(scaled: Scaled, elevation: Tensor, headings: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each image, (window, image, channel, y, x), and those shared by all images."""
    slopes = torch.asinh(encoding.slope_along_look(elevation, headings) / SLOPE_M)
    known = torch.isfinite(elevation).float()
    height = torch.where(known > 0, elevation, 0.0)
    number = known.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    relief = (height - height.sum(dim=(1, 2), keepdim=True) / number) * known / RELIEF_M
    images = torch.cat([scaled.images, scaled.valid, slopes[:, :, None]], dim=2)
    terrain = torch.stack([torch.asinh(relief), known], dim=1)
    return images, torch.cat([scaled.mean, scaled.deviation, terrain], dim=1)


def scene_channels(
    baseline: BaselineInputs, rows: Tensor, context: Tensor
) -> tuple[Tensor, Tensor]:
    """Channels of the target's scene at 1/2, and its departure at full resolution, in spreads."""
    scaled = baseline.scaled
    with torch.autocast(rows.device.type, enabled=False):
        properties = scene.properties(scaled, rows)
        departure = scene.look_up(context, properties) / scaled.spread
    typical, spread = (
        properties.new_tensor(values)[:, None, None] for values in (scene.TYPICAL, scene.SPREAD)
    )
    present = torch.isfinite(context[:, -1, 0, 0])[:, None, None, None]
    coarse = [departure, (properties - typical) / spread, present.expand_as(departure[:, :1])]
    half = functional.interpolate(torch.cat(coarse, dim=1), scale_factor=2, mode="bilinear")
    slope = encoding.slope_along_look(baseline.elevation, rows[:, -1:, HEADING])
    slope = functional.avg_pool2d(torch.asinh(slope / SLOPE_M), 2)
    full = functional.interpolate(departure, scale_factor=scene.BLOCK_PX, mode="bilinear")
    return torch.cat([half, slope], dim=1), full


def pad(images: Tensor) -> Tensor:
    """Repeat the last rows and columns up to a multiple of ``MULTIPLE``."""
    rows, columns = (-pixels % MULTIPLE for pixels in images.shape[-2:])
    if not rows and not columns:
        return images
    flat = images.reshape(1, -1, *images.shape[-2:])
    padded = functional.pad(flat, (0, columns, 0, rows), mode="replicate")
    return padded.reshape(*images.shape[:-2], *padded.shape[-2:])


def crop(prediction: Prediction, shape: Sequence[int]) -> Prediction:
    """Remove the padding of ``pad`` from a prediction; ``shape`` is rows and columns before it."""
    height, width = shape
    assert prediction.log_variance is not None
    return prediction._replace(
        mean=prediction.mean[..., :height, :width],
        log_variance=prediction.log_variance[..., :height, :width],
    )
