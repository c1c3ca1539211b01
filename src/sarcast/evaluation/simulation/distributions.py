"""Distributions estimated with a Gaussian kernel, and values mapped from one to another."""

import numpy as np
from scipy import ndimage

from sarcast.arrays import Double, Float
from sarcast.errors import SarcastError

MIN_SAMPLE_PIXELS = 100
"""Fewest pixels from which a distribution is estimated."""
GRID = 4096
"""Points of the grid on which densities are estimated."""
QUANTILES = np.arange(3, 4998) / 5000.0
"""Quantiles that are mapped onto each other; values beyond them are shifted as the outermost."""


def map_distribution(values: Float, source: Float, target: Float) -> Float:
    """Map values from the distribution of a source to that of a target.

    With the cumulative distributions F of the source and G of the target, both estimated with a
    Gaussian kernel, a value x becomes G⁻¹(F(x)).

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
        If a sample has fewer than ``MIN_SAMPLE_PIXELS`` values.
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
    values = sample[np.isfinite(sample)].astype(np.float64)
    if values.size < MIN_SAMPLE_PIXELS:
        raise SarcastError(
            f"a distribution needs at least {MIN_SAMPLE_PIXELS} pixels with data, but there are "
            f"{values.size}; give Statistical a sample of open land, or take a larger window"
        )
    low, high = np.percentile(values, [25, 75])
    spread = min(values.std(), (high - low) / 1.349) or values.std() or 1e-3
    bandwidth = 1.059 * spread * values.size ** (-1.0 / 5.0)
    edges = np.linspace(values.min() - 4.0 * bandwidth, values.max() + 4.0 * bandwidth, GRID + 1)
    counts, _ = np.histogram(values, edges)
    step = edges[1] - edges[0]
    density = ndimage.gaussian_filter1d(counts.astype(float), bandwidth / step, mode="constant")
    cumulative = np.concatenate([[0.0], np.cumsum(density)]) / density.sum()
    return np.interp(QUANTILES, cumulative, edges)
