"""The conditional temporal network: any number of previous images, mean and deviation out."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.protocol import Prediction
from sarcast.prediction.networks.scaling import Scaled, scale, statistics
from sarcast.sensor.conditions import HEADING, column_indices
from sarcast.windows import BANDS

LEAST_USUAL_DB2 = 0.1
"""Variance over previous images, dB², that a window's errors are weighed by at least."""
LOG_VARIANCE_BOUND = 6.0
"""Largest departure of the log-variance from that of the window."""
SLOPE_M = 3.0
"""Rise over one pixel, m, from which on slopes count by their logarithm."""
RELIEF_M = 100.0
MULTIPLE = 16
"""Rows and columns are a multiple of it, as the four halvings ask."""

Channels = Annotated[int, Field(ge=1, le=4096)]
Blocks = Annotated[int, Field(ge=0, le=64)]


class TemporalOptions(BaseModel):
    """Width and depth of the conditional temporal network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[Channels, Channels, Channels, Channels] = Field(
        (48, 80, 128, 176), description="channels at 1/2, 1/4, 1/8 and 1/16 of the resolution"
    )
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (1, 2, 2, 2), description="residual blocks of the encoder at each of these"
    )
    decoder_width: int = Field(64, ge=8, le=512, description="channels of the decoder at 1/2")
    decoder_blocks: tuple[Blocks, Blocks, Blocks, Blocks] = Field(
        (2, 2, 2, 1), description="residual blocks of the decoder at each resolution"
    )
    fine_width: int = Field(24, ge=4, le=256, description="channels at full resolution")
    embedding: int = Field(128, ge=8, le=1024, description="values that conditions are told in")


class Temporal(nn.Module):
    """A network that moves previous images to the target's conditions and merges them.

    Each previous image is encoded by one encoder, modulated by the way from its conditions to the
    target's. At four resolutions the encodings are merged by a softmax over images, so that their
    number and order are free. The expected image is a weighted sum of the previous images, each
    with its own shift, plus a correction.

    Parameters
    ----------
    options
        Width and depth.
    ignored
        Names of conditions that count as missing everywhere.
    """

    kind: ClassVar[str] = "temporal"
    compiled: ClassVar[tuple[type[nn.Module], ...]]
    multiple: ClassVar[int] = MULTIPLE
    least: ClassVar[int] = 1
    size: int | None = None
    previous: int | None = None

    def __init__(self, options: TemporalOptions, *, ignored: Sequence[str] = ()) -> None:
        super().__init__()
        self.options = options
        self.ignored = tuple(ignored)
        widths, length = options.widths, options.embedding
        self.way = _perceptron(encoding.LENGTH, length)
        self.target = _perceptron(encoding.TARGET_LENGTH + length, length)
        self.image_stem = nn.Conv2d(4 * _IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.shared_stem = nn.Conv2d(4 * _SHARED_CHANNELS, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(widths, options.blocks, strict=True)
        )
        self.shrink = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.merge = nn.ModuleList(_Merge(width) for width in widths)
        decoded = (options.decoder_width, *widths[1:])
        self.decoder = nn.ModuleList(
            _Stage(width, count, length)
            for width, count in zip(decoded, options.decoder_blocks, strict=True)
        )
        self.grow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(decoded))
        self.skip = nn.Conv2d(widths[0], decoded[0], 1)
        self.mover = _Mover(widths[0], widths[1], decoded[0])
        self.fine = _Fine(decoded[0], options.fine_width)

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
        embedded, target = self._embed(scaled, rows, days, day_of_year)
        images, shared = _channels(scaled, _pad(elevation), rows[..., HEADING])
        weighted, decoded = self._decode(scaled, images, shared, embedded, target)
        fine = torch.cat([weighted, scaled.mean, scaled.deviation], dim=1)
        out = self.fine(decoded, fine).float()
        mean = (weighted.float() + out[:, :2]) * scaled.spread + scaled.level
        bounded = LOG_VARIANCE_BOUND * torch.tanh(out[:, 2:] / LOG_VARIANCE_BOUND)
        usual = scaled.variance * scaled.spread.square()
        log_variance = bounded + usual.log()
        return Prediction(mean[..., :height, :width], log_variance[..., :height, :width], usual)

    def loss(self, prediction: Prediction, target: Tensor, goal: Tensor | None = None) -> Tensor:
        """Squared error of the mean, and Gaussian likelihood of the variance with the mean held.

        A window's squared error counts in units of the variance over its previous images, so that
        rough windows do not drown smooth ones.

        Parameters
        ----------
        prediction
            What ``forward`` gave.
        target
            Dims (window, band, y, x), dB; NaN is ignored.
        goal
            What the mean is drawn to, dims as ``target``; the target where None.
        """
        assert prediction.log_variance is not None
        seen = torch.isfinite(target)
        square = torch.where(seen, prediction.mean - target, 0.0).square()
        drawn = square
        if goal is not None:
            drawn = torch.where(seen, prediction.mean - goal, 0.0).square()
        weighed = drawn / _usual(prediction)
        likelihood = square.detach() * torch.exp(-prediction.log_variance) + prediction.log_variance
        total = torch.where(seen, weighed + 0.1 * likelihood, 0.0)
        return total.sum() / seen.sum().clamp(min=1)

    def contrast(
        self, prediction: Prediction, other: Prediction, moved: Tensor, counted: Tensor
    ) -> Tensor:
        """Squared error of how far other conditions move the mean, in the units of ``loss``.

        Parameters
        ----------
        prediction, other
            What ``forward`` gave of the same windows under both conditions.
        moved
            Dims (window, band, y, x), dB: the expected image under the others less that under the
            first.
        counted
            Dims (window), bool: windows that count; others add nothing.
        """
        away = (other.mean - prediction.mean - moved).square() / _usual(prediction)
        return (away.mean(dim=(1, 2, 3)) * counted).mean()

    def normalisation(self) -> dict[str, Any]:
        """Give the conditions left out, for ``model.yaml``; images are scaled by their own."""
        return {"ignored": list(self.ignored)}

    @classmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> "Temporal":
        """Make the network that ``model.yaml`` describes."""
        return cls(TemporalOptions(**options), ignored=normalisation["ignored"])

    def _embed(
        self, scaled: Scaled, rows: Tensor, days: Tensor, day_of_year: Tensor
    ) -> tuple[Tensor, Tensor]:
        ways, target = encoding.encode_views(rows, days, day_of_year)
        embedded = self.way(torch.cat([ways, statistics(scaled)], dim=-1))
        return embedded, self.target(torch.cat([target, embedded.mean(dim=1)], dim=-1))

    def _decode(
        self, scaled: Scaled, images: Tensor, shared: Tensor, embedded: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = embedded.shape[1]
        features = _each(self.image_stem, functional.pixel_unshuffle(images, 2))
        features = features + self.shared_stem(functional.pixel_unshuffle(shared, 2))[:, None]
        levels = []
        for place, stage in enumerate(self.encoder):
            if place:
                features = _each(self.shrink[place - 1], features)
            flat = stage(features.flatten(0, 1), embedded.flatten(0, 1))
            features = flat.reshape(-1, count, *flat.shape[1:])
            levels.append(features)
        if self.training:
            _of_any_number(1, *levels, scaled.images, scaled.seen)
        merged = [merge(level) for merge, level in zip(self.merge, levels, strict=True)]
        decoded = self.decoder[3](merged[3], target)
        for place in (2, 1, 0):
            skipped = self.skip(merged[0]) if place == 0 else merged[place]
            grown = functional.interpolate(self.grow[place](decoded), scale_factor=2)
            decoded = self.decoder[place](grown + skipped, target)
        return self.mover(scaled, levels[0], levels[1], decoded), decoded


def _usual(prediction: Prediction) -> Tensor:
    """Variance over the previous images that a window's squares are weighed by."""
    assert prediction.usual is not None
    return prediction.usual.mean(dim=1, keepdim=True).clamp(min=LEAST_USUAL_DB2)


