"""Small weather files in the layouts of published sources."""

from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcast.io.grid import axes

COARSE = GeoBox((5, 6), Affine(1000.0, 0, 498_000.0, 0, -1000.0, 6_902_000.0), "EPSG:32635")
DAYS = np.arange("2020-03-01", "2020-03-11", dtype="datetime64[D]")


def slope(grid: GeoBox) -> np.ndarray:
    """A temperature that is linear in x and y, degC."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    return ((x - 500_000.0) + 2.0 * (y - 6_900_000.0)) / 1000.0


def weather(path: Path, grid: GeoBox = COARSE, slopes: float = 1.0, **units: str) -> None:
    """Write weather: rain is the day of March, temperature linear in x and y, snow constant."""
    shape = (len(DAYS), *grid.shape)
    fields = {
        "precipitation": np.broadcast_to(np.arange(1.0, 11.0)[:, None, None], shape),
        "temperature": np.broadcast_to(slopes * slope(grid), shape),
        "snow_depth": np.full(shape, 12.0),
    }
    units_of = {"precipitation": "mm day-1", "temperature": "degC", "snow_depth": "cm", **units}
    dataset = xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                values,
                {"units": units_of[name], "grid_mapping": "spatial_ref"},
            )
            for name, values in fields.items()
        },
        coords={"time": DAYS.astype("datetime64[ns]"), **xr_coords(grid)},
    )
    dataset.to_netcdf(path, engine="h5netcdf")


def degrees(
    fields: dict[str, tuple[np.ndarray, dict[str, str]]],
    time: np.ndarray,
    names: tuple[str, str, str] = ("time", "latitude", "longitude"),
    spacing: float = 0.1,
) -> xr.Dataset:
    """Fields that are constant in space, on a grid of degrees around 62.2 N 27 E."""
    north, east = 62.2 + spacing * np.arange(3, -4, -1.0), 27.0 + spacing * np.arange(-3, 4.0)
    size = (len(time), north.size, east.size)
    variables = {
        name: (names, np.broadcast_to(values[:, None, None], size).astype("f4"), attrs)
        for name, (values, attrs) in fields.items()
    }
    axis = {"standard_name": "latitude", "units": "degrees_north"}, {"units": "degrees_east"}
    coords = {
        names[0]: time.astype("datetime64[ns]"),
        names[1]: (names[1], north, axis[0]),
        names[2]: (names[2], east, axis[1]),
    }
    return xr.Dataset(variables, coords=coords)
