"""Filters against speckle, on power: Lee, refined Lee, total variation.

References
----------
Lee, IEEE TPAMI 2 (1980) 165: the local statistics filter.
Lee, Computer Graphics and Image Processing 17 (1981) 380: the refined filter, along edges.
Chambolle, J. Math. Imaging Vision 20 (2004) 89: total variation by its dual.
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
    return _blend(power, _box(power, size), _box(power**2, size), looks)


def refined_lee(power: torch.Tensor, looks: torch.Tensor | float) -> torch.Tensor:
    """Refined Lee filter: statistics of the half of a 7 x 7 square on the pixel's side of an edge.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``.

    References
    ----------
    Lee 1981: gradients of 3 x 3 means choose one of eight halves.
    """
    flat = functional.pad(power.reshape(-1, 1, *power.shape[-2:]), (3, 3, 3, 3), mode="reflect")
    side = _side(flat)
    halves = _halves(power.device)
    mean = functional.conv2d(flat, halves).gather(1, side)
    square = functional.conv2d(flat**2, halves).gather(1, side)
    return _blend(power, mean.reshape(power.shape), square.reshape(power.shape), looks)


def total_variation(
    power: torch.Tensor, weight_db: torch.Tensor | float, *, iterations: int = 30
) -> torch.Tensor:
    """Least squares fit in decibels with bounded total variation.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    weight_db
        Weight of the variation against the fit, dB; broadcast against ``power``.
    iterations
        Of the dual projection.

    References
    ----------
    Chambolle 2004, equation 9, with a step of 1/4.
    """
    noisy = 10.0 * torch.log10(power.clamp(min=1e-8)) / weight_db
    down, right = torch.zeros_like(noisy), torch.zeros_like(noisy)
    for _ in range(iterations):
        left = _divergence(down, right) - noisy
        step_y, step_x = _gradient(left)
        length = 1.0 + 0.25 * torch.hypot(step_y, step_x)
        down, right = (down + 0.25 * step_y) / length, (right + 0.25 * step_x) / length
    fitted = (noisy - _divergence(down, right)) * weight_db
    return torch.pow(10.0, fitted / 10.0)


def _blend(
    power: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, looks: torch.Tensor | float
) -> torch.Tensor:
    noise = 1.0 / looks
    variance = (square - mean**2).clamp(min=0.0)
    signal = ((variance - noise * mean**2) / (1.0 + noise)).clamp(min=0.0)
    return mean + signal / variance.clamp(min=1e-20) * (power - mean)


def _box(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over a square, the image mirrored beyond its borders."""
    half = size // 2
    flat = functional.pad(
        values.reshape(-1, 1, *values.shape[-2:]), (half, half, half, half), mode="reflect"
    )
    rows = functional.avg_pool2d(flat, (size, 1), 1)
    return functional.avg_pool2d(rows, (1, size), 1).reshape(values.shape)


def _halves(device: torch.device) -> torch.Tensor:
    """Eight halves of a 7 x 7 square: right, left, below, above, diagonals; (half, 1, 7, 7)."""
    row, column = torch.meshgrid(torch.arange(-3, 4), torch.arange(-3, 4), indexing="ij")
    across = (column, row, column + row, column - row)
    masks = torch.stack([sign * each >= 0 for each in across for sign in (1, -1)]).float()
    return (masks / masks.sum((1, 2), keepdim=True))[:, None].to(device)


def _side(flat: torch.Tensor) -> torch.Tensor:
    """Half of each pixel, from 3 x 3 means around it; dims (image, 1, y, x)."""
    means = functional.avg_pool2d(flat, 3, 1)
    rows, columns = means.shape[-2] - 4, means.shape[-1] - 4

    def at(down: int, right: int) -> torch.Tensor:
        return means[..., 2 + down : 2 + down + rows, 2 + right : 2 + right + columns]

    ends = (
        (at(0, 2), at(0, -2)),
        (at(2, 0), at(-2, 0)),
        (at(2, 2), at(-2, -2)),
        (at(-2, 2), at(2, -2)),
    )
    steps = torch.cat([(one - other).abs() for one, other in ends], dim=1)
    nearer = torch.cat(
        [((one - at(0, 0)).abs() > (other - at(0, 0)).abs()) for one, other in ends], dim=1
    )
    edge = steps.argmax(1, keepdim=True)
    return 2 * edge + nearer.long().gather(1, edge)


def _gradient(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    down, right = torch.zeros_like(values), torch.zeros_like(values)
    down[..., :-1, :] = values[..., 1:, :] - values[..., :-1, :]
    right[..., :-1] = values[..., 1:] - values[..., :-1]
    return down, right


def _divergence(down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(down)
    total[..., :-1, :] += down[..., :-1, :]
    total[..., 1:, :] -= down[..., :-1, :]
    total[..., :-1] += right[..., :-1]
    total[..., 1:] -= right[..., :-1]
    return total
