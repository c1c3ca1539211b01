"""Filters against speckle, on power.

References
----------
Lee, IEEE TPAMI 2 (1980) 165: the local statistics filter.
"""

import torch
from torch.nn import functional


def lee(power: torch.Tensor, looks: torch.Tensor | float, *, size: int = 5) -> torch.Tensor:
    """Lee filter: the local mean, plus as much of the pixel as the local variance speaks for.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``.
    size
        Side of the square of pixels around each, odd.

    References
    ----------
    Lee 1980, equations 14 and 15, for multiplicative noise of variance 1 / looks.
    """
    mean, square = (_box(values, size) for values in (power, power**2))
    noise = 1.0 / looks
    variance = (square - mean**2).clamp(min=0.0)
    signal = ((variance - noise * mean**2) / (1.0 + noise)).clamp(min=0.0)
    return mean + signal / variance.clamp(min=1e-20) * (power - mean)


def _box(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over a square, the image mirrored beyond its borders."""
    half = size // 2
    flat = functional.pad(values.flatten(0, -3), (half, half, half, half), mode="reflect")
    return functional.avg_pool2d(flat, size, 1).reshape(values.shape)
