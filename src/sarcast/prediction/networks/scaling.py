"""Previous images scaled by the statistics of their own window."""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_SPREAD_DB = 0.5
"""Least spread of a window that its images are divided by, dB."""
LEVEL_RANGE_DB = ((-20.0, -6.0), (-27.0, -12.0))
"""Lowest and highest mean of a window that the network is given, VV and VH, dB: the range of the
synthetic worlds, beyond which the network would extrapolate."""
MEAN_LEVEL_DB = (-11.0, -17.0)
LEVEL_SPREAD_DB = 6.0
"""Typical level of a window, VV and VH, and its spread, with which levels are scaled."""
MIN_VARIANCE = 0.05
"""Least variance over the previous images, in squared spreads."""


@dataclass(frozen=True)
class Scaled:
    """Previous images scaled by the mean and the spread of their own window.

    An image x in dB becomes (x − level) / spread.

    Attributes
    ----------
    images
        Dims (window, image, band, y, x); the mean over images where an image has no data.
    valid
        Same dims, 1 where the image has data, else 0.
    mean, deviation
        Dims (window, band, y, x): mean and standard deviation over images.
    level, spread
        Dims (window, band, 1, 1), dB: mean and standard deviation over images and pixels.
    variance
        Dims (window, band, 1, 1), squared spreads: variance over images, mean over pixels.
    """

    images: Tensor
    valid: Tensor
    mean: Tensor
    deviation: Tensor
    level: Tensor
    spread: Tensor
    variance: Tensor


def scale(previous: Tensor) -> Scaled:
    """Scale previous images by their own window.

    Parameters
    ----------
    previous
        Dims (window, image, band, y, x), dB; NaN where there is no data.
    """
    valid = torch.isfinite(previous).float()
    images = torch.where(valid > 0, previous, 0.0).float()
    number = valid.sum(dim=(1, 3, 4), keepdim=True).clamp(min=1.0)
    level = images.sum(dim=(1, 3, 4), keepdim=True) / number
    images.sub_(level).mul_(valid)
    spread = (images.square().sum(dim=(1, 3, 4), keepdim=True) / number).sqrt()
    spread = spread.clamp(min=MIN_SPREAD_DB)
    images.div_(spread)
    count = valid.sum(dim=1).clamp(min=1.0)
    mean = images.sum(dim=1) / count
    images.sub_(mean[:, None]).mul_(valid)  # departures, which gaps must not have
    square = images.square().sum(dim=1)
    images.add_(mean[:, None])
    freedom = (valid.sum(dim=1) - 1.0).clamp(min=0.0)
    pixels = (2, 3)
    variance = square.sum(dim=pixels, keepdim=True) / freedom.sum(dim=pixels, keepdim=True).clamp(
        min=1.0
    )
    return Scaled(
        images=images,
        valid=valid,
        mean=mean,
        deviation=(square / count).sqrt(),
        level=level[:, 0],
        spread=spread[:, 0],
        variance=variance.clamp(min=MIN_VARIANCE),
    )


def statistics(scaled: Scaled) -> Tensor:
    """Describe each image by its statistics within the window.

    Returns
    -------
    Tensor
        Dims (window, image, value): mean and log standard deviation of its departure from the mean
        image in each band, share of pixels with data, log number of images, and level and log
        spread of the window in each band.
    """
    number = scaled.valid.sum(dim=(3, 4)).clamp(min=1.0)
    departure = (scaled.images - scaled.mean[:, None]) * scaled.valid
    shift = departure.sum(dim=(3, 4)) / number
    roughness = (departure.square().sum(dim=(3, 4)) / number + 1e-3).log() / 2.0
    share = scaled.valid.mean(dim=(2, 3, 4))[..., None]
    images = torch.full_like(share, float(scaled.images.shape[1])).log()
    typical = torch.tensor(MEAN_LEVEL_DB, device=share.device)
    low, high = torch.tensor(LEVEL_RANGE_DB, device=share.device).T
    level = torch.clamp(scaled.level[..., 0, 0], low, high)
    window = torch.cat(
        [(level - typical) / LEVEL_SPREAD_DB, scaled.spread[..., 0, 0].log()], dim=-1
    )
    window = window[:, None].expand(-1, share.shape[1], -1)
    return torch.cat([shift, roughness, share, images, window], dim=-1)
