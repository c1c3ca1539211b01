"""Terrain heights from any raster."""

from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from sarcast.errors import SarcastError
from sarcast.rasters import read_onto


def read_dem(path: Path, grid: GeoBox) -> xr.DataArray:
    """Read heights onto a grid, bilinearly.

    Parameters
    ----------
    path
        A raster of heights in metres, in any CRS.
    grid
        The grid wanted.

    Returns
    -------
    DataArray
        ``elevation``, dims (y, x), m, float32.

    Raises
    ------
    SarcastError
        If the raster does not cover the whole grid.
    """
    heights = read_onto(path, grid, "bilinear")
    covered = float(np.mean(np.isfinite(heights)))
    if covered < 1.0:
        raise SarcastError(
            f"the DEM {path} covers {100.0 * covered:.1f} % of the area; "
            f"give one that covers all of it, or a smaller --area"
        )
    elevation: xr.DataArray = wrap_xr(heights, grid, nodata=np.nan).rename("elevation")
    return elevation.assign_attrs(units="m", standard_name="surface_altitude")
