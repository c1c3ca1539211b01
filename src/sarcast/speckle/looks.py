"""The equivalent number of looks of images, estimated where they are calm."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.sensor import units

WINDOW = 9
"""Side of the squares in which looks are counted, pixels."""
_FEWEST = 8
_STEPS = 512


def equivalent_looks(backscatter: xr.DataArray) -> float:
    """Estimate the equivalent number of looks, squared mean over variance of the power.

    It is counted in small squares, most of which are calm in most images, and the most frequent
    number is taken: squares with edges in them show fewer looks and lie beside the mode.

    Parameters
    ----------
    backscatter
        Dims (..., y, x), dB or linear power as its attrs tell; NaN where nothing was seen.

    Returns
    -------
    float
        Looks, over 0.

    Raises
    ------
    SarcastError
        If fewer than 8 squares of 9 x 9 pixels were wholly seen, or they show no speckle.

    References
    ----------
    Anfinsen, Doulgeris, Eltoft, IEEE TGRS 47 (2009) 3795: mode of the looks of small windows.
    """
    power = as_power(backscatter).astype(np.float64)
    squares = power.coarsen(y=WINDOW, x=WINDOW, boundary="trim").construct(
        y=("row", "down"), x=("column", "right")
    )
    inside = ("down", "right")
    mean, variance = squares.mean(inside, skipna=False), squares.var(inside, skipna=False, ddof=1)
    counted = xr.Dataset({"mean": mean, "variance": variance}).compute()
    looks = _counted(counted["mean"].values.ravel(), counted["variance"].values.ravel())
    if looks.size < _FEWEST:
        raise SarcastError(
            f"{backscatter.name or 'the image'} has {looks.size} squares of {WINDOW} x {WINDOW} "
            f"pixels that were wholly seen and show speckle, but {_FEWEST} are needed to estimate "
            f"the looks; give them with --looks"
        )
    return _mode(np.log(looks))


def as_power(backscatter: xr.DataArray) -> xr.DataArray:
    """Backscatter in linear power, from the unit that its attrs tell.

    Raises
    ------
    SarcastError
        If they tell none that is known.
    """
    if backscatter.attrs.get("units") == units.DB:
        return units.to_power(backscatter)
    units.check_units(backscatter, units.LINEAR_POWER)
    return backscatter


def _counted(mean: npt.NDArray[Any], variance: npt.NDArray[Any]) -> Double:
    told = (mean > 0.0) & (variance > 0.0)
    looks: Double = mean[told] ** 2 / variance[told]
    return looks


def _mode(values: Double) -> float:
    from scipy.stats import gaussian_kde

    if np.ptp(values) < 1e-9:
        return float(np.exp(values[0]))
    low, high = np.quantile(values, (0.01, 0.99))
    places = np.linspace(float(low), float(high), _STEPS)
    return float(np.exp(places[np.argmax(gaussian_kde(values)(places))]))
