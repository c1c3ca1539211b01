"""Forest and open land from a raster of land-cover classes."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from sarcast.errors import SarcastError
from sarcast.rasters import read_onto

FOREST = (10,)
"""Class numbers of forest: tree cover (ESA WorldCover 2021 v200 product user manual, table 3)."""
OPEN_LAND = (30, 40)
"""Class numbers of open land: grassland and cropland (the same table)."""


def read_cover(
    path: Path,
    grid: GeoBox,
    *,
    forest: Collection[int] = FOREST,
    open_land: Collection[int] = OPEN_LAND,
) -> xr.Dataset:
    """Read forest and open land onto a grid, by nearest neighbour.

    Parameters
    ----------
    path
        A raster of class numbers, in any CRS.
    grid
        The grid wanted.
    forest, open_land
        Class numbers of each.

    Returns
    -------
    Dataset
        ``forest`` and ``open_land``, dims (y, x), bool.

    Raises
    ------
    SarcastError
        If no pixel of the area has one of the classes of forest.
    """
    classes = read_onto(path, grid, "nearest")
    masks = {
        "forest": np.isin(classes, list(forest)),
        "open_land": np.isin(classes, list(open_land)),
    }
    if not masks["forest"].any():
        found = ", ".join(f"{value:g}" for value in np.unique(classes[np.isfinite(classes)])[:20])
        raise SarcastError(
            f"the land cover {path} has no forest in the area: expected class "
            f"{', '.join(map(str, forest))}, found {found or 'nothing'}; leave --cover out, "
            f"or name the classes of forest with --forest-classes"
        )
    return xr.Dataset({name: wrap_xr(mask, grid) for name, mask in masks.items()})
