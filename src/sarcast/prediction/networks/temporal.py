"""The conditional temporal network: any number of previous images in, mean and variance out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.base import ContrastNetwork, Prediction
from sarcast.prediction.networks.scaling import Scaled, scale, statistics
from sarcast.sensor.conditions import HEADING, column_indices
from sarcast.windows import BANDS

MIN_WINDOW_VARIANCE_DB2 = 0.1
"""Least variance over the previous images, dB², by which the errors of a window are divided."""
LOG_VARIANCE_BOUND = 6.0
"""Largest difference between the log-variance of a pixel and that of its window."""
LIKELIHOOD_WEIGHT = 0.1
"""Weight of the Gaussian likelihood beside the squared error in the loss."""
SLOPE_M = 3.0
"""Rise over one pixel, m, above which slopes are compressed logarithmically."""
RELIEF_M = 100.0
"""Height above the mean of the window, m, that becomes 1."""
MULTIPLE = 16
"""Rows and columns are padded to a multiple of this: the encoder halves them four times."""

Channels = Annotated[int, Field(ge=1, le=4096)]
Blocks = Annotated[int, Field(ge=0, le=64)]


class TemporalOptions(BaseModel):
    """Width and depth of the conditional temporal network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[Channels, Channels, Channels, Channels] = Field(
        (48, 80, 128, 176), description="Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution."
    )
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (1, 2, 2, 2), description="Residual blocks of the encoder at each of these resolutions."
    )
    decoder_width: int = Field(64, ge=8, le=512, description="Channels of the decoder at 1/2.")
    decoder_blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (2, 2, 2, 1), description="Residual blocks of the decoder at each of these resolutions."
    )
    fine_width: int = Field(24, ge=4, le=256, description="Channels at full resolution.")
    embedding: int = Field(128, ge=8, le=1024, description="Length of the embedding of conditions.")


