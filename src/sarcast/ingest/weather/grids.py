"""Weather interpolated onto the conditions grid, from a grid or from stations."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from scipy.ndimage import map_coordinates

from sarcast.arrays import Bool, Double
from sarcast.ingest.weather import stations
from sarcast.ingest.weather.opening import CRS_KEY, WGS84
from sarcast.io.grid import axes

_MARGIN_DAYS = 2
_MIN_WEIGHT = 1e-6


@dataclass(frozen=True)
class WeatherSubset:
    """The part of a source that covers some days and an area.

    If the source is a grid, ``rows`` and ``columns`` are the fractional indices of the conditions
    grid's cells in it, dims (cy, cx), NaN outside of it. For stations they are None.
    """

    data: xr.Dataset
    rows: Double | None = None
    columns: Double | None = None


def subset(
    data: xr.Dataset, grid: GeoBox, first: np.datetime64, last: np.datetime64
) -> WeatherSubset:
    """Select the part of an opened source that covers the days and the grid, sorted by time."""
    ordered = data.sortby("time")
    times = ordered["time"].values.astype("datetime64[D]")
    wanted = (times >= first - _MARGIN_DAYS) & (times <= last + _MARGIN_DAYS)
    part = ordered.isel(time=np.flatnonzero(wanted))
    if "station" in part.dims:
        return WeatherSubset(part)
    rows, columns = _fractional_indices(part, grid)
    y, x = _bounds(rows, part.sizes["y"]), _bounds(columns, part.sizes["x"])
    return WeatherSubset(part.isel(y=y, x=x), rows - y.start, columns - x.start)


def _bounds(indices: Double, size: int) -> slice:
    """The cells that surround fractional indices; one cell if none is inside."""
    inside = indices[np.isfinite(indices)]
    if inside.size == 0:
        return slice(0, 1)
    return slice(int(inside.min()), min(size, int(inside.max()) + 2))


def interpolate(part: WeatherSubset, layers: Double, grid: GeoBox) -> Double:
    """Interpolate layers of a source onto the cells of the conditions grid.

    Parameters
    ----------
    part
        The subset that the layers belong to.
    layers
        Dims (day, y, x) or (day, station); NaN where there is no value.
    grid
        The conditions grid.

    Returns
    -------
    ndarray
        Dims (day, cy, cx); NaN where no neighbour has a value.
    """
    if part.rows is None or part.columns is None:
        lon, lat = _centres(grid, CRS(WGS84))
        station_lat, station_lon = (part.data[name].values.astype(float) for name in ("lat", "lon"))
        return stations.interpolate(layers, (station_lat, station_lon), (lat, lon))
    inside = np.isfinite(part.rows) & np.isfinite(part.columns)
    indices = np.stack([np.nan_to_num(part.rows), np.nan_to_num(part.columns)])
    return np.stack([_bilinear(layer, indices, inside) for layer in layers])


def _bilinear(layer: Double, indices: Double, inside: Bool) -> Double:
    """Bilinear interpolation between the neighbours that have a value."""
    valid = np.isfinite(layer)
    weight = map_coordinates(valid.astype(float), indices, order=1, mode="nearest")
    total = map_coordinates(np.where(valid, layer, 0.0), indices, order=1, mode="nearest")
    known = inside & (weight > _MIN_WEIGHT)
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def _fractional_indices(data: xr.Dataset, grid: GeoBox) -> tuple[Double, Double]:
    """Fractional rows and columns of the source at the centres of the grid's cells."""
    x, y = _centres(grid, CRS(data.attrs[CRS_KEY]))
    axis_y, axis_x = (data[name].values.astype(np.float64) for name in ("y", "x"))
    if CRS(data.attrs[CRS_KEY]).geographic:
        x = x + 360.0 * np.round((axis_x.mean() - x) / 360.0)
    steps = [abs(np.ptp(axis)) / (axis.size - 1) for axis in (axis_y, axis_x) if axis.size > 1]
    return _indices_along(axis_y, y, steps[0]), _indices_along(axis_x, x, steps[-1])


def _centres(grid: GeoBox, crs: CRS) -> tuple[Double, Double]:
    """Coordinates x and y of the centres of the grid's cells in another CRS."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    return (x, y) if crs == grid.crs else grid.crs.transformer_to_crs(crs)(x, y)


def _indices_along(axis: Double, wanted: Double, step: float) -> Double:
    """Fractional index of each wanted value on an axis; NaN over half a cell outside of it."""
    signed = step if axis.size == 1 else (axis[-1] - axis[0]) / (axis.size - 1)
    indices = (wanted - axis[0]) / signed
    inside = (indices >= -0.5 - 1e-6) & (indices <= axis.size - 0.5 + 1e-6)
    return np.where(inside, np.clip(indices, 0.0, axis.size - 1.0), np.nan)
