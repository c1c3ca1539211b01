"""Scene context: how far a target departs from its baseline, by the kind of ground.

Rain, frost and snow move large parts of a scene together, and differently by cover. The scene
itself shows by how much: in blocks of ``BLOCK_PX`` pixels, the departure d of the target from the
mean of the previous images is fitted by an additive model of properties x_f of the baseline::

    d(block) = level + sum_f e_f(x_f(block)) + error,

where each e_f is piecewise linear between ``KNOTS`` knots at quantiles of x_f. The fit is robust:
Tukey's biweight gives no weight to blocks whose errors, averaged over 5 x 5 blocks, exceed
``BIWEIGHT`` scales. Speckle averages out there and a change of the ground does not, so that changes
of less than about a third of the scene hardly move the fit. Level, effects and knots make one small
table, and nothing else of the target reaches the network: no change can explain itself by its own
pixels.

References
----------
Beaton, Tukey, Technometrics 16 (1974) 147: the biweight. Holland, Welsch, Communications in
Statistics A6 (1977) 813: iteratively reweighted least squares.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sarcast.prediction.networks.scaling import Scaled
from sarcast.sensor.conditions import HEADING
from sarcast.windows import BANDS

BLOCK_PX = 4
"""Rows and columns of a block, pixels."""
PROPERTIES = ("VH level", "VV - VH", "deviation", "response", "latest", "same pass")
"""Properties of a block of the baseline, all in dB but the response, which is dB per dB."""
KNOTS = 5
"""Knots of the effect of each property."""
TABLE_SHAPE = (len(PROPERTIES) + 1, KNOTS, 1 + len(BANDS))
"""Dims (property, knot, knot position and effects by band); the last property is the summary, whose
rows are the level, the scale of the errors of 3 x 3 blocks and the scale of the pixels within
blocks, by band, with the mean weight of the blocks in the first column of the first row."""
LEAST_BLOCKS = 64
"""Blocks with data below which a scene has no context: 32 x 32 pixels."""
MOST_SCALE_DB = 2.0
"""Scale of the smoothed errors of the blocks, dB, above which a scene has no context: most of it
changed. In worlds and real series without change it is 0.1 to 1 dB."""
MOST_DEPARTURE_DB = 10.0
"""Departure at which level and effects are bounded, dB."""
BIWEIGHT = 3.25
"""Scales beyond which the smoothed errors of a block, as a norm over the bands, leave it no weight;
the bands share one weight, since what changes mostly changes in both."""
SMOOTHED_BLOCKS = 5
"""Rows and columns of blocks over which errors are averaged."""
ITERATIONS = 8
MOST_BLOCKS = 4096
"""Blocks of the fit: of larger scenes, every second, third, ... row and column."""
RIDGE_BLOCKS = 2.0
"""Number of blocks that the penalty of each effect weighs as much as."""
SAME_PASS_DEG = 30.0
"""Difference of heading, degrees, below which two images are of the same pass."""
RESPONSE_DB2 = 0.3
"""Variance of the levels of the previous images, dB², below which responses shrink to 0."""
TYPICAL = (-17.0, 6.0, 2.0, 0.5, 0.0, 0.0)
SPREAD = (6.0, 3.0, 1.5, 1.0, 1.5, 1.5)
"""Typical value and spread of each property, by which a network scales it."""


class Blocks(NamedTuple):
    """Blocks of a scene, as the fit takes them.

    Attributes
    ----------
    properties
        Dims (window, property, y, x); NaN outside of the baseline.
    departure
        Dims (window, band, y, x), dB; NaN where the target or the baseline lacks half the pixels.
    variance
        Dims (window, band, y, x), dB²: variance of the pixels' departures within a block.
    """

    properties: Tensor
    departure: Tensor
    variance: Tensor


def properties(scaled: Scaled, conditions: Tensor) -> Tensor:
    """Compute the properties of each block of the baseline.

    Parameters
    ----------
    scaled
        The previous images; rows and columns are multiples of ``BLOCK_PX``.
    conditions
        Dims (window, image + 1, column), the target last; only headings are used.

    Returns
    -------
    Tensor
        Dims (window, property, y / BLOCK_PX, x / BLOCK_PX), as ``PROPERTIES``.
    """
    windows, images = scaled.images.shape[:2]
    blocks = functional.avg_pool2d(scaled.images.flatten(0, 1), BLOCK_PX)
    blocks = blocks.reshape(windows, images, *blocks.shape[1:]) * scaled.spread[:, None]
    mean = blocks.mean(dim=1)
    departure = (blocks - mean[:, None]).mean(dim=2)
    vv, vh = (mean + scaled.level).unbind(dim=1)
    deviation = functional.avg_pool2d(scaled.deviation * scaled.spread, BLOCK_PX).mean(dim=1)
    level = departure.mean(dim=(2, 3), keepdim=True)
    response = (level * departure).mean(dim=1) / (level.square().mean(dim=1) + RESPONSE_DB2)
    alike = _same_pass(conditions)[:, :, None, None]
    same_pass = (alike * departure).sum(dim=1) / alike.sum(dim=1).clamp(min=1.0)
    fields = torch.stack([vh, vv - vh, deviation, response, departure[:, -1], same_pass], dim=1)
    return (fields + _smooth(fields)) / 2.0


def blocks_of(scaled: Scaled, of_baseline: Tensor, target: Tensor) -> Blocks:
    """Pair the properties of the baseline with the departures of a target.

    Parameters
    ----------
    scaled
        The previous images.
    of_baseline
        Result of ``properties``.
    target
        Dims (window, band, y, x), dB, of the same size; NaN where there is no data.
    """
    baseline = scaled.mean * scaled.spread + scaled.level
    valid = (torch.isfinite(target) & scaled.valid.any(dim=1)).float()
    departure = torch.where(valid > 0, target - baseline, 0.0)
    share = functional.avg_pool2d(valid, BLOCK_PX)
    counted = share.clamp(min=1e-3)
    mean = functional.avg_pool2d(departure, BLOCK_PX) / counted
    square = functional.avg_pool2d(departure.square(), BLOCK_PX) / counted
    known = (share >= 0.5).all(dim=1, keepdim=True)
    return Blocks(
        of_baseline,
        mean.masked_fill(~known, torch.nan),
        (square - mean.square()).clamp(min=0.0).masked_fill(~known, torch.nan),
    )


def fit(blocks: Blocks) -> Tensor:
    """Fit the table of a scene.

    Returns
    -------
    Tensor
        Dims (window, *TABLE_SHAPE), dB; NaN for a window with fewer than ``LEAST_BLOCKS`` blocks,
        or a scale above ``MOST_SCALE_DB`` in a band.
    """
    blocks = _thinned(blocks)
    if math.prod(blocks.departure.shape[-2:]) < LEAST_BLOCKS:
        return blocks.departure.new_full((len(blocks.departure), *TABLE_SHAPE), torch.nan)
    known = torch.isfinite(torch.cat([blocks.departure, blocks.properties], dim=1)).all(dim=1)
    known, of_baseline = known.flatten(1), blocks.properties.nan_to_num(0.0).flatten(2)
    knots = _knots(of_baseline, known)
    design = _design(of_baseline, knots)
    start = _median(blocks.departure.flatten(2))
    centred = torch.where(known[:, None], blocks.departure.flatten(2) - start, 0.0)
    coefficients, weight, scale = _solve_robustly(
        design, centred, known, _smoother(known, blocks.departure.shape[-2:], SMOOTHED_BLOCKS)
    )
    error = _smoother(known, blocks.departure.shape[-2:], 3)(centred - coefficients @ design)
    effects = coefficients[..., 1:].reshape(*start.shape[:2], len(PROPERTIES), KNOTS)
    level = start[..., 0] + coefficients[..., 0]
    counted = weight.sum(dim=1) / known.sum(dim=1).clamp(min=1)
    table = torch.zeros(len(known), *TABLE_SHAPE, device=known.device)
    table[:, :-1, :, 0] = knots
    table[:, :-1, :, 1:] = effects.permute(0, 2, 3, 1).clamp(-MOST_DEPARTURE_DB, MOST_DEPARTURE_DB)
    table[:, -1, 0, 0] = counted
    table[:, -1, 0, 1:] = level.clamp(-MOST_DEPARTURE_DB, MOST_DEPARTURE_DB)
    table[:, -1, 1, 1:] = _scale(error, known)[..., 0]
    table[:, -1, 2, 1:] = _median(blocks.variance.flatten(2))[..., 0].sqrt()
    clear = (scale[..., 0] <= MOST_SCALE_DB).all(dim=1)
    enough = (known.sum(dim=1) >= LEAST_BLOCKS) & clear
    return table.masked_fill(~enough[:, None, None, None], torch.nan)


def look_up(table: Tensor, of_baseline: Tensor) -> Tensor:
    """Look up the departure that the scene shows for each block.

    Parameters
    ----------
    table
        Dims (window, *TABLE_SHAPE); NaN gives 0.
    of_baseline
        Dims (window, property, y, x).

    Returns
    -------
    Tensor
        Dims (window, band, y, x), dB.
    """
    table = table.nan_to_num(0.0)
    design = _design(of_baseline.flatten(2), table[:, :-1, :, 0])[:, 1:]
    effects = table[:, :-1, :, 1:].flatten(1, 2).transpose(1, 2)
    departure = (effects @ design).reshape(*effects.shape[:2], *of_baseline.shape[-2:])
    return departure + table[:, -1, 0, 1:, None, None]


def embedding_inputs(table: Tensor) -> Tensor:
    """Give level, scales and effects of a table as values of order 1; 0 where there is none.

    Returns
    -------
    Tensor
        Dims (window, value), ``EMBEDDING_LENGTH`` values; the first is 1 where there is a table.
    """
    present = torch.isfinite(table[:, -1, 0, :1])
    known = table.nan_to_num(0.0)
    effects = known[:, :-1, :, 1:].flatten(1) / 2.0
    summary = known[:, -1]
    scales = torch.log(summary[:, 1:3, 1:].clamp(min=0.05)).flatten(1)
    scales = torch.where(present, scales, 0.0)
    values = [present.float(), summary[:, 0, :1], summary[:, 0, 1:] / 2.0, scales, effects]
    return torch.cat(values, dim=-1)


EMBEDDING_LENGTH = 2 + 3 * len(BANDS) + len(PROPERTIES) * KNOTS * len(BANDS)


def _thinned(blocks: Blocks) -> Blocks:
    """Leave out rows and columns until there are at most ``MOST_BLOCKS``."""
    rows, columns = blocks.departure.shape[-2:]
    step = math.ceil(math.sqrt(rows * columns / MOST_BLOCKS))
    return Blocks(*(part[..., ::step, ::step] for part in blocks))


def _same_pass(conditions: Tensor) -> Tensor:
    """Which previous images have the target's pass, dims (window, image); none if unknown."""
    heading = torch.deg2rad(conditions[..., HEADING])
    alike = torch.cos(heading[:, :-1] - heading[:, -1:]) > torch.cos(
        torch.deg2rad(heading.new_tensor(SAME_PASS_DEG))
    )
    return alike.float()


