"""Files of polygons: areas, land cover, true changes; read whole, and checked once."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.crs import CRS
from odc.geo.geom import Geometry
from pyproj.exceptions import ProjError

from sarcast.errors import SarcastError

if TYPE_CHECKING:
    import geopandas

MOST_VERTICES = 2_000_000
"""Most vertices of an area: the land and water of Europe at 1:1 000 000 have fewer."""
MOST_BYTES = 2**28
"""Largest file of an area."""
_PARQUET = (".parquet", ".geoparquet")


class NoPolygonsError(SarcastError):
    """A file is in no format of polygons."""


def read_polygons(path: Path, *, is_area: bool = True) -> "geopandas.GeoDataFrame":
    """Read shapes with their columns, in the CRS of their file.

    Parameters
    ----------
    path
        Any format that GDAL reads, or GeoParquet.
    is_area
        Whether the shapes are those of an area, which has at least one, and at most
        ``MOST_VERTICES``; of land cover there may be none or more.

    Returns
    -------
    GeoDataFrame
        Rows without a shape, or with an empty one, are left out; shapes may be invalid, and have
        no heights.

    Raises
    ------
    NoPolygonsError
        If it is in none of these formats.
    SarcastError
        If it is damaged or too large, or has no shapes, no CRS, an unclosed ring or a coordinate
        that is no number.
    """
    if is_area and path.is_file() and path.stat().st_size > MOST_BYTES:
        raise _too_large(path, f"{path.stat().st_size / 2**20:.0f} MiB, over {MOST_BYTES >> 20}")
    frame = _read(path)
    if "geometry" not in frame:
        raise SarcastError(f"{path} has no geometry: a file of polygons is expected")
    if frame.crs is None:
        raise SarcastError(
            f"{path} has no CRS, so its location is unknown; write it into the file "
            f"(ogr2ogr -a_srs)"
        )
    if not (frame.crs.is_geographic or frame.crs.is_projected):
        raise SarcastError(
            f"{path} has a local CRS, so its location on Earth is unknown; write its true CRS into "
            f"the file (ogr2ogr -a_srs)"
        )
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)].reset_index(drop=True)
    if frame.empty and is_area:
        raise SarcastError(f"{path} holds no polygons; name a file with at least one")
    _check_coordinates(frame.geometry.to_numpy(), path, is_area=is_area)
    return frame.set_geometry(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)


def _read(path: Path) -> "geopandas.GeoDataFrame":
    import geopandas
    import pyogrio

    try:
        if path.suffix.lower() in _PARQUET:
            return geopandas.read_parquet(path)
        return geopandas.read_file(path, engine="pyogrio")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise NoPolygonsError(f"{path} cannot be read as polygons: {_line(error)}") from error
    except Exception as error:  # drivers and GEOS raise many kinds
        raise SarcastError(
            f"{path} cannot be read as polygons, it may be damaged or have a ring that is not "
            f"closed: repair it, or fetch it again ({_line(error)})"
        ) from error


def _check_coordinates(shapes: npt.NDArray[np.object_], path: Path, *, is_area: bool) -> None:
    number = int(shapely.get_num_coordinates(shapes).sum())
    if is_area and number > MOST_VERTICES:
        raise _too_large(path, f"{number} vertices, over {MOST_VERTICES}")
    bounds = shapely.bounds(shapes)
    is_number = np.isfinite(bounds).all(axis=1)
    if is_number.all():  # NaN within a ring is left out of bounds
        is_number = np.array([np.isfinite(shapely.get_coordinates(each)).all() for each in shapes])
    if not is_number.all():
        raise SarcastError(
            f"{path} has a coordinate that is no number in row {int(np.argmin(is_number)) + 1}; "
            f"correct or delete that shape"
        )


def _too_large(path: Path, size: str) -> SarcastError:
    return SarcastError(
        f"{path} has {size}, which is too much for an area; simplify it (ogr2ogr -simplify), or "
        f"cut it to the area (ogr2ogr -spat)"
    )


def to_crs(shape: Geometry, crs: CRS, name: str) -> Geometry:
    """Project a shape.

    Raises
    ------
    SarcastError
        If a part of it has no place in the CRS; ``name`` is what the error calls it.
    """
    if shape.crs == crs:
        return shape
    try:
        projected = shape.to_crs(crs)
        if all(map(math.isfinite, projected.boundingbox.bbox)):
            return projected
        reason = "a vertex is infinitely far"
    except (ProjError, ValueError) as error:
        reason = _line(error)
    raise SarcastError(
        f"{name} cannot be projected to {crs}: {reason}; give a part of it that lies near the data"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
