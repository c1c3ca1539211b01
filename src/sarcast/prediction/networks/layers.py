"""Layers of the temporal network, for images of any size and in any number."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcast.prediction.networks.scaling import Scaled
from sarcast.windows import BANDS


class Stage(nn.ModuleList):
    """Residual blocks at one resolution."""

    def __init__(self, width: int, count: int, length: int) -> None:
        super().__init__(Block(width, length) for _ in range(count))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Dims of ``x`` (image, channel, y, x), of the embedding (image, value)."""
        for block in self:
            if self.training:
                mark_dynamic(0, x, embedding)
            x = block(x, embedding)
        return x


class Block(nn.Module):
    """Residual block: layer norm over channels, modulated by conditions; two convolutions."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(length, 2 * width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _zero_initialise(self.modulate)
        if not self.second.weight.is_meta:  # without memory, PyTorch would load its compiler for it
            nn.init.normal_(self.second.weight, std=0.3 / (3.0 * width**0.5))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Dims of ``x`` (image, channel, y, x), of the embedding (image, value)."""
        factor, shift = self.modulate(embedding)[:, None, None].chunk(2, dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            normed = self.norm(x.permute(0, 2, 3, 1))
        modulated = normed * (1.0 + factor) + shift
        hidden = self.first(modulated.permute(0, 3, 1, 2))
        added: Tensor = x + self.second(functional.silu(hidden))
        return added


class Merge(nn.Module):
    """Merge images by a softmax over them, separately in each channel and pixel."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, width, 1)
        self.modulate = nn.Linear(length, 3 * width)
        _zero_initialise(self.modulate)

    def forward(self, level: Tensor, embeddings: Tensor) -> Tensor:
        """Features (window, image, channel, y, x) and embeddings (window, image, value)."""
        score, factor, shift = self.modulate(embeddings)[..., None, None].chunk(3, dim=2)
        weights = torch.softmax(apply_to_images(self.score, level) + score, dim=1)
        merged: Tensor = (weights * (level * (1.0 + factor) + shift)).sum(dim=1)
        return merged


class WeightedSum(nn.Module):
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
        """Sum the images; dims (window, band, y, x), in spreads of the window.

        Parameters
        ----------
        scaled
            The previous images.
        fine, coarse
            Dims (window, image, channel, y, x): encoded features at 1/2 and 1/4.
        decoded
            Dims (window, channel, y, x): decoded features at 1/2.
        embeddings
            Dims (window, image, value): of each image and how the target differs from it.
        """
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


class Correction(nn.Module):
    """Correction of the mean, and log-variance, at full resolution."""

    def __init__(self, decoded: int, width: int) -> None:
        super().__init__()
        self.upsample = nn.Conv2d(decoded, 4 * width, 1)
        self.images = nn.Conv2d(4 * len(BANDS), width, 3, padding=1)
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.output = nn.Conv2d(width, 2 * len(BANDS), 3, padding=1)
        _zero_initialise(self.output)

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        """Decoded features at 1/2 and channels at full resolution, both (window, channel, y, x)."""
        hidden = functional.pixel_shuffle(self.upsample(decoded), 2) + self.images(images)
        hidden = functional.silu(self.hidden(functional.silu(hidden)))
        output: Tensor = self.output(hidden)
        return output


def perceptron(inputs: int, length: int) -> nn.Sequential:
    """Make two linear layers, each with its activation, for an embedding of this length."""
    return nn.Sequential(nn.Linear(inputs, length), nn.SiLU(), nn.Linear(length, length), nn.SiLU())


def mark_dynamic(dim: int, *tensors: Tensor) -> None:
    """Mark for the compiler the dimension whose length differs from step to step."""
    for tensor in tensors:
        torch._dynamo.maybe_mark_dynamic(tensor, dim)


def _zero_initialise(layer: nn.Conv2d | nn.Linear) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def apply_to_images(layer: nn.Module, images: Tensor) -> Tensor:
    """Apply a layer to every image; dims (window, image, channel, y, x)."""
    out: Tensor = layer(images.flatten(0, 1))
    return out.reshape(*images.shape[:2], *out.shape[1:])


def apply_stage(stage: nn.Module, features: Tensor, embeddings: Tensor) -> Tensor:
    """Apply a stage to every image, (window, image, channel, y, x), with its embedding."""
    flat: Tensor = stage(features.flatten(0, 1), embeddings.flatten(0, 1))
    return flat.reshape(*features.shape[:2], *flat.shape[1:])