def _smooth(images: Tensor, side: int = 3) -> Tensor:
    """Mean over blocks, an odd number of rows and columns, fewer at the edges."""
    padding = side // 2
    return functional.avg_pool2d(images, side, 1, padding, count_include_pad=False)


def _smoother(known: Tensor, shape: Sequence[int], side: int) -> Callable[[Tensor], Tensor]:
    """Give a mean over the known ones of side x side blocks, for dims (window, band, block)."""
    counted = known.float().reshape(-1, 1, *shape)
    share = _smooth(counted, side).clamp(min=0.5 / side**2)

    def smooth(values: Tensor) -> Tensor:
        images = values.reshape(*values.shape[:2], *shape) * counted
        return (_smooth(images, side) / share).flatten(2)

    return smooth


def _median(values: Tensor) -> Tensor:
    """Median over the last dimension of what is not NaN, kept with length 1; 0 if there is none."""
    return values.nanmedian(dim=-1, keepdim=True).values.nan_to_num(0.0)


def _scale(error: Tensor, known: Tensor) -> Tensor:
    """Standard deviation of known blocks by the median of absolute errors, (window, band, 1)."""
    error = error.masked_fill(~known[:, None], torch.nan)
    return (1.4826 * _median(error.abs())).clamp(min=0.05)


