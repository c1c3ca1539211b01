"""Inference on CPUs: the temporal network, image by image, in channels-last order.

The expected image is that of ``networks.temporal.Temporal``; only how it is computed differs:

- one image after another, so that features stay in caches and in memory that is used again;
- in dims (1, y, x, channel), with the 2 x 2 pixels of a block as channels at 1/2 of the resolution;
- layer norm and its modulation at once, activations and sums in place;
- the softmax over images as running sums of weights and of weighted values;
- wide convolutions by Winograd's algorithm (``networks.convolution``).
"""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcast.io.memory import release_memory
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.convolution import prepare
from sarcast.prediction.networks.inputs import BaselineInputs, TargetInputs, crop
from sarcast.prediction.networks.temporal import Temporal
from sarcast.windows import BANDS, Batch

MOST_DOUBLINGS = 80.0
"""Score of an image relative to the reference, as a power of 2, above which the image becomes the
reference: below it, no weight overflows."""
MISSING = -2.0e4
"""Score of an image where it has no data, below all others."""
_LOG2_E = 1.0 / math.log(2.0)
_PIXELS = 4


class _Image(NamedTuple):
    """A previous image as it is encoded for any target, dims (1, y, x, channel).

    Attributes
    ----------
    pixels
        At 1/2 of the resolution, float32: the scaled image, channels (pixel, band).
    counted
        Same dims: 0 where this image has no data and another one has, else 1; None if no image has
        a gap.
    levels
        Features at 1/2, 1/4 and 1/8 of the resolution.
    """

    pixels: Tensor
    counted: Tensor | None
    levels: list[Tensor]

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        counted = 0 if self.counted is None else self.counted.nbytes
        return self.pixels.nbytes + counted + sum(level.nbytes for level in self.levels)


class Encoded(NamedTuple):
    """A baseline as it is encoded for any target."""

    baseline: BaselineInputs
    images: list[_Image]

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return self.baseline.nbytes + sum(image.nbytes for image in self.images)


Remember = Callable[[int, Callable[[], Encoded]], Encoded]
"""Gives the encoded baseline of a run of windows: one that was kept, or what the function makes."""


