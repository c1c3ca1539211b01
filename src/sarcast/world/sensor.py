"""What the sensor and the processor make of backscatter: speckle, and filters against it.

References
----------
Goodman, J. Opt. Soc. Am. 66 (1976) 1145: intensity of L looks is gamma distributed.
"""

import functools
import math

import torch
from scipy.stats import gamma
from torch.nn import functional

from sarcast import speckle
from sarcast.world.presets import Parameters

UNFILTERED, LEE = "none", "lee"
FILTERS = (UNFILTERED, LEE)

LOOKS = (0.5, 400.0)
"""Least and most looks that speckle can have."""
_NODES = 2048
_LIMIT = 5.5
_LOOKS_STEPS = 96
_DB = 10.0 / math.log(10.0)


def observe(
    backscatter_db: torch.Tensor,
    parameters: Parameters,
    *,
    filtered: str = LEE,
    rng: torch.Generator,
) -> torch.Tensor:
    """See backscatter through speckle, and filter it as the product does.

    Parameters
    ----------
    backscatter_db
        Dims (world, view, band, y, x), dB, without speckle.
    parameters
        Of each world: ``looks`` and ``speckle_correlation``.
    filtered
        One of ``FILTERS``.
    rng
        Source of chance.

    Returns
    -------
    Tensor
        Same dims, linear power.
    """
    power = torch.exp(backscatter_db / _DB)
    looks, correlation = parameters["looks"], parameters["speckle_correlation"]
    power = power * draw_speckle(power.shape, looks, correlation, rng=rng)
    if filtered == UNFILTERED:
        return power
    return speckle.lee(power, looks[:, None, None, None, None])


def draw_speckle(
    shape: torch.Size, looks: torch.Tensor, correlation: torch.Tensor, *, rng: torch.Generator
) -> torch.Tensor:
    """Speckle: gamma distributed factors of mean 1 and variance 1 / ``looks``.

    Correlated normal numbers are mapped through the quantiles of the gamma distribution, so that
    their distribution is right whatever the correlation.

    Parameters
    ----------
    shape
        Dims (world, ..., y, x).
    looks
        Dims (world): equivalent number of looks, within ``LOOKS``.
    correlation
        Dims (world): of the normal numbers of adjacent pixels, 0..0.6.
    rng
        Source of chance.
    """
    noise = torch.randn(shape, generator=rng, device=rng.device)
    noise = _correlated(noise, correlation)
    quantiles = _quantiles_of(looks)
    place = ((noise + _LIMIT) * ((_NODES - 1) / (2.0 * _LIMIT))).clamp(0.0, _NODES - 1.001)
    low = place.int()
    first = torch.arange(len(looks), device=looks.device, dtype=torch.int32) * _NODES
    row = low + first.view(-1, *[1] * (len(shape) - 1))
    below, above = quantiles.take(row.long()), quantiles.take(row.long() + 1)
    return torch.lerp(below, above, place - low)


def _correlated(noise: torch.Tensor, correlation: torch.Tensor) -> torch.Tensor:
    """Weigh neighbours by (a, 1, a) in rows and columns: correlation 2 a / (1 + 2 a²)."""
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


def _quantiles_of(looks: torch.Tensor) -> torch.Tensor:
    """Quantiles of each world's speckle at evenly spaced normal numbers, dims (world, node)."""
    table = _quantiles(looks.device)
    low, high = (math.log(end) for end in LOOKS)
    place = ((looks.log() - low) / (high - low) * (_LOOKS_STEPS - 1)).clamp(0, _LOOKS_STEPS - 1.001)
    row = place.long()
    return torch.lerp(table[row], table[row + 1], (place - row)[:, None])


@functools.lru_cache(maxsize=4)
def _quantiles(device: torch.device) -> torch.Tensor:
    normal = torch.linspace(-_LIMIT, _LIMIT, _NODES, dtype=torch.float64)
    chance = torch.special.ndtr(normal).numpy()
    low, high = (math.log(end) for end in LOOKS)
    looks = torch.linspace(low, high, _LOOKS_STEPS, dtype=torch.float64).exp().numpy()
    values = gamma.ppf(chance, looks[:, None], scale=1.0 / looks[:, None])
    return torch.as_tensor(values, dtype=torch.float32, device=device)