def _knots(values: Tensor, known: Tensor) -> Tensor:
    """Knots at quantiles of each property, increasing, dims (window, property, knot)."""
    share = (torch.arange(KNOTS, device=values.device) + 0.5) / KNOTS
    ordered = values.masked_fill(~known[:, None], torch.inf).sort(dim=-1).values
    number = known.sum(dim=1)
    index = (share * (number[:, None] - 1).clamp(min=0)).round().long()
    index = index[:, None].expand(-1, values.shape[1], -1)
    knots = ordered.gather(2, index).nan_to_num(0.0, posinf=0.0)
    return knots + 1e-3 * torch.arange(KNOTS, device=values.device)


def _design(values: Tensor, knots: Tensor) -> Tensor:
    """Columns of the model, dims (window, 1 + property x knot, block): 1, and the hat functions.

    Between two knots the hats are the weights of linear interpolation; beyond the first and the
    last knot they stay constant.
    """
    gap = (knots[..., 1:] - knots[..., :-1]).clamp(min=1e-6)[..., None]
    rising = ((values[:, :, None] - knots[..., :-1, None]) / gap).clamp(0.0, 1.0)
    ones = torch.ones_like(rising[:, :, :1])
    hats = torch.cat([ones, rising], dim=2) - torch.cat([rising, 0.0 * ones], dim=2)
    return torch.cat([ones[:, :1, 0], hats.flatten(1, 2)], dim=1)