class Temporal(ContrastNetwork):
    """A network that adjusts previous images to the target's conditions and merges them.

    One encoder is applied to every previous image, modulated by an embedding of that image's
    conditions and the target's. At four resolutions the encoded images are merged by a softmax
    over images, so that their number and order are free. With s_i the image i scaled by its
    window, the expected image in the scale of the window is::

        sum_i w_i (s_i + shift_i) + correction,    sum_i w_i = 1

    An untrained network gives the mean of the previous images: shift and correction are
    initialised to zero, and the weights are equal where all images have data.

    Parameters
    ----------
    options
        Width and depth.
    ignored
        Names of the conditions that count as missing in every window.
    """

    kind: ClassVar[str] = "temporal"
    multiple: ClassVar[int] = MULTIPLE
    file_names: ClassVar[Mapping[str, str]] = {
        "image_embedding": "way",
        "target_embedding": "target",
        "downsample": "shrink",
        "upsample": "grow",
        "weighted_sum": "mover",
        "weighted_sum.fine": "mover.own",
        "weighted_sum.output": "mover.last",
        "correction": "fine",
        "correction.upsample": "fine.grow",
        "correction.output": "fine.last",
    }

    def __init__(self, options: TemporalOptions, *, ignored: Sequence[str] = ()) -> None:
        super().__init__()
        self.options: TemporalOptions = options
        self.ignored = tuple(ignored)
        widths, length = options.widths, options.embedding
        self.image_embedding = _perceptron(encoding.IMAGE_LENGTH, length)
        self.target_embedding = _perceptron(encoding.TARGET_LENGTH + length, length)
        self.image_stem = nn.Conv2d(4 * _IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.shared_stem = nn.Conv2d(4 * _SHARED_CHANNELS, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(widths, options.blocks, strict=True)
        )
        self.downsample = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.merge = nn.ModuleList(_Merge(width) for width in widths)
        decoded = (options.decoder_width, *widths[1:])
        self.decoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(decoded, options.decoder_blocks, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(decoded)
        )
        self.skip = nn.Conv2d(widths[0], decoded[0], 1)
        self.weighted_sum = _WeightedSum(widths[0], widths[1], decoded[0])
        self.correction = _Correction(decoded[0], options.fine_width)

    def forward(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
    ) -> Prediction:
        """Predict the expected image; arguments as in ``windows.Batch``."""
        height, width = previous.shape[-2:]
        rows = conditions.clone()
        if hidden := column_indices(self.ignored):
            rows[..., hidden] = torch.nan
        scaled = scale(_pad(previous))
        embeddings, target = self._embed(scaled, rows, days, day_of_year)
        images, shared = _input_channels(scaled, _pad(elevation), rows[..., HEADING])
        merged, decoded = self._decode(scaled, images, shared, embeddings, target)
        fine = torch.cat([merged, scaled.mean, scaled.deviation], dim=1)
        correction, log_ratio = self.correction(decoded, fine).float().chunk(2, dim=1)
        mean = (merged.float() + correction) * scaled.spread + scaled.level
        bounded = LOG_VARIANCE_BOUND * torch.tanh(log_ratio / LOG_VARIANCE_BOUND)
        window_variance = scaled.variance * scaled.spread.square()
        log_variance = bounded + window_variance.log()
        return Prediction(
            mean[..., :height, :width], log_variance[..., :height, :width], window_variance
        )

    def loss(self, prediction: Prediction, target: Tensor, goal: Tensor | None = None) -> Tensor:
        """Squared error of the mean, plus the Gaussian likelihood of the variance.

        With r the residual, v the predicted variance and u the variance over the previous images,
        the mean over pixels of r² / u + 0.1 (r² / v + ln v). The division by u keeps rough windows
        from dominating smooth ones; no gradient of the likelihood reaches the mean.

        Parameters
        ----------
        prediction
            Output of ``forward``.
        target
            Dims (window, band, y, x), dB; NaN is ignored.
        goal
            Image that the mean is fitted to, dims as ``target``; None for the target itself.
        """
        assert prediction.log_variance is not None
        valid = torch.isfinite(target)
        residual2 = torch.where(valid, prediction.mean - target, 0.0).square()
        fitted2 = residual2
        if goal is not None:
            fitted2 = torch.where(valid, prediction.mean - goal, 0.0).square()
        weighted = fitted2 / _window_variance(prediction)
        likelihood = (
            residual2.detach() * torch.exp(-prediction.log_variance) + prediction.log_variance
        )
        total = torch.where(valid, weighted + LIKELIHOOD_WEIGHT * likelihood, 0.0)
        return total.sum() / valid.sum().clamp(min=1)

    def contrast(
        self, prediction: Prediction, other: Prediction, moved: Tensor, counted: Tensor
    ) -> Tensor:
        """Squared error of the difference between two conditions, divided as in ``loss``.

        Parameters
        ----------
        prediction, other
            Outputs of ``forward`` for the same windows under the first and the second conditions.
        moved
            Dims (window, band, y, x), dB: the true expected image under the second conditions minus
            that under the first.
        counted
            Dims (window), bool: the windows that count; the others add 0 to the mean over windows.
        """
        error2 = (other.mean - prediction.mean - moved).square() / _window_variance(prediction)
        return (error2.mean(dim=(1, 2, 3)) * counted).mean()

    def normalisation(self) -> dict[str, Any]:
        """Give the ignored conditions, for ``model.yaml``; each window is its own scale."""
        return {"ignored": list(self.ignored)}

    @classmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> Self:
        """Make the network that ``model.yaml`` describes, with random weights."""
        return cls(TemporalOptions(**options), ignored=normalisation["ignored"])

    def _embed(
        self, scaled: Scaled, rows: Tensor, days: Tensor, day_of_year: Tensor
    ) -> tuple[Tensor, Tensor]:
        pairs, target = encoding.encode_views(rows, days, day_of_year)
        embeddings = self.image_embedding(torch.cat([pairs, statistics(scaled)], dim=-1))
        target = self.target_embedding(torch.cat([target, embeddings.mean(dim=1)], dim=-1))
        return embeddings, target

    def _decode(
        self, scaled: Scaled, images: Tensor, shared: Tensor, embeddings: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = embeddings.shape[1]
        features = _apply_to_images(self.image_stem, functional.pixel_unshuffle(images, 2))
        features = features + self.shared_stem(functional.pixel_unshuffle(shared, 2))[:, None]
        levels = []
        for number, stage in enumerate(self.encoder):
            if number:
                features = _apply_to_images(self.downsample[number - 1], features)
            flat = stage(features.flatten(0, 1), embeddings.flatten(0, 1))
            features = flat.reshape(-1, count, *flat.shape[1:])
            levels.append(features)
        if self.training:
            _mark_dynamic(1, *levels, scaled.images, scaled.valid)
        merged = [merge(level) for merge, level in zip(self.merge, levels, strict=True)]
        decoded = self.decoder[3](merged[3], target)
        for number in (2, 1, 0):
            skipped = self.skip(merged[0]) if number == 0 else merged[number]
            upsampled = functional.interpolate(self.upsample[number](decoded), scale_factor=2)
            decoded = self.decoder[number](upsampled + skipped, target)
        return self.weighted_sum(scaled, levels[0], levels[1], decoded), decoded


def _window_variance(prediction: Prediction) -> Tensor:
    """Variance over the previous images by which the loss divides, dims (window, 1, 1, 1), dB²."""
    assert prediction.window_variance is not None
    variance = prediction.window_variance.mean(dim=1, keepdim=True)
    return variance.clamp(min=MIN_WINDOW_VARIANCE_DB2)


_IMAGE_CHANNELS = 2 * len(BANDS) + 1
_SHARED_CHANNELS = 2 * len(BANDS) + 3


def _input_channels(scaled: Scaled, elevation: Tensor, headings: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each image, (window, image, channel, y, x), and those shared by all images."""
    slopes = torch.asinh(encoding.slope_along_look(elevation, headings) / SLOPE_M)
    known = torch.isfinite(elevation).float()
    height = torch.where(known > 0, elevation, 0.0)
    number = known.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    relief = (height - height.sum(dim=(1, 2), keepdim=True) / number) * known / RELIEF_M
    images = torch.cat([scaled.images, scaled.valid, slopes[:, :-1, None]], dim=2)
    terrain = torch.stack([torch.asinh(relief), slopes[:, -1], known], dim=1)
    return images, torch.cat([scaled.mean, scaled.deviation, terrain], dim=1)


class _Stage(nn.ModuleList):
    """Residual blocks at one resolution."""

    def __init__(self, width: int, count: int, length: int) -> None:
        super().__init__(_Block(width, length) for _ in range(count))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self:
            if self.training:
                _mark_dynamic(0, x, embedding)
            x = block(x, embedding)
        return x


class _Block(nn.Module):
    """Residual block: layer norm over channels, modulated by conditions; two convolutions."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(length, 2 * width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _zero_initialise(self.modulate)
        nn.init.normal_(self.second.weight, std=0.3 / (3.0 * width**0.5))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        factor, shift = self.modulate(embedding)[:, None, None].chunk(2, dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            normed = self.norm(x.permute(0, 2, 3, 1))
        modulated = normed * (1.0 + factor) + shift
        hidden = self.first(modulated.permute(0, 3, 1, 2))
        added: Tensor = x + self.second(functional.silu(hidden))
        return added


class _Merge(nn.Module):
    """Merge images by a softmax over them, separately in each channel and pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor) -> Tensor:
        weights = torch.softmax(_apply_to_images(self.score, level), dim=1)
        merged: Tensor = (weights * level).sum(dim=1)
        return merged


class _WeightedSum(nn.Module):
    """Weighted sum of the previous images at full resolution, each shifted."""

    def __init__(self, fine: int, coarse: int, decoded: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, fine, 1)
        self.coarse = nn.Conv2d(coarse, fine, 1)
        self.decoded = nn.Conv2d(decoded, fine, 1)
        self.output = nn.Conv2d(fine, 4 * 2 * len(BANDS), 1)
        _zero_initialise(self.output)

    def forward(self, scaled: Scaled, fine: Tensor, coarse: Tensor, decoded: Tensor) -> Tensor:
        windows, count = fine.shape[:2]
        upsampled = functional.interpolate(self.coarse(coarse.flatten(0, 1)), scale_factor=2)
        shared = self.decoded(decoded).repeat_interleave(count, dim=0)
        hidden: Tensor = self.fine(fine.flatten(0, 1)) + upsampled + shared
        output = functional.pixel_shuffle(self.output(functional.silu(hidden)).float(), 2)
        output = output.reshape(windows, count, *output.shape[1:])
        score, shift = output.chunk(2, dim=2)
        weights = torch.softmax(score - 1e4 * (1.0 - scaled.valid), dim=1)
        total: Tensor = (weights * (scaled.images + shift)).sum(dim=1)
        return total


class _Correction(nn.Module):
    """Correction of the mean, and log-variance, at full resolution."""

    def __init__(self, decoded: int, width: int) -> None:
        super().__init__()
        self.upsample = nn.Conv2d(decoded, 4 * width, 1)
        self.images = nn.Conv2d(3 * len(BANDS), width, 3, padding=1)
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.output = nn.Conv2d(width, 2 * len(BANDS), 3, padding=1)
        _zero_initialise(self.output)

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        hidden = functional.pixel_shuffle(self.upsample(decoded), 2) + self.images(images)
        hidden = functional.silu(self.hidden(functional.silu(hidden)))
        output: Tensor = self.output(hidden)
        return output


Temporal.compiled = (_Block, _Merge, _WeightedSum, _Correction)


def _perceptron(inputs: int, length: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, length), nn.SiLU(), nn.Linear(length, length), nn.SiLU())


def _mark_dynamic(dim: int, *tensors: Tensor) -> None:
    """Mark for the compiler the dimension whose length differs from step to step."""
    for tensor in tensors:
        torch._dynamo.maybe_mark_dynamic(tensor, dim)


def _zero_initialise(layer: nn.Conv2d | nn.Linear) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _apply_to_images(layer: nn.Module, images: Tensor) -> Tensor:
    """Apply a layer to every image; dims (window, image, channel, y, x)."""
    out: Tensor = layer(images.flatten(0, 1))
    return out.reshape(*images.shape[:2], *out.shape[1:])


def _pad(images: Tensor) -> Tensor:
    """Repeat the last rows and columns up to a multiple of ``MULTIPLE``."""
    rows, columns = (-pixels % MULTIPLE for pixels in images.shape[-2:])
    if not rows and not columns:
        return images
    flat = images.reshape(1, -1, *images.shape[-2:])
    padded = functional.pad(flat, (0, columns, 0, rows), mode="replicate")
    return padded.reshape(*images.shape[:-2], *padded.shape[-2:])
