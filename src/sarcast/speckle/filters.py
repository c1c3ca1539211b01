"""Filters against speckle, on power: Lee, refined Lee, total variation, multi-temporal.

One implementation, for images on a GPU and for blocks of a cube alike. Where ``seen`` is given,
the pixels it leaves out lend nothing to their neighbours, and their own values mean nothing.

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
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """Lee filter: the local mean, plus as much of the pixel as the local variance speaks for.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``.
    size
        Side of the square of pixels around each, odd.
    seen
        Which pixels hold data, same dims; None for all.

    References
    ----------
    Lee 1980, equations 14 and 15, for multiplicative noise of variance 1 / looks.
    """
    power, share = _masked(power, seen)
    among = 1.0 if share is None else _box(share, size).clamp(min=_TINY)
    return _blend(power, _box(power, size) / among, _box(power**2, size) / among, looks)


def refined_lee(
    power: torch.Tensor,
    looks: torch.Tensor | float | None,
    *,
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """Refined Lee filter: statistics of the half of a 7 x 7 square on the pixel's side of an edge.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    looks
        Equivalent number of looks of the speckle; broadcast against ``power``. None to take the
        speckle around each pixel from the five calmest of nine 3 x 3 squares, as SNAP does.
    seen
        Which pixels hold data, same dims; None for all.

    References
    ----------
    Lee 1981: gradients of 3 x 3 means choose one of eight halves.
    """
    power, share = _masked(power, seen)
    flat = _mirrored(power, 3)
    among = None if share is None else _mirrored(share, 3)
    side = _side(flat, among)
    mean, square = _half(flat, side, among), _half(flat**2, side, among)
    if looks is None:
        looks = 1.0 / _calm(flat, among).clamp(min=_TINY).reshape(power.shape)
    return _blend(power, mean.reshape(power.shape), square.reshape(power.shape), looks)


def total_variation(
    power: torch.Tensor,
    weight_db: torch.Tensor | float,
    *,
    iterations: int = 30,
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """Least squares fit in decibels with bounded total variation.

    The mean in decibels is kept; that of the power falls, as that of logarithms does.

    Parameters
    ----------
    power
        Dims (..., y, x), linear power.
    weight_db
        Weight of the variation against the fit, dB; broadcast against ``power``.
    iterations
        Of the dual projection; a pixel reaches as many pixels far, and one more.
    seen
        Which pixels hold data, same dims; None for all.

    References
    ----------
    Chambolle 2004, equation 9, with a step of 1/4.
    """
    power, share = _masked(power, seen)
    noisy = 10.0 * torch.log10(power.clamp(min=1e-8)) / weight_db
    edges = None if share is None else _edges(share)
    down, right = torch.zeros_like(noisy), torch.zeros_like(noisy)
    for _ in range(iterations):
        left = _divergence(down, right) - noisy
        step_y, step_x = _gradient(left)
        if edges is not None:
            step_y, step_x = step_y * edges[0], step_x * edges[1]
        length = 1.0 + 0.25 * torch.hypot(step_y, step_x)
        down, right = (down + 0.25 * step_y) / length, (right + 0.25 * step_x) / length
    fitted = (noisy - _divergence(down, right)) * weight_db
    return torch.pow(10.0, fitted / 10.0)


def quegan(power: torch.Tensor, *, size: int = 7, seen: torch.Tensor | None = None) -> torch.Tensor:
    """Multi-temporal filter: each date's local mean, times the dates' mean ratio to their own.

    Parameters
    ----------
    power
        Dims (date, ..., y, x), linear power; all dates lend to each.
    size
        Side of the square of pixels whose mean is the local one, odd.
    seen
        Which pixels hold data, same dims; None for all.

    References
    ----------
    Quegan and Yu 2001, equation 2 with the weights of independent images of equal looks.
    """
    power, share = _masked(power, seen)
    among = 1.0 if share is None else _box(share, size).clamp(min=_TINY)
    mean = _box(power, size) / among
    ratio = power / mean.clamp(min=_TINY)
    if share is None:
        return mean * ratio.mean(0)
    return mean * (ratio * share).sum(0) / share.sum(0).clamp(min=1.0)


def _masked(
    power: torch.Tensor, seen: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Power with zeros where nothing was seen, and 1 where something was."""
    if seen is None:
        return power, None
    return power.where(seen, torch.zeros_like(power)), seen.to(power.dtype)


