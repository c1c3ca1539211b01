"""Images that carry their grid as coordinates, as those of cubes do."""

import odc.geo.xr  # noqa: F401 - registers the accessor that reads the grid
import xarray as xr
from odc.geo.geobox import GeoBox


def grid_of_images(images: xr.Dataset | xr.DataArray) -> GeoBox:
    """Grid of images with coordinates and a CRS, as CF conventions have them.

    Parameters
    ----------
    images
        Dims (..., y, x) with coordinates ``y``, ``x`` and ``spatial_ref``.

    Returns
    -------
    GeoBox
        None where the coordinates are no grid.
    """
    grid: GeoBox = images.odc.geobox
    return grid
