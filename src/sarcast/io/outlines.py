"""Pixels to outlines, and outlines to pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox

from sarcast.arrays import Bool, Labels

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


def outlines_of(labels: Labels | Bool, count: int, grid: GeoBox) -> list["BaseGeometry"]:
    """Outline the pixels of each region, with holes, in the CRS of the grid.

    Parameters
    ----------
    labels
        Dims (y, x): 1, 2, ... in each region, 0 elsewhere; or the mask of a single one.
    count
        Number of regions; one without pixels has an empty outline.
    grid
        Grid of the labels.
    """
    import shapely
    from rasterio.features import shapes

    parts: list[list[BaseGeometry]] = [[] for _ in range(count)]
    numbers = labels.astype(np.int32)
    for outline, label in shapes(numbers, mask=numbers > 0, transform=grid.transform):
        parts[int(label) - 1].append(shapely.geometry.shape(outline))
    return [shapely.union_all(part) for part in parts]


def rasterized(outlines: Sequence["BaseGeometry"], grid: GeoBox) -> Bool:
    """Pixels whose centre lies inside any of some outlines, dims (y, x)."""
    from rasterio.features import rasterize

    if len(outlines) == 0:
        return np.zeros(grid.shape.yx, dtype=bool)
    burnt = rasterize(
        ((outline, 1) for outline in outlines),
        out_shape=grid.shape.yx,
        transform=grid.transform,
        dtype=np.uint8,
    )
    return np.asarray(burnt, dtype=bool)
