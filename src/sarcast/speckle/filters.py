"""Speckle filters on linear power: Lee, refined Lee, total variation, multi-temporal (Quegan).

One implementation serves images on a GPU and blocks of a cube. Where the mask ``valid`` is given,
pixels outside it do not contribute to their neighbours, and their own output is undefined.

References
----------
Lee, IEEE TPAMI 2 (1980) 165: the local statistics filter.
Lee, Computer Graphics and Image Processing 17 (1981) 380: the refined filter, along edges.
Chambolle, J. Math. Imaging Vision 20 (2004) 89: total variation by its dual.
Quegan, Yu, IEEE TGRS 39 (2001) 2373: the multi-temporal filter.
"""

import torch
from torch.nn import functional

_TINY = 1e-20


def lee(
    power: torch.Tensor,
    looks: torch.Tensor | float,
    *,
    size: int = 5,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Lee filter: ``mean + gain * (pixel - mean)``, with ``gain = signal / variance``.

    Mean and variance are those of the window; the part of the variance that is not speckle is
    ``signal = (variance - mean^2 / looks) / (1 + 1 / looks)``.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``.
    size
        Side of the square window, pixels, odd.
    valid
        Mask of pixels with data, same dims; None if all have data.

    Returns
    -------
    Tensor
        Filtered linear power, same dims.

    References
    ----------
    Lee 1980, equations 14 and 15, for multiplicative noise of variance 1 / looks.
    """
    power, weight = _masked(power, valid)
    coverage = 1.0 if weight is None else _box(weight, size).clamp(min=_TINY)
    return _blend(power, _box(power, size) / coverage, _box(power**2, size) / coverage, looks)


def refined_lee(
    power: torch.Tensor,
    looks: torch.Tensor | float | None,
    *,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Refined Lee filter: ``lee`` on half of a 7 x 7 window, on the pixel's side of an edge.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``. None to estimate
        it around each pixel from the five most homogeneous of nine 3 x 3 squares, as SNAP does.
    valid
        Mask of pixels with data, same dims; None if all have data.

    Returns
    -------
    Tensor
        Filtered linear power, same dims.

    References
    ----------
    Lee 1981: gradients of 3 x 3 means select one of eight half windows.
    """
    power, weight = _masked(power, valid)
    flat = _mirrored(power, 3)
    coverage = None if weight is None else _mirrored(weight, 3)
    side = _side(flat, coverage)
    mean, square = _half(flat, side, coverage), _half(flat**2, side, coverage)
    if looks is None:
        looks = 1.0 / _local_speckle(flat, coverage).clamp(min=_TINY).reshape(power.shape)
    return _blend(power, mean.reshape(power.shape), square.reshape(power.shape), looks)


def total_variation(
    power: torch.Tensor,
    weight_db: torch.Tensor | float,
    *,
    iterations: int = 30,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Least-squares fit in decibels with a penalty on total variation.

    The mean in decibels is preserved. The mean power falls, because the mean of a logarithm is
    lower than the logarithm of the mean.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    weight_db
        Weight of the variation against the fit, dB; broadcast against ``power``.
    iterations
        Iterations of the dual projection; a pixel influences others up to ``iterations + 1``
        pixels away.
    valid
        Mask of pixels with data, same dims; None if all have data.

    Returns
    -------
    Tensor
        Filtered linear power, same dims.

    References
    ----------
    Chambolle 2004, equation 9, with a step of 1/4.
    """
    power, weight = _masked(power, valid)
    noisy = 10.0 * torch.log10(power.clamp(min=1e-8)) / weight_db
    edges = None if weight is None else _edges(weight)
    down, right = torch.zeros_like(noisy), torch.zeros_like(noisy)
    for _ in range(iterations):
        error = _divergence(down, right) - noisy
        step_y, step_x = _gradient(error)
        if edges is not None:
            step_y, step_x = step_y * edges[0], step_x * edges[1]
        length = 1.0 + 0.25 * torch.hypot(step_y, step_x)
        down, right = (down + 0.25 * step_y) / length, (right + 0.25 * step_x) / length
    fitted = (noisy - _divergence(down, right)) * weight_db
    return torch.pow(10.0, fitted / 10.0)


def quegan(
    power: torch.Tensor, *, size: int = 7, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Multi-temporal filter: ``mean_k * average over i of (power_i / mean_i)`` for each date k.

    Parameters
    ----------
    power
        Dims (date, ..., y, x), linear power; every date is filtered with all dates.
    size
        Side of the square window of the local means, pixels, odd.
    valid
        Mask of pixels with data, same dims; None if all have data.

    Returns
    -------
    Tensor
        Filtered linear power, same dims.

    References
    ----------
    Quegan and Yu 2001, equation 2 with the weights of independent images of equal looks.
    """
    power, weight = _masked(power, valid)
    coverage = 1.0 if weight is None else _box(weight, size).clamp(min=_TINY)
    mean = _box(power, size) / coverage
    ratio = power / mean.clamp(min=_TINY)
    if weight is None:
        return mean * ratio.mean(0)
    return mean * (ratio * weight).sum(0) / weight.sum(0).clamp(min=1.0)


def _masked(
    power: torch.Tensor, valid: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Power with zeros in place of missing pixels, and weights of 1 (valid) and 0 (missing)."""
    if valid is None:
        return power, None
    return power.where(valid, torch.zeros_like(power)), valid.to(power.dtype)


def _blend(
    power: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, looks: torch.Tensor | float
) -> torch.Tensor:
    noise = 1.0 / looks
    variance = (square - mean**2).clamp(min=0.0)
    signal = ((variance - noise * mean**2) / (1.0 + noise)).clamp(min=0.0)
    return mean + signal / variance.clamp(min=_TINY) * (power - mean)


def _box(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over a square window; the image is mirrored at its borders."""
    rows = functional.avg_pool2d(_mirrored(values, size // 2), (size, 1), 1)
    return functional.avg_pool2d(rows, (1, size), 1).reshape(values.shape)


def _mirrored(values: torch.Tensor, margin: int) -> torch.Tensor:
    """Images as (image, 1, y, x), padded by reflection."""
    flat = values.reshape(-1, 1, *values.shape[-2:])
    return functional.pad(flat, (margin, margin, margin, margin), mode="reflect")


def _halves(device: torch.device) -> torch.Tensor:
    """Weights of the eight halves of a 7 x 7 window: right, left, below, above, diagonals.

    Dims (half, 1, 7, 7).
    """
    row, column = torch.meshgrid(torch.arange(-3, 4), torch.arange(-3, 4), indexing="ij")
    across = (column, row, column + row, column - row)
    masks = torch.stack([sign * distance >= 0 for distance in across for sign in (1, -1)]).float()
    return (masks / masks.sum((1, 2), keepdim=True))[:, None].to(device)


def _half(values: torch.Tensor, side: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean over the selected half window of each pixel; dims (image, 1, y, x)."""
    halves = _halves(values.device).to(values.dtype)
    mean = functional.conv2d(values, halves).gather(1, side)
    if weight is None:
        return mean
    coverage = functional.conv2d(weight, halves).gather(1, side)
    complete = coverage > 1.0 - 0.5 / halves[0].count_nonzero()
    return mean / coverage.masked_fill(complete, 1.0).clamp(min=_TINY)


def _squares(values: torch.Tensor) -> list[torch.Tensor]:
    """Means of the nine 3 x 3 squares in the 7 x 7 window of each pixel, row by row."""
    means = functional.avg_pool2d(values, 3, 1)
    rows, columns = means.shape[-2] - 4, means.shape[-1] - 4
    steps = (0, 2, 4)
    return [means[..., y : y + rows, x : x + columns] for y in steps for x in steps]


def _side(flat: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Index of the half window of each pixel, from the 3 x 3 means; dims (image, 1, y, x)."""
    squares = _squares(flat)
    if weight is not None:
        squares = _valid_means(squares, _squares(weight))
    north_west, north, north_east, west, centre, east, south_west, south, south_east = squares
    ends = ((east, west), (south, north), (south_east, north_west), (north_east, south_west))
    steps = torch.cat([(first - second).abs() for first, second in ends], dim=1)
    nearer = torch.cat(
        [((first - centre).abs() > (second - centre).abs()) for first, second in ends], dim=1
    )
    edge = steps.argmax(1, keepdim=True)
    return 2 * edge + nearer.long().gather(1, edge)


def _valid_means(squares: list[torch.Tensor], weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Means over valid pixels; an empty square takes the mean of the centre: no edge there."""
    means = [
        square / weight.clamp(min=_TINY) for square, weight in zip(squares, weights, strict=True)
    ]
    return [mean.where(weight > 0.0, means[4]) for mean, weight in zip(means, weights, strict=True)]


def _local_speckle(flat: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Squared coefficient of variation of the speckle around each pixel; dims (image, 1, y, x).

    1, the value of single-look speckle, where every square has less than half of its pixels.
    """
    means, squares = torch.cat(_squares(flat), 1), torch.cat(_squares(flat**2), 1)
    if weight is not None:
        coverage = torch.cat(_squares(weight), 1)
        coverage = coverage.masked_fill(coverage < 0.5, torch.nan)
        means, squares = means / coverage, squares / coverage
    variation = ((squares - means**2) / means.clamp(min=_TINY) ** 2).clamp(min=0.0)
    return variation.sort(1).values[:, :5].nanmean(1, keepdim=True).nan_to_num(nan=1.0)


def _edges(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the edges down and right: 1 between two valid pixels, 0 elsewhere."""
    down, right = torch.zeros_like(weight), torch.zeros_like(weight)
    down[..., :-1, :] = weight[..., 1:, :] * weight[..., :-1, :]
    right[..., :-1] = weight[..., 1:] * weight[..., :-1]
    return down, right


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
