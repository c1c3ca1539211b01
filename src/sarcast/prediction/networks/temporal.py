"""The conditional temporal network: any number of previous images in, mean and variance out."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from sarcast.prediction.networks import context as scene
from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.base import ContrastNetwork, Prediction
from sarcast.prediction.networks.scaling import Scaled, scale, statistics
from sarcast.sensor.conditions import HEADING, column_indices
from sarcast.windows import BANDS, Batch

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
        (48, 88, 144, 208), description="Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution."
    )
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (1, 1, 1, 2), description="Residual blocks of the encoder at each of these resolutions."
    )
    decoder_width: int = Field(64, ge=8, le=512, description="Channels of the decoder at 1/2.")
    decoder_blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (1, 1, 1, 1), description="Residual blocks of the decoder at each of these resolutions."
    )
    fine_width: int = Field(24, ge=4, le=256, description="Channels at full resolution.")
    embedding: int = Field(128, ge=8, le=1024, description="Length of the embedding of conditions.")


class Baseline(NamedTuple):
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


class View(NamedTuple):
    """What the decoder is given: a target as it is seen from a baseline.

    Attributes
    ----------
    embeddings
        Dims (window, image, value): of each image and how the target differs from it.
    target
        Dims (window, value): embedding of the target.
    scene
        Dims (window, channel, y, x), at 1/2 of the resolution.
    departure
        Dims (window, band, y, x), in spreads of the window: departure that the scene shows.
    """

    embeddings: Tensor
    target: Tensor
    scene: Tensor
    departure: Tensor


class Encoded(NamedTuple):
    """A baseline, and its features at 1/2, 1/4 and 1/8, (window, image, channel, y, x)."""

    baseline: Baseline
    features: list[Tensor]


class Temporal(ContrastNetwork):
    """A network that adjusts previous images to the target's conditions and merges them.

    One encoder is applied to every previous image. Its fine stages depend on the image and its own
    conditions alone, so that all targets of one baseline share them; the coarse stage, and the
    merging at all four resolutions, are modulated by an embedding of the conditions of image and
    target. The encoded images are merged by a softmax over images, so that their number and order
    are free. With s_i the image i scaled by its window, and d the departure by which the rest of
    the scene differs from the baseline (``networks.context``), the expected image in the scale of
    the window is::

        sum_i w_i (s_i + shift_i) + correction + gain d,    sum_i w_i = 1

    An untrained network gives the mean of the previous images plus d: shift and correction are
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
    uses_context: ClassVar[bool] = True

    def __init__(self, options: TemporalOptions, *, ignored: Sequence[str] = ()) -> None:
        super().__init__()
        self.options: TemporalOptions = options
        self.ignored = tuple(ignored)
        widths, length = options.widths, options.embedding
        self.own_embedding = _perceptron(encoding.OWN_LENGTH, length)
        self.pair_embedding = _perceptron(encoding.IMAGE_LENGTH, length)
        inputs = encoding.TARGET_LENGTH + length + scene.EMBEDDING_LENGTH
        self.target_embedding = _perceptron(inputs, length)
        self.image_stem = nn.Conv2d(4 * _IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.shared_stem = nn.Conv2d(4 * _SHARED_CHANNELS, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(widths, options.blocks, strict=True)
        )
        self.downsample = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.merge = nn.ModuleList(_Merge(width, length) for width in widths)
        decoded = (options.decoder_width, *widths[1:])
        self.decoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(decoded, options.decoder_blocks, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(decoded)
        )
        self.skip = nn.Conv2d(widths[0], decoded[0], 1)
        self.scene_stem = nn.Conv2d(_SCENE_CHANNELS, decoded[0], 3, padding=1)
        self.weighted_sum = _WeightedSum(widths[0], widths[1], decoded[0], length)
        self.correction = _Correction(decoded[0], options.fine_width)
        self.gain = nn.Parameter(torch.ones(len(BANDS), 1, 1))

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
        encoded = self.encode(previous, elevation, conditions, days, day_of_year)
        prediction = self.decode(encoded, conditions, days, day_of_year, context)
        return crop(prediction, previous.shape[-2:])

    def encode(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
    ) -> Encoded:
        """Encode the previous images; of a target, nothing is used but to date the images by it."""
        baseline = self.baseline(previous, elevation, conditions, days, day_of_year)
        features = _apply_to_images(self.image_stem, functional.pixel_unshuffle(baseline.images, 2))
        shared = self.shared_stem(functional.pixel_unshuffle(baseline.shared, 2))
        levels = [_apply_stage(self.encoder[0], features + shared[:, None], baseline.embeddings)]
        for number in (1, 2):
            features = _apply_to_images(self.downsample[number - 1], levels[-1])
            levels.append(_apply_stage(self.encoder[number], features, baseline.embeddings))
        return Encoded(baseline, levels)

    def decode(
        self,
        encoded: Encoded,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        context: Tensor | None = None,
    ) -> Prediction:
        """Predict a target of an encoded baseline, with rows and columns still padded."""
        view = self.view(encoded.baseline, conditions, days, day_of_year, context)
        merged, decoded = self._merge(encoded, view)
        fine = self.fine_channels(encoded.baseline, view, merged)
        return self.prediction(encoded.baseline, view, merged, self.correction(decoded, fine))

    def baseline(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
    ) -> Baseline:
        """Compute what the encoder is given."""
        rows = self._known(conditions)
        scaled, elevation = scale(_pad(previous)), _pad(elevation)
        own, values = encoding.encode_images(rows, days, day_of_year), statistics(scaled)
        embeddings = self.own_embedding(torch.cat([own, values], dim=-1))
        channels = _input_channels(scaled, elevation, rows[:, :-1, HEADING])
        return Baseline(scaled, elevation, values, embeddings, *channels)

    def view(
        self,
        baseline: Baseline,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        context: Tensor | None = None,
    ) -> View:
        """Compute what the decoder is given."""
        rows = self._known(conditions)
        if context is None:
            context = rows.new_full((len(rows), *scene.TABLE_SHAPE), torch.nan)
        pairs, target = encoding.encode_views(rows, days, day_of_year)
        embeddings = self.pair_embedding(torch.cat([pairs, baseline.statistics], dim=-1))
        parts = [target, embeddings.mean(dim=1), scene.embedding_inputs(context)]
        target = self.target_embedding(torch.cat(parts, dim=-1))
        return View(embeddings, target, *_scene_channels(baseline, rows, context))

    def fine_channels(self, baseline: Baseline, view: View, merged: Tensor) -> Tensor:
        """Channels of the correction at full resolution, dims (window, channel, y, x)."""
        scaled = baseline.scaled
        return torch.cat([merged, scaled.mean, scaled.deviation, view.departure], dim=1)

    def prediction(
        self, baseline: Baseline, view: View, merged: Tensor, output: Tensor
    ) -> Prediction:
        """Compute the prediction from the weighted sum and the output of the correction."""
        scaled = baseline.scaled
        correction, log_ratio = output.float().chunk(2, dim=1)
        expected = merged.float() + correction + self.gain * view.departure
        bounded = LOG_VARIANCE_BOUND * torch.tanh(log_ratio / LOG_VARIANCE_BOUND)
        window_variance = scaled.variance * scaled.spread.square()
        return Prediction(
            expected * scaled.spread + scaled.level,
            bounded + window_variance.log(),
            window_variance,
        )

    def predict_targets(self, batch: Batch, targets: int) -> Prediction:
        """Predict windows of which each run of ``targets`` has the same baseline, encoded once."""
        if targets == 1:
            return super().predict_targets(batch, targets)
        first = batch.every(targets)
        encoded = self.encode(
            first.previous, first.elevation, first.conditions, first.days, first.day_of_year
        )
        parts = [batch.every(targets, start=number) for number in range(targets)]
        predictions = [
            self.decode(encoded, part.conditions, part.days, part.day_of_year, part.context)
            for part in parts
        ]
        joined = Prediction(*_interleave(predictions))
        return crop(joined, batch.previous.shape[-2:])

    def scene_blocks(self, batch: Batch, targets: int = 1) -> scene.Blocks:
        """Compute the blocks that scene context is fitted to, from the targets of a batch."""
        scaled = scale(_pad(batch.every(targets).previous))
        rows = self._known(batch.conditions)
        down, right = (-pixels % MULTIPLE for pixels in batch.target.shape[-2:])
        target = functional.pad(batch.target.float(), (0, right, 0, down), value=torch.nan)
        parts = []
        for number in range(targets):
            of_baseline = scene.properties(scaled, rows[number::targets])
            parts.append(scene.blocks_of(scaled, of_baseline, target[number::targets]))
        return scene.Blocks(*_interleave(parts))

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
        self, prediction: Prediction, other: Prediction, moved: Tensor, weight: Tensor
    ) -> Tensor:
        """Squared error of the difference between two conditions, divided as in ``loss``.

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
        error2 = (other.mean - prediction.mean - moved).square() / _window_variance(prediction)
        return (error2.mean(dim=1, keepdim=True) * weight).sum() / weight.sum().clamp(min=1.0)

    def normalisation(self) -> dict[str, Any]:
        """Give the ignored conditions, for ``model.yaml``; each window is its own scale."""
        return {"ignored": list(self.ignored)}

    @classmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> Self:
        """Make the network that ``model.yaml`` describes, with random weights."""
        return cls(TemporalOptions(**options), ignored=normalisation["ignored"])

    def _known(self, conditions: Tensor) -> Tensor:
        """Conditions in which the ignored ones are missing."""
        rows = conditions.clone()
        if hidden := column_indices(self.ignored):
            rows[..., hidden] = torch.nan
        return rows

    def _merge(self, encoded: Encoded, view: View) -> tuple[Tensor, Tensor]:
        """Give the weighted sum of the previous images, and the decoded features at 1/2."""
        scaled, embeddings = encoded.baseline.scaled, view.embeddings
        coarse = _apply_to_images(self.downsample[2], encoded.features[-1])
        levels = [*encoded.features, _apply_stage(self.encoder[3], coarse, embeddings)]
        if self.training:
            _mark_dynamic(1, *levels, embeddings, scaled.images, scaled.valid)
        merged = [merge(level, embeddings) for merge, level in zip(self.merge, levels, strict=True)]
        decoded = self.decoder[3](merged[3], view.target)
        for number in (2, 1, 0):
            skipped = merged[number]
            if number == 0:
                skipped = self.skip(skipped) + self.scene_stem(view.scene)
            upsampled = functional.interpolate(self.upsample[number](decoded), scale_factor=2)
            decoded = self.decoder[number](upsampled + skipped, view.target)
        return self.weighted_sum(scaled, *levels[:2], decoded, embeddings), decoded


def _window_variance(prediction: Prediction) -> Tensor:
    """Variance over the previous images by which the loss divides, dims (window, 1, 1, 1), dB²."""
    assert prediction.window_variance is not None
    variance = prediction.window_variance.mean(dim=1, keepdim=True)
    return variance.clamp(min=MIN_WINDOW_VARIANCE_DB2)


_IMAGE_CHANNELS = 2 * len(BANDS) + 1
_SHARED_CHANNELS = 2 * len(BANDS) + 2
_SCENE_CHANNELS = len(BANDS) + len(scene.PROPERTIES) + 2


def _input_channels(scaled: Scaled, elevation: Tensor, headings: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each image, (window, image, channel, y, x), and those shared by all images."""
    slopes = torch.asinh(encoding.slope_along_look(elevation, headings) / SLOPE_M)
    known = torch.isfinite(elevation).float()
    height = torch.where(known > 0, elevation, 0.0)
    number = known.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    relief = (height - height.sum(dim=(1, 2), keepdim=True) / number) * known / RELIEF_M
    images = torch.cat([scaled.images, scaled.valid, slopes[:, :, None]], dim=2)
    terrain = torch.stack([torch.asinh(relief), known], dim=1)
    return images, torch.cat([scaled.mean, scaled.deviation, terrain], dim=1)