class Engine:
    """The temporal network, prepared for inference on a CPU.

    Parameters
    ----------
    network
        The network; the engine copies the weights that it has now.
    dtype
        Number format of the features, ``torch.float32`` or ``torch.bfloat16``.
    """

    def __init__(self, network: Temporal, dtype: torch.dtype) -> None:
        network = deepcopy(network)
        self._network: Any = network
        self._dtype = dtype
        by_pixel = {layer: _inputs_by_pixel(layer) for layer in _stems(network)}
        upsample = self._network.correction.upsample
        by_pixel[upsample] = _outputs_by_pixel(upsample)
        self._layers = {
            layer: prepare(by_pixel.get(layer, layer), dtype)
            for layer in network.modules()
            if isinstance(layer, nn.Conv2d)
        }
        self._weighted_sum = _WeightedSum(self._network.weighted_sum, dtype)
        release_memory()  # weights are transformed in double precision

    @torch.inference_mode()
    def predict_targets(
        self, batch: Batch, targets: int, remember: Remember = lambda _run, encode: encode()
    ) -> Prediction:
        """Predict windows of which each run of ``targets`` has the same baseline, encoded once."""
        predictions = []
        for index in range(len(batch.target)):
            window = batch.every(len(batch.target), start=index)
            rows = window.conditions, window.days, window.day_of_year
            if index % targets == 0:
                encoded = remember(index // targets, partial(self._encoded, window))
            target = self._network.target_inputs(encoded.baseline, *rows, window.context)
            predictions.append(self._decode(encoded.images, encoded.baseline, target))
        joined = Prediction(*(torch.cat(parts) for parts in zip(*predictions, strict=True)))
        return crop(joined, batch.previous.shape[-2:])

    def _encoded(self, window: Batch) -> Encoded:
        """Encode the baseline of a window."""
        rows = window.conditions, window.days, window.day_of_year
        baseline = self._network.baseline_inputs(window.previous, window.elevation, *rows)
        images = self._encode(baseline)
        return Encoded(baseline.for_targets(), images)

    def _encode(self, baseline: BaselineInputs) -> list[_Image]:
        """Encode the previous images of a window."""
        scaled, network = baseline.scaled, self._network
        shared = self._layers[network.shared_stem](self._channels(baseline.shared[0]))
        counted = None
        if not scaled.valid.all():
            counted = 1.0 - scaled.valid[0].amax(dim=0) + scaled.valid[0]
        images = []
        for index, embedding in enumerate(baseline.embeddings[0]):
            channels = self._channels(baseline.images[0, index])
            features = self._layers[network.image_stem](channels).add_(shared)
            image = _Image(
                _by_pixel(_last(scaled.images[0, index])),
                None if counted is None else _by_pixel(_last(counted[index])),
                self._levels(features, embedding),
            )
            images.append(image)
        return images

    def _channels(self, channels: Tensor) -> Tensor:
        """Input of a stem, from dims (channel, y, x)."""
        return _by_pixel(_last(channels.to(self._dtype)))

    def _levels(self, features: Tensor, embedding: Tensor) -> list[Tensor]:
        """Features of an image in the stages of the encoder that no target changes."""
        network = self._network
        levels = [self._stage(network.encoder[0], features, embedding)]
        for number in (1, 2):
            features = self._layers[network.downsample[number - 1]](levels[-1])
            levels.append(self._stage(network.encoder[number], features, embedding))
        return levels

    def _decode(
        self, images: list[_Image], baseline: BaselineInputs, target: TargetInputs
    ) -> Prediction:
        """Predict a target from encoded images, with rows and columns still padded."""
        features = self._merge(images, target)
        merged = self._weighted_sum(images, target.pair_embeddings[0], features)
        fine = self._network.fine_channels(baseline, target, merged)
        output = self._correct(features, _last(fine[0].to(self._dtype)))
        prediction: Prediction = self._network.prediction(baseline, target, merged, output)
        return prediction

    def _merge(self, images: list[_Image], target: TargetInputs) -> Tensor:
        """Merge the images at all resolutions; give the decoded features at 1/2."""
        network, layers, embedding = self._network, self._layers, target.target_embedding[0]
        merges = [_Merge(merge, self._dtype) for merge in network.merge]
        for image, pair in zip(images, target.pair_embeddings[0], strict=True):
            coarse = layers[network.downsample[2]](image.levels[2])
            levels = [*image.levels, self._stage(network.encoder[3], coarse, pair)]
            for merge, level in zip(merges, levels, strict=True):
                merge.add_features(level, pair)
        features = self._stage(network.decoder[3], merges[3].mean(), embedding)
        for number in (2, 1, 0):
            finer = merges[number].mean()
            if number == 0:
                of_scene = layers[network.scene_stem](_last(target.scene[0].to(self._dtype)))
                finer = layers[network.skip](finer).add_(of_scene)
            _add_upsampled(finer, layers[network.upsample[number]](features))
            features = self._stage(network.decoder[number], finer, embedding)
        return features

    def _correct(self, features: Tensor, channels: Tensor) -> Tensor:
        """Correction and log-variance at full resolution, dims (1, channel, y, x)."""
        layers, correction = self._layers, self._network.correction
        hidden = _from_pixels(layers[correction.upsample](features))
        hidden.add_(layers[correction.images](channels))
        hidden = layers[correction.hidden](functional.silu(hidden, inplace=True))
        output = layers[correction.output](functional.silu(hidden, inplace=True))
        return output.permute(0, 3, 1, 2)

    def _stage(self, blocks: Any, features: Tensor, embedding: Tensor) -> Tensor:
        """Apply residual blocks, in place."""
        for block in blocks:
            factor, shift = block.modulate(embedding).to(self._dtype).chunk(2)
            normed = functional.layer_norm(features, factor.shape, 1.0 + factor, shift)
            hidden = functional.silu(self._layers[block.first](normed), inplace=True)
            features.add_(self._layers[block.second](hidden))
        return features


class _Average:
    """Average over images, weighted by a softmax of their scores, in running sums.

    Scores are powers of 2, for speed: natural ones times log2(e).
    """

    def __init__(self) -> None:
        self._reference: Tensor | None = None
        self._weights: Tensor | None = None
        self._total: Tensor | None = None

    def add(self, score: Tensor, value: Tensor, counted: Tensor | None = None) -> None:
        """Add an image, where ``counted`` is 1; score and value are overwritten."""
        if counted is not None:
            score.masked_fill_(counted == 0.0, MISSING)
        if self._reference is None:
            self._reference, weight = score, torch.ones_like(score)
        else:
            weight = score.sub_(self._reference)
            if float(weight.max()) > MOST_DOUBLINGS:
                self._raise_reference(weight)
            weight.clamp_(min=-MOST_DOUBLINGS).exp2_()
        if counted is not None:
            weight.mul_(counted)
        if self._weights is None or self._total is None:
            self._weights, self._total = weight, value.mul_(weight)
        else:
            self._total.addcmul_(weight, value)
            self._weights.add_(weight)

    def _raise_reference(self, relative: Tensor) -> None:
        """Make an image the reference where it scores higher; its relative scores are changed."""
        assert self._weights is not None and self._total is not None
        assert self._reference is not None
        rise = relative.clamp(min=0.0)
        relative.sub_(rise)
        self._reference = self._reference + rise
        decay = rise.neg_().exp2_()
        self._weights.mul_(decay)
        self._total.mul_(decay)

    def mean(self) -> Tensor:
        """Give the average, once: the sums are overwritten."""
        assert self._weights is not None and self._total is not None
        return self._total.div_(self._weights)


class _Merge(_Average):
    """Images merged at one resolution."""

    def __init__(self, merge: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self._modulate, self._bias = merge.modulate, merge.score.bias * _LOG2_E
        self._weight = (_matrix(merge.score) * _LOG2_E).to(dtype)

    def add_features(self, features: Tensor, embedding: Tensor) -> None:
        """Add the features of an image."""
        score, factor, shift = self._modulate(embedding).chunk(3)
        bias = (self._bias + score * _LOG2_E).to(features.dtype)
        value = _modulate(features, 1.0 + factor, shift)
        self.add(functional.linear(features, self._weight, bias), value)


class _WeightedSum:
    """The weighted sum of the previous images, each shifted."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self._layer, self._dtype = layer, dtype
        self._bias = layer.fine.bias + layer.coarse.bias + layer.decoded.bias
        self._decoded = _matrix(layer.decoded).to(dtype)
        output = _outputs_by_pixel(layer.output)
        is_shift = (torch.arange(output.out_channels) // len(BANDS)) % 2 > 0
        self._score, self._shift = (
            [values[part].mul(unit).to(dtype) for values in (_matrix(output), _bias(output))]
            for part, unit in ((~is_shift, _LOG2_E), (is_shift, 1.0))
        )

    def __call__(self, images: list[_Image], embeddings: Tensor, decoded: Tensor) -> Tensor:
        """Sum the images; dims (1, band, y, x), float32."""
        shared = functional.linear(decoded, self._decoded)
        average = _Average()
        for image, embedding in zip(images, embeddings, strict=True):
            hidden = self._hidden(image, embedding, shared)
            score = functional.linear(hidden, *self._score).float()
            shifted = functional.linear(hidden, *self._shift) + image.pixels
            average.add(score, shifted, image.counted)
        return _from_pixels(average.mean()).permute(0, 3, 1, 2).contiguous()

    def _hidden(self, image: _Image, embedding: Tensor, shared: Tensor) -> Tensor:
        """Features of an image with those of the target, modulated by way of the weights."""
        layer, dtype = self._layer, self._dtype
        factor, shift = layer.modulate(embedding).chunk(2)
        factor = 1.0 + factor
        fine, coarse = (
            (factor[:, None] * _matrix(part)).to(dtype) for part in (layer.fine, layer.coarse)
        )
        bias = (factor * self._bias + shift).to(dtype)
        hidden = functional.linear(image.levels[0], fine, bias).add_(shared * factor.to(dtype))
        _add_upsampled(hidden, functional.linear(image.levels[1], coarse))
        return functional.silu(hidden, inplace=True)


def _stems(network: Temporal) -> tuple[nn.Conv2d, nn.Conv2d]:
    return network.image_stem, network.shared_stem


def _matrix(layer: nn.Conv2d) -> Tensor:
    """Weights of a convolution of 1 x 1 pixel, dims (output, input)."""
    return layer.weight.detach()[:, :, 0, 0]


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()


def _inputs_by_pixel(layer: nn.Conv2d) -> nn.Conv2d:
    """Copy a layer with its inputs in the order (pixel, channel), not (channel, pixel)."""
    outputs, inputs, *kernel = layer.weight.shape
    weight = layer.weight.detach().reshape(outputs, -1, _PIXELS, *kernel)
    copied = deepcopy(layer)
    copied.weight = nn.Parameter(weight.transpose(1, 2).reshape(outputs, inputs, *kernel))
    return copied


def _outputs_by_pixel(layer: nn.Conv2d) -> nn.Conv2d:
    """Copy a layer with its outputs in the order (pixel, channel), not (channel, pixel)."""
    copied = deepcopy(layer)
    order = torch.arange(layer.out_channels).reshape(-1, _PIXELS).T.flatten()
    copied.weight, copied.bias = (
        nn.Parameter(values[order]) for values in (layer.weight.detach(), _bias(layer))
    )
    return copied


def _last(channels: Tensor) -> Tensor:
    """From dims (channel, y, x) to (1, y, x, channel)."""
    return channels.permute(1, 2, 0)[None].contiguous()


def _by_pixel(images: Tensor) -> Tensor:
    """Make the pixels of each block of 2 x 2 channels, in the order (pixel, channel)."""
    _, rows, columns, channels = images.shape
    blocks = images.view(1, rows // 2, 2, columns // 2, 2, channels)
    return blocks.transpose(2, 3).reshape(1, rows // 2, columns // 2, _PIXELS * channels)


def _from_pixels(images: Tensor) -> Tensor:
    """Undo ``_by_pixel``."""
    _, rows, columns, channels = images.shape
    blocks = images.view(1, rows, columns, 2, 2, channels // _PIXELS)
    return blocks.transpose(2, 3).reshape(1, 2 * rows, 2 * columns, channels // _PIXELS)


def _modulate(features: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Compute factor * features + shift, with one factor and shift for each channel.

    They are repeated for a row of pixels: operations that repeat few channels are slow.
    """
    rows, columns = features.shape[1:3]
    factor, shift = (value.to(features.dtype).repeat(columns) for value in (factor, shift))
    return torch.addcmul(shift, features.view(rows, -1), factor).view(features.shape)


def _add_upsampled(fine: Tensor, coarse: Tensor) -> None:
    """Add features of half the resolution, each to the 2 x 2 pixels that it covers, in place."""
    rows = coarse.shape[1]
    wide = coarse.repeat_interleave(2, dim=2)
    fine.view(rows, 2, -1).add_(wide.view(rows, 1, -1))
