"""Sizes on the ground, without what knows more of grids: it takes long to be imported."""

import numpy as np
from affine import Affine
from pyproj import CRS, Geod, Transformer


def ground_size_m(
    crs: CRS | None, transform: Affine, shape: tuple[int, int]
) -> tuple[float, float]:
    """Height and width of a pixel in the middle of a grid, metres on the ground.

    Parameters
    ----------
    crs
        CRS of the grid; one without CRS is taken to be in metres.
    transform
        From columns and rows to coordinates.
    shape
        Rows and columns.
    """
    if crs is None:
        return abs(transform.e), abs(transform.a)
    row, column = shape[0] / 2.0, shape[1] / 2.0
    places = (column, row), (column + 1.0, row), (column, row + 1.0)
    east, north = np.array([transform * place for place in places]).T
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(east, north)
    _, _, (width, height) = Geod(ellps="WGS84").inv(
        longitude[[0, 0]], latitude[[0, 0]], longitude[1:], latitude[1:]
    )
    return float(height), float(width)
