"""Rasters in degrees of longitude, found in every turn around the globe and across 180 degrees."""

import math
from collections.abc import Sequence

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from sarcast.io.footprint import HALF_TURN_DEG, TURN_DEG, WGS84, contiguous, footprint

_NEAR_EDGE_M = 1.5e7
"""The edge of a cylindrical projection, half a turn from its middle, is not nearer to it, m."""


def turns_within(source: GeoBox, grid: GeoBox) -> Sequence[tuple[GeoBox, GeoBox]]:
    """Grid of a raster and another grid, in each turn around the globe in which they may touch.

    A raster in longitudes 0..360 touches an area at 10 degrees west as one in -360..0. Where the
    area crosses 180 degrees, which coordinate transformations convert to 180 and -180, the
    longitudes count from 180 degrees instead of Greenwich.

    Parameters
    ----------
    source
        Grid of the raster.
    grid
        The other grid.

    Returns
    -------
    sequence of (GeoBox, GeoBox)
        The two grids, which are the same pixels with other longitudes, another prime meridian or
        another middle of the projection; they are returned as they are if neither is in degrees
        east of Greenwich, nor the raster beyond the edge of its projection.
    """
    if source.crs != grid.crs:
        source = _within_edges(source)
    if not (source.crs.geographic or grid.crs.geographic):
        return [(source, grid)]
    if source.crs == grid.crs:
        west, _, east, _ = grid.boundingbox.bbox
        return [(own, grid) for own in _turns(source, west, east)]
    west, _, east, _ = contiguous(footprint(grid)).bounds
    is_across = west < -HALF_TURN_DEG or east > HALF_TURN_DEG
    origin = math.copysign(HALF_TURN_DEG, west + east) if is_across else 0.0
    if _is_in_degrees(grid):
        left, _, right, _ = grid.boundingbox.bbox
        turn = TURN_DEG * round((west + east - left - right) / 2.0 / TURN_DEG)
        grid = _from_origin(_moved(grid, turn), origin)
    return [(_from_origin(own, origin), grid) for own in _turns(source, west, east)]


def _turns(source: GeoBox, west: float, east: float) -> list[GeoBox]:
    """The grid of a raster in the turns in which it touches some longitudes."""
    if not _is_in_degrees(source):
        return [source]
    left, _, right, _ = source.boundingbox.bbox
    first = math.ceil((west - right) / TURN_DEG)
    last = math.floor((east - left) / TURN_DEG)
    return [_moved(source, turn * TURN_DEG) for turn in range(first, last + 1)]


def _within_edges(source: GeoBox) -> GeoBox:
    """The same pixels in a projection centred on them, if they lie beyond the edge of their own.

    For example, a raster in Web Mercator from 179.9 to 180.1 degrees east.
    """
    left, bottom, right, top = source.boundingbox.bbox
    if source.crs.geographic or max(abs(left), abs(right)) < _NEAR_EDGE_M:
        return source
    x, y = np.array([left, right]), np.full(2, (bottom + top) / 2.0)
    wgs84 = CRS(WGS84)
    there = source.crs.transformer_to_crs(wgs84)(x, y)
    back, _ = wgs84.transformer_to_crs(source.crs)(*there)
    turn = float(np.max(np.abs(back - x)))
    if not _NEAR_EDGE_M < turn < math.inf:
        return source
    fields = source.crs.proj.to_json_dict()
    fields.pop("id", None)
    fields["name"] = "beyond the edge"  # by its own name GDAL would take it for EPSG:3857
    parameters = fields.get("conversion", {}).get("parameters", [])
    origins = [each for each in parameters if each["name"] == "Longitude of natural origin"]
    if not origins:
        return source
    origins[0]["value"] += math.copysign(HALF_TURN_DEG, -origins[0]["value"])
    moved = _moved(source, math.copysign(turn / 2.0, -x.mean()))
    return GeoBox(moved.shape, moved.transform, CRS(type(source.crs.proj).from_json_dict(fields)))


def _is_in_degrees(grid: GeoBox) -> bool:
    """Whether columns of a grid are degrees of longitude from Greenwich."""
    if not grid.crs.geographic or grid.transform.b != 0.0 or grid.transform.d != 0.0:
        return False
    crs = grid.crs.proj
    meridian = crs.prime_meridian
    from_greenwich = meridian is None or meridian.longitude == 0.0
    return bool(from_greenwich and crs.axis_info[0].unit_name == "degree")


def _moved(grid: GeoBox, east: float) -> GeoBox:
    a, b, c, d, e, f = list(grid.transform)[:6]
    return grid if east == 0.0 else GeoBox(grid.shape, Affine(a, b, c + east, d, e, f), grid.crs)


def _from_origin(grid: GeoBox, origin: float) -> GeoBox:
    """The same grid; one in degrees counts longitudes from an origin of 0, or -180 or 180."""
    if origin == 0.0 or not _is_in_degrees(grid):
        return grid
    moved = _moved(grid, -origin)
    return GeoBox(moved.shape, moved.transform, _from_180(grid.crs))


def _from_180(crs: CRS) -> CRS:
    """A geographic CRS whose longitudes count from 180 degrees instead of Greenwich."""
    fields = crs.proj.to_json_dict()
    ensemble = fields.pop("datum_ensemble", None)
    datum = fields.get("datum") or {
        "type": "GeodeticReferenceFrame",
        "name": ensemble["name"].removesuffix(" ensemble"),
        "ellipsoid": ensemble["ellipsoid"],
    }
    datum = {key: value for key, value in datum.items() if key != "id"}
    fields["datum"] = {**datum, "prime_meridian": {"name": "180", "longitude": HALF_TURN_DEG}}
    fields.pop("id", None)
    return CRS(type(crs.proj).from_json_dict(fields).to_wkt())
