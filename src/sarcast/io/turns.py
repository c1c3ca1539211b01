"""Rasters in degrees of longitude, found in every turn around the globe and across 180 degrees."""

from collections.abc import Sequence

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from sarcast.io.footprint import HALF_TURN_DEG, TURN_DEG, contiguous, footprint


def turns_within(source: GeoBox, grid: GeoBox) -> Sequence[GeoBox]:
    """Grids that a raster has in the turns around the globe in which it may touch another grid.

    A raster in longitudes 0..360 touches an area at 10 degrees west as one in -360..0. Where the
    other grid crosses 180 degrees, which projected coordinates convert to 180 and -180, the
    longitudes count from 180 degrees instead of Greenwich.

    Parameters
    ----------
    source
        Grid of the raster; it is returned as it is unless it is in degrees east of Greenwich.
    grid
        The other grid.
    """
    if not _is_in_degrees(source):
        return [source]
    left, _, right, _ = source.boundingbox.bbox
    if grid.crs == source.crs:
        west, _, east, _ = grid.boundingbox.bbox
    else:
        west, _, east, _ = contiguous(footprint(grid)).bounds
    turns = range(
        int(np.ceil((west - right) / TURN_DEG)), int(np.floor((east - left) / TURN_DEG)) + 1
    )
    whole = grid.crs == source.crs or east - west >= TURN_DEG
    if whole or (west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG):
        return [_moved(source, turn * TURN_DEG, source.crs) for turn in turns]
    crs, origin = _from_180(source.crs), np.copysign(HALF_TURN_DEG, west + east)
    return [_moved(source, turn * TURN_DEG - origin, crs) for turn in turns]


def _is_in_degrees(grid: GeoBox) -> bool:
    """Whether columns of a grid are degrees of longitude from Greenwich."""
    if not grid.crs.geographic or grid.transform.b != 0.0 or grid.transform.d != 0.0:
        return False
    crs = grid.crs.proj
    meridian = crs.prime_meridian
    from_greenwich = meridian is None or meridian.longitude == 0.0
    return bool(from_greenwich and crs.axis_info[0].unit_name == "degree")


def _moved(grid: GeoBox, east: float, crs: CRS) -> GeoBox:
    if east == 0.0 and crs == grid.crs:
        return grid
    a, b, c, d, e, f = list(grid.transform)[:6]
    return GeoBox(grid.shape, Affine(a, b, c + east, d, e, f), crs)


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
