"""Daily weather from a gridded NetCDF file, onto the conditions grid."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy.ndimage import map_coordinates

from sarcast.conditions import LAGS
from sarcast.errors import SarcastError
from sarcast.grid import axes

UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "temperature": {"degC": (1.0, 0.0), "K": (1.0, -273.15)},
    "precipitation": {"mm day-1": (1.0, 0.0), "mm": (1.0, 0.0), "m": (1000.0, 0.0)},
    "snow_depth": {"cm": (1.0, 0.0), "m": (100.0, 0.0)},
}
"""Units that each variable may have, with the factor and offset to the cube's: degC, mm, cm."""


def read_weather(path: Path, grid: GeoBox, dates: Sequence[np.datetime64]) -> xr.Dataset:
    """Read the weather of some dates onto the conditions grid, bilinearly.

    Parameters
    ----------
    path
        NetCDF with dims (time, y, x), one value a day, a CRS, and any of the variables
        ``temperature``, ``precipitation``, ``snow_depth``.
    grid
        The conditions grid.
    dates
        Times of the acquisitions; the UTC day counts.

    Returns
    -------
    Dataset
        ``temperature`` (time, cy, cx) degC, ``snow_depth`` (time, cy, cx) cm and ``precipitation``
        (time, lag, cy, cx) mm per day, lag days before; NaN where the file tells nothing.

    Raises
    ------
    SarcastError
        If the file holds none of the variables, or one in an unknown unit, or no CRS.
    """
    with _open(path) as source:
        names = [name for name in UNITS if name in source]
        if not names:
            raise SarcastError(
                f"{path} holds no weather: expected any of {', '.join(UNITS)}, "
                f"found {', '.join(map(str, source.data_vars)) or 'nothing'}"
            )
        days = np.asarray(dates, dtype="datetime64[D]")
        rows, columns = _places(source, grid, path)
        fields = {name: _converted(source[name], name, path) for name in names}
        return xr.Dataset(
            {name: _sample(field, name, days, rows, columns) for name, field in fields.items()}
        )


def _open(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise SarcastError(f"{path} is no file; name a NetCDF file of daily weather")
    try:
        return xr.open_dataset(path, decode_coords="all")
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SarcastError(f"{path} cannot be read as NetCDF: {first}") from error


def _converted(field: xr.DataArray, name: str, path: Path) -> xr.DataArray:
    if set(field.dims) != {"time", "y", "x"}:
        raise SarcastError(
            f"{name} in {path} must have dims time, y, x, but has {', '.join(map(str, field.dims))}"
        )
    unit = field.attrs.get("units")
    if unit not in UNITS[name]:
        raise SarcastError(
            f"{name} in {path} must have units {' or '.join(UNITS[name])}, but has {unit!r}"
        )
    factor, offset = UNITS[name][unit]
    daily = field.transpose("time", "y", "x").sortby("time")
    return daily * factor + offset


def _places(
    source: xr.Dataset, grid: GeoBox, path: Path
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fractional rows and columns of the source at the centres of the grid's cells."""
    crs = source.odc.crs
    if crs is None:
        raise SarcastError(f"{path} has no CRS; add a CF grid mapping to its variables")
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    if crs != grid.crs:
        x, y = grid.crs.transformer_to_crs(crs)(x, y)
    return _fractional(source["y"].values, y), _fractional(source["x"].values, x)


def _fractional(
    axis: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Place of each wanted value along an axis; NaN more than half a cell outside it."""
    if axis.size == 1:
        return np.zeros(wanted.shape)
    step = (axis[-1] - axis[0]) / (axis.size - 1)
    places = (wanted - axis[0]) / step
    inside = (places >= -0.5 - 1e-6) & (places <= axis.size - 0.5 + 1e-6)
    return np.where(inside, np.clip(places, 0.0, axis.size - 1.0), np.nan)


def _sample(
    field: xr.DataArray,
    name: str,
    days: npt.NDArray[np.datetime64],
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
) -> xr.DataArray:
    lags = range(LAGS if name == "precipitation" else 1)
    wanted = np.stack([days - lag for lag in lags], axis=1)
    known = field.assign_coords(time=field["time"].values.astype("datetime64[D]"))
    layers = known.reindex(time=np.unique(wanted)).astype(np.float64)
    at = np.stack([np.nan_to_num(rows), np.nan_to_num(columns)])
    sampled = np.stack([map_coordinates(one, at, order=1, mode="nearest") for one in layers.values])
    sampled[:, ~(np.isfinite(rows) & np.isfinite(columns))] = np.nan
    values = sampled[np.searchsorted(np.unique(wanted), wanted)].astype(np.float32)
    if name == "precipitation":
        return xr.DataArray(values, dims=("time", "lag", "cy", "cx"))
    return xr.DataArray(values[:, 0], dims=("time", "cy", "cx"))
