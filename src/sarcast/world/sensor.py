"""From backscatter to product images: geolocation error, speckle, speckle filters, missing data.

References
----------
Goodman, J. Opt. Soc. Am. 66 (1976) 1145: intensity of L looks is gamma distributed.
"""

import functools
import math
from collections.abc import Sequence

import torch
from scipy.stats import gamma
from torch.nn import functional

from sarcast.sensor.units import DB_PER_NEPER
from sarcast.speckle.filters import lee, refined_lee, total_variation
from sarcast.world.presets import Parameters

UNFILTERED, LEE, REFINED_LEE, TOTAL_VARIATION = "none", "lee", "refined-lee", "tv"
FILTERS = (UNFILTERED, LEE, REFINED_LEE, TOTAL_VARIATION)

LOOKS = (0.5, 400.0)
"""Least and greatest number of looks."""
VARIATION_WEIGHT = 1.0
"""Weight of total variation, in standard deviations of the speckle in dB."""
STRIP_SHARE = 0.3
"""Greatest width of a strip of no data at the border of a slice, share of the image."""
_NODES = 2048
_LIMIT = 5.5
_LOOKS_STEPS = 96


def observe(
    backscatter_db: torch.Tensor,
    parameters: Parameters,
    filters: Sequence[str],
    *,
    rng: torch.Generator,
) -> torch.Tensor:
    """Simulate images of backscatter: geolocation error, speckle, the product's filter, strips.

    Parameters
    ----------
    backscatter_db
        Dims (world, view, band, y, x), dB, without speckle.
    parameters
        Parameters of each world: ``looks``, ``speckle_correlation``, ``jitter_px``, and the share
        of images with ``strips``.
    filters
        One of ``FILTERS`` for each world.
    rng
        Random generator.

    Returns
    -------
    Tensor
        Same dims, linear power; NaN in strips.
    """
    if parameters.preset.jitter_px[1] > 0.0:
        backscatter_db = shift(backscatter_db, _jitter(backscatter_db, parameters, rng))
    looks, correlation = parameters["looks"], parameters["speckle_correlation"]
    power = torch.exp(backscatter_db / DB_PER_NEPER)
    power.mul_(draw_speckle(power.shape, looks, correlation, rng=rng))
    power = filter_each(power, looks, filters)
    if parameters.preset.strips > 0.0:
        power.masked_fill_(_strips(power, parameters.preset.strips, rng)[:, :, None], torch.nan)
    return power


def filter_each(power: torch.Tensor, looks: torch.Tensor, filters: Sequence[str]) -> torch.Tensor:
    """Filter the images of each world by its own filter; dims (world, view, band, y, x)."""
    for name in FILTERS:
        chosen = [world for world, wanted in enumerate(filters) if wanted == name]
        if name == UNFILTERED or not chosen:
            continue
        if len(chosen) == len(filters):
            return _filtered(power, looks, name)
        worlds = torch.tensor(chosen, device=power.device)
        power[worlds] = _filtered(power[worlds], looks[worlds], name)
    return power


def _filtered(power: torch.Tensor, looks: torch.Tensor, name: str) -> torch.Tensor:
    looks = looks[:, None, None, None, None]
    if name == LEE:
        return lee(power, looks)
    if name == REFINED_LEE:
        return refined_lee(power, looks)
    return total_variation(
        power, VARIATION_WEIGHT * DB_PER_NEPER * torch.polygamma(1, looks).sqrt()
    )


def _jitter(images: torch.Tensor, parameters: Parameters, rng: torch.Generator) -> torch.Tensor:
    """Shifts of the views, dims (world, view, 2), pixels."""
    noise = torch.randn((*images.shape[:2], 2), generator=rng, device=rng.device)
    return (parameters.over("jitter_px", 2) * noise).clamp(-1.0, 1.0)