_IMAGE_CHANNELS = 2 * len(BANDS) + 1
_SHARED_CHANNELS = 2 * len(BANDS) + 3


def _channels(scaled: Scaled, elevation: Tensor, headings: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each image, (window, image, channel, y, x), and of all of them together."""
    slopes = torch.asinh(encoding.slope_along_look(elevation, headings) / SLOPE_M)
    known = torch.isfinite(elevation).float()
    ground = torch.where(known > 0, elevation, 0.0)
    number = known.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    relief = (ground - ground.sum(dim=(1, 2), keepdim=True) / number) * known / RELIEF_M
    images = torch.cat([scaled.images, scaled.seen, slopes[:, :-1, None]], dim=2)
    over = torch.stack([torch.asinh(relief), slopes[:, -1], known], dim=1)
    return images, torch.cat([scaled.mean, scaled.deviation, over], dim=1)


class _Stage(nn.ModuleList):
    """Residual blocks at one resolution."""

    def __init__(self, width: int, count: int, length: int) -> None:
        super().__init__(_Block(width, length) for _ in range(count))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        for block in self:
            if self.training:
                _of_any_number(0, x, embedded)
            x = block(x, embedded)
        return x


class _Block(nn.Module):
    """Normalise over channels, modulate by conditions, two convolutions, add."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(length, 2 * width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _silence(self.modulate)
        nn.init.normal_(self.second.weight, std=0.3 / (3.0 * width**0.5))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        factor, shift = self.modulate(embedded)[:, None, None].chunk(2, dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            normed = self.norm(x.permute(0, 2, 3, 1))
        modulated = normed * (1.0 + factor) + shift
        hidden = self.first(modulated.permute(0, 3, 1, 2))
        added: Tensor = x + self.second(functional.silu(hidden))
        return added


class _Merge(nn.Module):
    """Merge images by a softmax over them, each channel for itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor) -> Tensor:
        merged: Tensor = (torch.softmax(_each(self.score, level), dim=1) * level).sum(dim=1)
        return merged


class _Mover(nn.Module):
    """Weight and shift of each previous image at full resolution; their weighted sum."""

    def __init__(self, fine: int, coarse: int, decoded: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(fine, fine, 1)
        self.coarse = nn.Conv2d(coarse, fine, 1)
        self.decoded = nn.Conv2d(decoded, fine, 1)
        self.last = nn.Conv2d(fine, 4 * 2 * len(BANDS), 1)
        _silence(self.last)

    def forward(self, scaled: Scaled, fine: Tensor, coarse: Tensor, decoded: Tensor) -> Tensor:
        windows, count = fine.shape[:2]
        wider = functional.interpolate(self.coarse(coarse.flatten(0, 1)), scale_factor=2)
        shared = self.decoded(decoded).repeat_interleave(count, dim=0)
        hidden: Tensor = self.own(fine.flatten(0, 1)) + wider + shared
        told = functional.pixel_shuffle(self.last(functional.silu(hidden)).float(), 2)
        told = told.reshape(windows, count, *told.shape[1:])
        score, shift = told.chunk(2, dim=2)
        weights = torch.softmax(score - 1e4 * (1.0 - scaled.seen), dim=1)
        moved: Tensor = (weights * (scaled.images + shift)).sum(dim=1)
        return moved


class _Fine(nn.Module):
    """Correction and log-variance at full resolution."""

    def __init__(self, decoded: int, width: int) -> None:
        super().__init__()
        self.grow = nn.Conv2d(decoded, 4 * width, 1)
        self.images = nn.Conv2d(3 * len(BANDS), width, 3, padding=1)
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 2 * len(BANDS), 3, padding=1)
        _silence(self.last)

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        told = functional.pixel_shuffle(self.grow(decoded), 2) + self.images(images)
        told = functional.silu(self.hidden(functional.silu(told)))
        last: Tensor = self.last(told)
        return last


Temporal.compiled = (_Block, _Merge, _Mover, _Fine)


def _perceptron(entering: int, length: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(entering, length), nn.SiLU(), nn.Linear(length, length), nn.SiLU()
    )


def _of_any_number(dim: int, *tensors: Tensor) -> None:
    """Tell a compiler which dimension of tensors has another length at every step."""
    for tensor in tensors:
        torch._dynamo.maybe_mark_dynamic(tensor, dim)


def _silence(layer: nn.Conv2d | nn.Linear) -> None:
    """Let a layer give zeros, until training moves it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _each(layer: nn.Module, images: Tensor) -> Tensor:
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