def _blend(
    power: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, looks: torch.Tensor | float
) -> torch.Tensor:
    noise = 1.0 / looks
    variance = (square - mean**2).clamp(min=0.0)
    signal = ((variance - noise * mean**2) / (1.0 + noise)).clamp(min=0.0)
    return mean + signal / variance.clamp(min=_TINY) * (power - mean)


def _box(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over a square, the image mirrored beyond its borders."""
    rows = functional.avg_pool2d(_mirrored(values, size // 2), (size, 1), 1)
    return functional.avg_pool2d(rows, (1, size), 1).reshape(values.shape)


def _mirrored(values: torch.Tensor, by: int) -> torch.Tensor:
    """Images (image, 1, y, x) with a border that mirrors them."""
    flat = values.reshape(-1, 1, *values.shape[-2:])
    return functional.pad(flat, (by, by, by, by), mode="reflect")


def _halves(device: torch.device) -> torch.Tensor:
    """Eight halves of a 7 x 7 square: right, left, below, above, diagonals; (half, 1, 7, 7)."""
    row, column = torch.meshgrid(torch.arange(-3, 4), torch.arange(-3, 4), indexing="ij")
    across = (column, row, column + row, column - row)
    masks = torch.stack([sign * each >= 0 for each in across for sign in (1, -1)]).float()
    return (masks / masks.sum((1, 2), keepdim=True))[:, None].to(device)


def _half(values: torch.Tensor, side: torch.Tensor, share: torch.Tensor | None) -> torch.Tensor:
    """Mean over the chosen half around each pixel; dims (image, 1, y, x)."""
    halves = _halves(values.device).to(values.dtype)
    mean = functional.conv2d(values, halves).gather(1, side)
    if share is None:
        return mean
    among = functional.conv2d(share, halves).gather(1, side)
    whole = among > 1.0 - 0.5 / halves[0].count_nonzero()
    return mean / among.masked_fill(whole, 1.0).clamp(min=_TINY)


def _squares(values: torch.Tensor) -> list[torch.Tensor]:
    """Means of the nine 3 x 3 squares in the 7 x 7 around each pixel, by rows."""
    means = functional.avg_pool2d(values, 3, 1)
    rows, columns = means.shape[-2] - 4, means.shape[-1] - 4
    steps = (0, 2, 4)
    return [means[..., y : y + rows, x : x + columns] for y in steps for x in steps]


def _side(flat: torch.Tensor, share: torch.Tensor | None) -> torch.Tensor:
    """Half of each pixel, from 3 x 3 means around it; dims (image, 1, y, x)."""
    squares = _squares(flat)
    if share is not None:
        squares = _known(squares, _squares(share))
    north_west, north, north_east, west, centre, east, south_west, south, south_east = squares
    ends = ((east, west), (south, north), (south_east, north_west), (north_east, south_west))
    steps = torch.cat([(one - other).abs() for one, other in ends], dim=1)
    nearer = torch.cat(
        [((one - centre).abs() > (other - centre).abs()) for one, other in ends], dim=1
    )
    edge = steps.argmax(1, keepdim=True)
    return 2 * edge + nearer.long().gather(1, edge)


def _known(squares: list[torch.Tensor], shares: list[torch.Tensor]) -> list[torch.Tensor]:
    """Means over what was seen; that of the centre, which shows no edge, where nothing was."""
    means = [square / share.clamp(min=_TINY) for square, share in zip(squares, shares, strict=True)]
    return [mean.where(share > 0.0, means[4]) for mean, share in zip(means, shares, strict=True)]


def _calm(flat: torch.Tensor, share: torch.Tensor | None) -> torch.Tensor:
    """Squared coefficient of variation of the speckle around each pixel, dims (image, 1, y, x).

    That of one look where no square was seen by half.
    """
    means, squares = torch.cat(_squares(flat), 1), torch.cat(_squares(flat**2), 1)
    if share is not None:
        among = torch.cat(_squares(share), 1)
        among = among.masked_fill(among < 0.5, torch.nan)
        means, squares = means / among, squares / among
    varied = ((squares - means**2) / means.clamp(min=_TINY) ** 2).clamp(min=0.0)
    return varied.sort(1).values[:, :5].nanmean(1, keepdim=True).nan_to_num(nan=1.0)


def _edges(share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """1 between a pixel and the next, down and right, where both were seen."""
    down, right = torch.zeros_like(share), torch.zeros_like(share)
    down[..., :-1, :] = share[..., 1:, :] * share[..., :-1, :]
    right[..., :-1] = share[..., 1:] * share[..., :-1]
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
