"""Previous images scaled by their own window, and what is told of each within it."""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SPREAD_DB = 0.5
"""Spread of a window that images are scaled by at least, dB."""
LEVELS_DB = ((-20.0, -6.0), (-27.0, -12.0))
"""Lowest and highest mean of a window that is told, VV and VH: those of the worlds, as a network
would make up what lies beyond."""
LEAST_VARIANCE = 0.05
"""Variance over previous images, in squared spreads, that a window counts with at least."""


@dataclass(frozen=True)
class Scaled:
    """Previous images scaled by the mean and the spread of their own window.

    Attributes
    ----------
    images
        Dims (window, image, band, y, x); the mean over images where an image saw nothing.
    seen
        The same dims, 1 where the image saw something.
    mean, deviation
        Dims (window, band, y, x): over images.
    level, spread
        Dims (window, band, 1, 1), dB.
    variance
        Dims (window, band, 1, 1), squared spreads: over images, mean over the window.
    """

    images: Tensor
    seen: Tensor
    mean: Tensor
    deviation: Tensor
    level: Tensor
    spread: Tensor
    variance: Tensor


def scale(previous: Tensor) -> Scaled:
    """Scale previous images, (window, image, band, y, x) in dB, by their window's own."""
    seen = torch.isfinite(previous).float()
    filled = torch.where(seen > 0, previous, 0.0).float()
    number = seen.sum(dim=(1, 3, 4), keepdim=True).clamp(min=1.0)
    level = filled.sum(dim=(1, 3, 4), keepdim=True) / number
    away = (filled - level) * seen
    spread = (away.square().sum(dim=(1, 3, 4), keepdim=True) / number).sqrt()
    spread = spread.clamp(min=LEAST_SPREAD_DB)
    images = away / spread
    times = seen.sum(dim=1).clamp(min=1.0)
    mean = images.sum(dim=1) / times
    departure = (images - mean[:, None]) * seen
    square = departure.square().sum(dim=1)
    freedom = (seen.sum(dim=1) - 1.0).clamp(min=0.0)
    pixels = (2, 3)
    variance = square.sum(dim=pixels, keepdim=True) / freedom.sum(dim=pixels, keepdim=True).clamp(
        min=1.0
    )
    return Scaled(
        images=mean[:, None] + departure,
        seen=seen,
        mean=mean,
        deviation=(square / times).sqrt(),
        level=level[:, 0],
        spread=spread[:, 0],
        variance=variance.clamp(min=LEAST_VARIANCE),
    )


def statistics(scaled: Scaled) -> Tensor:
    """Tell of each image within its window; dims (window, image, value)."""
    number = scaled.seen.sum(dim=(3, 4)).clamp(min=1.0)
    departure = (scaled.images - scaled.mean[:, None]) * scaled.seen
    shift = departure.sum(dim=(3, 4)) / number
    rough = (departure.square().sum(dim=(3, 4)) / number + 1e-3).log() / 2.0
    share = scaled.seen.mean(dim=(2, 3, 4))[..., None]
    images = torch.full_like(share, float(scaled.images.shape[1])).log()
    usual = torch.tensor([-11.0, -17.0], device=share.device)
    low, high = torch.tensor(LEVELS_DB, device=share.device).T
    level = torch.clamp(scaled.level[..., 0, 0], low, high)
    window = torch.cat([(level - usual) / 6.0, scaled.spread[..., 0, 0].log()], -1)
    window = window[:, None].expand(-1, share.shape[1], -1)
    return torch.cat([shift, rough, share, images, window], dim=-1)
