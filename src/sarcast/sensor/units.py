"""Conversion between decibels and linear power, with a check of units; shared constants.

Backscatter is in decibels everywhere except where sources are read (they may hold linear power)
and where a computation needs power (ratios, means over looks, resampling).
"""

import math
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import numpy.typing as npt

from sarcast.errors import SarcastError

if TYPE_CHECKING:
    import xarray as xr

LINEAR_POWER = "linear power"
DB = "dB"
UNITS = (LINEAR_POWER, DB)
AMPLITUDE = "amplitude"
"""Square root of linear power; sources in amplitude are squared when they are read."""
SOURCE_UNITS = (*UNITS, AMPLITUDE)
"""Units of backscatter that sources may use."""
DIGITAL_NUMBER = "digital number"
"""Unit of level-1 products before calibration."""

FLOOR_DB = -80.0
"""Lowest backscatter kept, dB: far below the noise floor of Sentinel-1 (NESZ of -22 dB or better,
Torres et al. 2012, doi 10.1016/j.rse.2011.05.028), so that zero power has a finite dB value."""

CEILING_DB = 60.0
"""Backscatter that no scene reaches, dB: the largest digital number of a GRD product, 65535, is
42.8 dB of beta nought at a calibration constant of 474 (as annotated in 2021), and at the least
illuminated area, a tenth of the area in the slant plane, 52.8 dB of gamma nought."""

DB_PER_NEPER = 10.0 / math.log(10.0)
"""Decibels of the power ratio whose natural logarithm is 1."""

YEAR_DAYS = 365.25
"""Mean length of the Julian year, days."""

Array = TypeVar("Array", npt.NDArray[np.floating], "xr.DataArray")


def check_units(array: "xr.DataArray", expected: str) -> None:
    """Raise unless ``array.attrs["units"]`` is ``expected``.

    Raises
    ------
    SarcastError
        If the attribute is absent or names another unit.
    """
    units = array.attrs.get("units")
    if units != expected:
        name = array.name or "the array"
        raise SarcastError(
            f"{name} must be in {expected!r}, but its units are {units!r}; "
            f"correct attrs['units'], or convert the values with sarcast.sensor.units"
        )


def to_db(power: Array) -> Array:
    """Linear power to decibels, 10 log10(power); power of 0 or less becomes ``FLOOR_DB``.

    Parameters
    ----------
    power
        Any dims, linear power; an ``xarray.DataArray`` must carry that unit in its attrs.

    Returns
    -------
    Array
        The same dims, dB, float32; NaN stays NaN.
    """
    import xarray as xr

    if isinstance(power, xr.DataArray):
        check_units(power, LINEAR_POWER)
        converted = xr.apply_ufunc(_to_db, power, dask="parallelized", output_dtypes=[np.float32])
        return cast(Array, converted.assign_attrs({**power.attrs, "units": DB}))
    return cast(Array, _to_db(power))


def to_power(decibels: Array) -> Array:
    """Decibels to linear power, 10^(dB / 10).

    Parameters
    ----------
    decibels
        Any dims, dB; an ``xarray.DataArray`` must carry that unit in its attrs.

    Returns
    -------
    Array
        The same dims, linear power, float32; NaN stays NaN.
    """
    import xarray as xr

    if isinstance(decibels, xr.DataArray):
        check_units(decibels, DB)
        converted = xr.apply_ufunc(
            _to_power, decibels, dask="parallelized", output_dtypes=[np.float32]
        )
        return cast(Array, converted.assign_attrs({**decibels.attrs, "units": LINEAR_POWER}))
    return cast(Array, _to_power(decibels))


def _to_db(power: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    floor = np.float32(10.0 ** (FLOOR_DB / 10.0))
    decibels: npt.NDArray[np.float32] = np.float32(10.0) * np.log10(
        np.maximum(np.asarray(power, dtype=np.float32), floor)
    )
    return decibels


def _to_power(decibels: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    power: npt.NDArray[np.float32] = np.power(
        np.float32(10.0), np.asarray(decibels, dtype=np.float32) / 10.0
    )
    return power


def guess_unit(values: npt.NDArray[np.floating]) -> str | None:
    """Guess the unit of backscatter from its values, if they are unambiguous.

    Power is never negative and its median over land or sea is well below 1; decibels are mostly
    negative and their median is below −1.

    Parameters
    ----------
    values
        Any dims, VV or VH backscatter. NaN is ignored, and so are 0 and values that are possible in
        neither unit, such as -9999, which many files contain where there is no data.

    Returns
    -------
    str or None
        ``"linear power"``, ``"dB"``, or None if the values fit neither or both.
    """
    highest = 10.0 ** (CEILING_DB / 10.0)
    valid = values[(values > FLOOR_DB) & (values <= highest) & (values != 0.0)]
    if valid.size == 0:
        return None
    if np.mean(valid < 0.0) > 0.05:
        return DB if np.median(valid) < -1.0 else None
    return LINEAR_POWER if np.median(valid) < 5.0 else None