def _solve_robustly(
    design: Tensor, centred: Tensor, known: Tensor, smooth: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Iteratively reweighted least squares by Tukey's biweight.

    Returns
    -------
    Tensor
        Coefficients, dims (window, band, column).
    Tensor
        Weights, dims (window, block), 0..1.
    Tensor
        Scales of the smoothed errors, dims (window, band, 1), dB.
    """
    coefficients = torch.zeros(*centred.shape[:2], design.shape[1], device=centred.device)
    for _ in range(ITERATIONS):
        error = smooth(centred - coefficients @ design)
        scale = _scale(error, known)
        norm2 = (error / (BIWEIGHT * scale)).square().sum(dim=1)
        weight = (1.0 - norm2).clamp(min=0.0).square() * known
        coefficients = _solve(design, centred, weight)
    return coefficients, weight, scale


def _solve(design: Tensor, centred: Tensor, weight: Tensor) -> Tensor:
    """Weighted least squares with a ridge on the effects, dims (window, band, column)."""
    if design.device.type != "cpu":  # matrix products of a GPU may round 32 bits to 10 of mantissa
        design, centred = design.double(), centred.double()
    weighted = design * weight[:, None]
    normal = (weighted @ design.mT).double()
    ridge = torch.full_like(normal[0, 0], RIDGE_BLOCKS)
    ridge[0] = 1e-3
    right = (weighted @ centred.mT).double()
    # never singular, by the ridge; unlike solve, solve_ex does not wait for a GPU to say so
    solution: Tensor = torch.linalg.solve_ex(normal + torch.diag(ridge), right).result.mT
    return solution.float()
