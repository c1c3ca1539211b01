"""Equivalent number of looks, estimated from the homogeneous parts of an image."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.sensor import units

WINDOW = 9
"""Side of the squares in which the looks are measured, pixels."""
_MIN_SQUARES = 8
_DENSITY_POINTS = 512


def equivalent_looks(backscatter: xr.DataArray) -> float:
    """Estimate the equivalent number of looks, mean^2 / variance of the power.

    The ratio is measured in small squares and its mode is taken. In most images most squares are
    homogeneous; squares with edges have a lower ratio and do not shift the mode.

    Parameters
    ----------
    backscatter
        Dims (..., y, x), dB or linear power as ``attrs["units"]`` states; NaN where missing.

    Returns
    -------
    float
        Looks, > 0.

    Raises
    ------
    SarcastError
        If fewer than 8 squares of 9 x 9 pixels are complete and show speckle.

    References
    ----------
    Anfinsen, Doulgeris, Eltoft, IEEE TGRS 47 (2009) 3795: mode of the looks of small windows.
    """
    power = as_power(backscatter).astype(np.float64)
    squares = power.coarsen(y=WINDOW, x=WINDOW, boundary="trim").construct(
        y=("row", "down"), x=("column", "right")
    )
    inner = ("down", "right")
    mean, variance = squares.mean(inner, skipna=False), squares.var(inner, skipna=False, ddof=1)
    statistics = xr.Dataset({"mean": mean, "variance": variance}).compute()
    looks = _looks(statistics["mean"].values.ravel(), statistics["variance"].values.ravel())
    if looks.size < _MIN_SQUARES:
        raise SarcastError(
            f"{backscatter.name or 'the image'} has {looks.size} squares of {WINDOW} x {WINDOW} "
            f"pixels that are complete and show speckle, but {_MIN_SQUARES} are needed to estimate "
            f"the looks; specify them with --looks"
        )
    return _mode(np.log(looks))


def as_power(backscatter: xr.DataArray) -> xr.DataArray:
    """Backscatter in linear power, converted from the unit in ``attrs["units"]``.

    Raises
    ------
    SarcastError
        If the unit is missing or unknown.
    """
    if backscatter.attrs.get("units") == units.DB:
        return units.to_power(backscatter)
    units.check_units(backscatter, units.LINEAR_POWER)
    return backscatter


def _looks(mean: npt.NDArray[Any], variance: npt.NDArray[Any]) -> Double:
    usable = (mean > 0.0) & (variance > 0.0)
    looks: Double = mean[usable] ** 2 / variance[usable]
    return looks


def _mode(log_looks: Double) -> float:
    """Mode of the density of log(looks), as looks."""
    from scipy.stats import gaussian_kde

    if np.ptp(log_looks) < 1e-9:
        return float(np.exp(log_looks[0]))
    low, high = np.quantile(log_looks, (0.01, 0.99))
    points = np.linspace(float(low), float(high), _DENSITY_POINTS)
    return float(np.exp(points[np.argmax(gaussian_kde(log_looks)(points))]))
