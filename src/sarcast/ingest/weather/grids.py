"""Weather on the conditions grid: between the cells of a grid, or between stations."""

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
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Part:
    """The part of a source that some days and a place need.

    ``rows`` and ``columns`` are the places of the conditions grid's cells among those of a grid,
    dims (cy, cx), NaN outside of it; None for stations.
    """

    data: xr.Dataset
    rows: Double | None = None
    columns: Double | None = None


def near(data: xr.Dataset, grid: GeoBox, first: np.datetime64, last: np.datetime64) -> Part:
    """Take the part of an opened source that the days and the place need, sorted by time."""
    ordered = data.sortby("time")
    times = ordered["time"].values.astype("datetime64[D]")
    kept = (times >= first - _MARGIN_DAYS) & (times <= last + _MARGIN_DAYS)
    part = ordered.isel(time=np.flatnonzero(kept))
    if "station" in part.dims:
        return Part(part)
    rows, columns = _places(part, grid)
    y, x = _around(rows, part.sizes["y"]), _around(columns, part.sizes["x"])
    return Part(part.isel(y=y, x=x), rows - y.start, columns - x.start)


def _around(places: Double, size: int) -> slice:
    """The cells that places lie among; one cell where none lies inside."""
    inside = places[np.isfinite(places)]
    if inside.size == 0:
        return slice(0, 1)
    return slice(int(inside.min()), min(size, int(inside.max()) + 2))


def sampled(part: Part, layers: Double, grid: GeoBox) -> Double:
    """Layers of a source on the cells of the conditions grid.

    Parameters
    ----------
    part
        What ``near`` gave.
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
        known = (part.data["lat"].values.astype(float), part.data["lon"].values.astype(float))
        return stations.interpolate(layers, known, (lat, lon))
    inside = np.isfinite(part.rows) & np.isfinite(part.columns)
    at = np.stack([np.nan_to_num(part.rows), np.nan_to_num(part.columns)])
    return np.stack([_bilinear(layer, at, inside) for layer in layers])


def _bilinear(layer: Double, at: Double, inside: Bool) -> Double:
    """Bilinear values of the neighbours that have one."""
    seen = np.isfinite(layer)
    weight = map_coordinates(seen.astype(float), at, order=1, mode="nearest")
    total = map_coordinates(np.where(seen, layer, 0.0), at, order=1, mode="nearest")
    known = inside & (weight > _LEAST_WEIGHT)
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def _places(data: xr.Dataset, grid: GeoBox) -> tuple[Double, Double]:
    """Fractional rows and columns of the source at the centres of the grid's cells."""
    x, y = _centres(grid, CRS(data.attrs[CRS_KEY]))
    axis_y, axis_x = (data[name].values.astype(np.float64) for name in ("y", "x"))
    if CRS(data.attrs[CRS_KEY]).geographic:
        x = x + 360.0 * np.round((axis_x.mean() - x) / 360.0)
    steps = [abs(np.ptp(axis)) / (axis.size - 1) for axis in (axis_y, axis_x) if axis.size > 1]
    return _fractional(axis_y, y, steps[0]), _fractional(axis_x, x, steps[-1])


def _centres(grid: GeoBox, crs: CRS) -> tuple[Double, Double]:
    """Coordinates x and y of the centres of the grid's cells in another CRS."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    return (x, y) if crs == grid.crs else grid.crs.transformer_to_crs(crs)(x, y)


def _fractional(axis: Double, wanted: Double, step: float) -> Double:
    """Place of each wanted value along an axis; NaN more than half a cell outside it."""
    signed = step if axis.size == 1 else (axis[-1] - axis[0]) / (axis.size - 1)
    places = (wanted - axis[0]) / signed
    inside = (places >= -0.5 - 1e-6) & (places <= axis.size - 0.5 + 1e-6)
    return np.where(inside, np.clip(places, 0.0, axis.size - 1.0), np.nan)
