"""The conditional temporal network: any number of previous images in, mean and variance out."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from sarcast.prediction.networks import context as scene
from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.base import ContrastNetwork, Prediction
from sarcast.prediction.networks.inputs import (
    IMAGE_CHANNELS,
    MULTIPLE,
    SCENE_CHANNELS,
    SHARED_CHANNELS,
    BaselineInputs,
    Encoded,
    TargetInputs,
    crop,
    input_channels,
    pad,
    scene_channels,
)
from sarcast.prediction.networks.layers import (
    Block,
    Correction,
    Merge,
    Stage,
    WeightedSum,
    apply_stage,
    apply_to_images,
    mark_dynamic,
    perceptron,
)
from sarcast.prediction.networks.scaling import scale, statistics
from sarcast.sensor.conditions import HEADING, column_indices
from sarcast.windows import BANDS, Batch

MIN_WINDOW_VARIANCE_DB2 = 0.1
"""Least variance over the previous images, dB², by which the errors of a window are divided."""
LOG_VARIANCE_BOUND = 6.0
"""Largest difference between the log-variance of a pixel and that of its window."""
LIKELIHOOD_WEIGHT = 0.1
"""Weight of the Gaussian likelihood beside the squared error in the loss."""

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
    compiled: ClassVar[tuple[type[nn.Module], ...]] = (Block, Merge, WeightedSum, Correction)
    multiple: ClassVar[int] = MULTIPLE
    uses_context: ClassVar[bool] = True

    def __init__(self, options: TemporalOptions, *, ignored: Sequence[str] = ()) -> None:
        super().__init__()
        self.options: TemporalOptions = options
        self.ignored = tuple(ignored)
        widths, length = options.widths, options.embedding
        self.own_embedding = perceptron(encoding.OWN_LENGTH, length)
        self.pair_embedding = perceptron(encoding.IMAGE_LENGTH, length)
        inputs = encoding.TARGET_LENGTH + length + scene.EMBEDDING_LENGTH
        self.target_embedding = perceptron(inputs, length)
        self.image_stem = nn.Conv2d(4 * IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.shared_stem = nn.Conv2d(4 * SHARED_CHANNELS, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            Stage(width, count, length) for width, count in zip(widths, options.blocks, strict=True)
        )
        self.downsample = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.merge = nn.ModuleList(Merge(width, length) for width in widths)
        decoded = (options.decoder_width, *widths[1:])
        self.decoder = nn.ModuleList(
            Stage(width, count, length)
            for width, count in zip(decoded, options.decoder_blocks, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(decoded)
        )
        self.skip = nn.Conv2d(widths[0], decoded[0], 1)
        self.scene_stem = nn.Conv2d(SCENE_CHANNELS, decoded[0], 3, padding=1)
        self.weighted_sum = WeightedSum(widths[0], widths[1], decoded[0], length)
        self.correction = Correction(decoded[0], options.fine_width)
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
        baseline = self.baseline_inputs(previous, elevation, conditions, days, day_of_year)
        features = apply_to_images(self.image_stem, functional.pixel_unshuffle(baseline.images, 2))
        shared = self.shared_stem(functional.pixel_unshuffle(baseline.shared, 2))
        levels = [apply_stage(self.encoder[0], features + shared[:, None], baseline.embeddings)]
        for number in (1, 2):
            features = apply_to_images(self.downsample[number - 1], levels[-1])
            levels.append(apply_stage(self.encoder[number], features, baseline.embeddings))
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
        target = self.target_inputs(encoded.baseline, conditions, days, day_of_year, context)
        merged, decoded = self._merge(encoded, target)
        fine = self.fine_channels(encoded.baseline, target, merged)
        return self.prediction(encoded.baseline, target, merged, self.correction(decoded, fine))

    def baseline_inputs(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
    ) -> BaselineInputs:
        """Compute what the encoder is given."""
        rows = self._known(conditions)
        scaled, elevation = scale(pad(previous)), pad(elevation)
        own, values = encoding.encode_images(rows, days, day_of_year), statistics(scaled)
        embeddings = self.own_embedding(torch.cat([own, values], dim=-1))
        channels = input_channels(scaled, elevation, rows[:, :-1, HEADING])
        return BaselineInputs(scaled, elevation, values, embeddings, *channels)

    def target_inputs(
        self,
        baseline: BaselineInputs,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        context: Tensor | None = None,
    ) -> TargetInputs:
        """Compute what the decoder is given."""
        rows = self._known(conditions)
        if context is None:
            context = rows.new_full((len(rows), *scene.TABLE_SHAPE), torch.nan)
        pairs, alone = encoding.encode_target(rows, days, day_of_year)
        embeddings = self.pair_embedding(torch.cat([pairs, baseline.statistics], dim=-1))
        parts = [alone, embeddings.mean(dim=1), scene.embedding_inputs(context)]
        embedding = self.target_embedding(torch.cat(parts, dim=-1))
        return TargetInputs(embeddings, embedding, *scene_channels(baseline, rows, context))

    def fine_channels(
        self, baseline: BaselineInputs, target: TargetInputs, merged: Tensor
    ) -> Tensor:
        """Channels of the correction at full resolution, dims (window, channel, y, x)."""
        scaled = baseline.scaled
        return torch.cat([merged, scaled.mean, scaled.deviation, target.departure], dim=1)

    def prediction(
        self, baseline: BaselineInputs, target: TargetInputs, merged: Tensor, output: Tensor
    ) -> Prediction:
        """Compute the prediction from the weighted sum and the output of the correction."""
        scaled = baseline.scaled
        correction, log_ratio = output.float().chunk(2, dim=1)
        expected = merged.float() + correction + self.gain * target.departure
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
        scaled = scale(pad(batch.every(targets).previous))
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

    def _merge(self, encoded: Encoded, target: TargetInputs) -> tuple[Tensor, Tensor]:
        """Give the weighted sum of the previous images, and the decoded features at 1/2."""
        scaled, embeddings = encoded.baseline.scaled, target.pair_embeddings
        coarse = apply_to_images(self.downsample[2], encoded.features[-1])
        levels = [*encoded.features, apply_stage(self.encoder[3], coarse, embeddings)]
        if self.training:
            mark_dynamic(1, *levels, embeddings, scaled.images, scaled.valid)
        merged = [merge(level, embeddings) for merge, level in zip(self.merge, levels, strict=True)]
        decoded = self.decoder[3](merged[3], target.target_embedding)
        for number in (2, 1, 0):
            skipped = merged[number]
            if number == 0:
                skipped = self.skip(skipped) + self.scene_stem(target.scene)
            upsampled = functional.interpolate(self.upsample[number](decoded), scale_factor=2)
            decoded = self.decoder[number](upsampled + skipped, target.target_embedding)
        return self.weighted_sum(scaled, *levels[:2], decoded, embeddings), decoded


def _window_variance(prediction: Prediction) -> Tensor:
    """Variance over the previous images by which the loss divides, dims (window, 1, 1, 1), dB²."""
    assert prediction.window_variance is not None
    variance = prediction.window_variance.mean(dim=1, keepdim=True)
    return variance.clamp(min=MIN_WINDOW_VARIANCE_DB2)


def _interleave(parts: Sequence[tuple[Tensor | None, ...]]) -> Iterator[Tensor]:
    """Join tensors of the first, second, ... target of each baseline, by baseline."""
    for tensors in zip(*parts, strict=True):
        yield torch.stack(tensors, dim=1).flatten(0, 1)