def shift(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Shift images by at most a pixel, bilinearly.

    Parameters
    ----------
    images
        Dims (world, view, band, y, x).
    by
        Dims (world, view, 2): rows down and columns right, pixels, −1..1.
    """
    down, right = (by[..., axis, None, None, None] for axis in (0, 1))
    wide = functional.pad(images.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    wide = wide.reshape(*images.shape[:3], *wide.shape[-2:])
    rows = _shift_axis(wide[..., :-2, :], wide[..., 1:-1, :], wide[..., 2:, :], down)
    return _shift_axis(rows[..., :-2], rows[..., 1:-1], rows[..., 2:], right)


def _shift_axis(
    before: torch.Tensor, here: torch.Tensor, after: torch.Tensor, by: torch.Tensor
) -> torch.Tensor:
    return by.clamp(min=0.0) * before + (1.0 - by.abs()) * here + (-by).clamp(min=0.0) * after


def _strips(images: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
    """Mark pixels beyond the border of a slice, across the track; dims (world, view, y, x)."""
    worlds, views, _, rows, columns = images.shape
    chance = torch.rand((4, worlds, views, 1, 1), generator=rng, device=rng.device)
    row = torch.arange(rows, device=rng.device)[:, None] / rows
    column = torch.arange(columns, device=rng.device) / columns - 0.5
    distance = row + 0.4 * (chance[0] - 0.5) * column
    distance = torch.where(chance[1] < 0.5, distance, 1.0 - distance)
    return (distance < STRIP_SHARE * chance[2]) & (chance[3] < share)


def draw_speckle(
    shape: torch.Size, looks: torch.Tensor, correlation: torch.Tensor, *, rng: torch.Generator
) -> torch.Tensor:
    """Draw speckle: gamma distributed factors of mean 1 and variance 1 / ``looks``.

    Correlated normal numbers are mapped through the quantiles of the gamma distribution, which
    keeps the distribution exact at any correlation.

    Parameters
    ----------
    shape
        Dims (world, ..., y, x).
    looks
        Dims (world): equivalent number of looks, within ``LOOKS``.
    correlation
        Dims (world): correlation of the normal numbers of adjacent pixels, 0..0.6.
    rng
        Random generator.
    """
    noise = torch.randn(shape, generator=rng, device=rng.device)
    noise = _correlated(noise, correlation)
    quantiles = _world_quantiles(looks)
    position = ((noise + _LIMIT) * ((_NODES - 1) / (2.0 * _LIMIT))).clamp(0.0, _NODES - 1.001)
    low = position.int()
    first = torch.arange(len(looks), device=looks.device, dtype=torch.int32) * _NODES
    row = low + first.view(-1, *[1] * (len(shape) - 1))
    below, above = quantiles.take(row.long()), quantiles.take(row.long() + 1)
    return torch.lerp(below, above, position - low)


def _correlated(noise: torch.Tensor, correlation: torch.Tensor) -> torch.Tensor:
    """Weight neighbours by (a, 1, a) in rows and columns: correlation 2 a / (1 + 2 a²)."""
    if not bool((correlation > 0.0).any()):
        return noise
    safe = correlation.clamp(1e-4, 0.7)
    weight = (1.0 - (1.0 - 2.0 * safe**2).sqrt()) / (2.0 * safe)
    weight = weight.view(-1, *[1] * (noise.ndim - 1))
    flat = functional.pad(noise.flatten(0, -3)[:, None], (1, 1, 1, 1), mode="reflect")
    wide = flat.reshape(*noise.shape[:-2], *flat.shape[-2:])
    rows = wide[..., 1:-1, :] + weight * (wide[..., :-2, :] + wide[..., 2:, :])
    both = rows[..., 1:-1] + weight * (rows[..., :-2] + rows[..., 2:])
    return both / (1.0 + 2.0 * weight**2)


def _world_quantiles(looks: torch.Tensor) -> torch.Tensor:
    """Quantiles of each world's speckle at evenly spaced normal numbers, dims (world, node)."""
    table = _quantiles(looks.device)
    low, high = (math.log(end) for end in LOOKS)
    step = ((looks.log() - low) / (high - low) * (_LOOKS_STEPS - 1)).clamp(0, _LOOKS_STEPS - 1.001)
    row = step.long()
    return torch.lerp(table[row], table[row + 1], (step - row)[:, None])


@functools.lru_cache(maxsize=4)
def _quantiles(device: torch.device) -> torch.Tensor:
    normal = torch.linspace(-_LIMIT, _LIMIT, _NODES, dtype=torch.float64)
    chance = torch.special.ndtr(normal).numpy()
    low, high = (math.log(end) for end in LOOKS)
    looks = torch.linspace(low, high, _LOOKS_STEPS, dtype=torch.float64).exp().numpy()
    values = gamma.ppf(chance, looks[:, None], scale=1.0 / looks[:, None])
    return torch.as_tensor(values, dtype=torch.float32, device=device)