def _scene_channels(baseline: Baseline, rows: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
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


def _interleave(parts: Sequence[tuple[Tensor | None, ...]]) -> Iterator[Tensor]:
    """Join tensors of the first, second, ... target of each baseline, by baseline."""
    for tensors in zip(*parts, strict=True):
        yield torch.stack(tensors, dim=1).flatten(0, 1)


def crop(prediction: Prediction, shape: Sequence[int]) -> Prediction:
    """Remove the padding."""
    height, width = shape
    assert prediction.log_variance is not None
    return prediction._replace(
        mean=prediction.mean[..., :height, :width],
        log_variance=prediction.log_variance[..., :height, :width],
    )


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

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, width, 1)
        self.modulate = nn.Linear(length, 3 * width)
        _zero_initialise(self.modulate)

    def forward(self, level: Tensor, embeddings: Tensor) -> Tensor:
        score, factor, shift = self.modulate(embeddings)[..., None, None].chunk(3, dim=2)
        weights = torch.softmax(_apply_to_images(self.score, level) + score, dim=1)
        merged: Tensor = (weights * (level * (1.0 + factor) + shift)).sum(dim=1)
        return merged


class _WeightedSum(nn.Module):
    """Weighted sum of the previous images at full resolution, each shifted."""

    def __init__(self, fine: int, coarse: int, decoded: int, length: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, fine, 1)
        self.coarse = nn.Conv2d(coarse, fine, 1)
        self.decoded = nn.Conv2d(decoded, fine, 1)
        self.modulate = nn.Linear(length, 2 * fine)
        self.output = nn.Conv2d(fine, 4 * 2 * len(BANDS), 1)
        _zero_initialise(self.modulate)
        _zero_initialise(self.output)

    def forward(
        self, scaled: Scaled, fine: Tensor, coarse: Tensor, decoded: Tensor, embeddings: Tensor
    ) -> Tensor:
        windows, count = fine.shape[:2]
        upsampled = functional.interpolate(self.coarse(coarse.flatten(0, 1)), scale_factor=2)
        shared = self.decoded(decoded).repeat_interleave(count, dim=0)
        hidden: Tensor = self.fine(fine.flatten(0, 1)) + upsampled + shared
        factor, shift = self.modulate(embeddings.flatten(0, 1))[..., None, None].chunk(2, dim=1)
        hidden = functional.silu(hidden * (1.0 + factor) + shift)
        output = functional.pixel_shuffle(self.output(hidden).float(), 2)
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
        self.images = nn.Conv2d(4 * len(BANDS), width, 3, padding=1)
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


def _apply_stage(stage: nn.Module, features: Tensor, embeddings: Tensor) -> Tensor:
    """Apply a stage to every image, (window, image, channel, y, x), with its embedding."""
    flat: Tensor = stage(features.flatten(0, 1), embeddings.flatten(0, 1))
    return flat.reshape(*features.shape[:2], *flat.shape[1:])


def _pad(images: Tensor) -> Tensor:
    """Repeat the last rows and columns up to a multiple of ``MULTIPLE``."""
    rows, columns = (-pixels % MULTIPLE for pixels in images.shape[-2:])
    if not rows and not columns:
        return images
    flat = images.reshape(1, -1, *images.shape[-2:])
    padded = functional.pad(flat, (0, columns, 0, rows), mode="replicate")
    return padded.reshape(*images.shape[:-2], *padded.shape[-2:])
