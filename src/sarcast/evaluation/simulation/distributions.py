"""Distributions, estimated by a Gaussian kernel, and values mapped from one to another."""

import numpy as np
from scipy import ndimage

from sarcast.arrays import Double, Float
from sarcast.errors import SarcastError

LEAST_SAMPLE = 100
"""Fewest pixels that a distribution is estimated from."""
GRID = 4096
"""Points of the grid on which densities are estimated."""
QUANTILES = np.arange(3, 4998) / 5000.0
"""Quantiles that are mapped onto each other; values beyond move with the outermost."""


def map_distribution(values: Float, source: Float, target: Float) -> Float:
    """Map values so that the source's distribution becomes the target's.

    Both cumulative distributions are estimated by a Gaussian kernel; a value goes to that of the
    same quantile.

    Parameters
    ----------
    values
        Dims (value,), dB.
    source, target
        Dims (pixel,), dB: samples of both distributions.

    Returns
    -------
    Float
        Dims (value,), dB.

    Raises
    ------
    SarcastError
        If a sample has fewer than ``LEAST_SAMPLE`` values.
    """
    before, after = _quantiles(source), _quantiles(target)
    beyond = np.minimum(values - before[0], 0.0) + np.maximum(values - before[-1], 0.0)
    mapped: Float = (np.interp(values, before, after) + beyond).astype(np.float32)
    return mapped


def _quantiles(sample: Float) -> Double:
    """Values at ``QUANTILES`` of a kernel density estimate on a grid.

    The bandwidth is the normal reference of Scott 1992, "Multivariate Density Estimation",
    equation 6.17, with the smaller of standard deviation and scaled interquartile range.
    """
    seen = sample[np.isfinite(sample)].astype(np.float64)
    if seen.size < LEAST_SAMPLE:
        raise SarcastError(
            f"a distribution needs at least {LEAST_SAMPLE} pixels, but {seen.size} were seen; "
            f"give a sample of open land from elsewhere, or a larger window"
        )
    low, high = np.percentile(seen, [25, 75])
    spread = min(seen.std(), (high - low) / 1.349) or seen.std() or 1e-3
    bandwidth = 1.059 * spread * seen.size ** (-1.0 / 5.0)
    edges = np.linspace(seen.min() - 4.0 * bandwidth, seen.max() + 4.0 * bandwidth, GRID + 1)
    counts, _ = np.histogram(seen, edges)
    step = edges[1] - edges[0]
    density = ndimage.gaussian_filter1d(counts.astype(float), bandwidth / step, mode="constant")
    cumulative = np.concatenate([[0.0], np.cumsum(density)]) / density.sum()
    return np.interp(QUANTILES, cumulative, edges)
