"""Time and footprint of items, which catalogues search by."""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pystac
import shapely
from odc.geo.geom import Geometry
from shapely.geometry.base import BaseGeometry

from sarcast.arrays import Bool
from sarcast.errors import SarcastError
from sarcast.io.footprint import WGS84, bounding_box, canonical_shape, footprint, geojson
from sarcast.io.grid import item_grid

_log = logging.getLogger(__name__)
_LISTED = 3
_MOST_LONGITUDE_DEG = 540.0
_MOST_LATITUDE_DEG = 90.0
_GRID = {"proj:shape", "proj:transform"}
_CRS = {"proj:code", "proj:epsg", "proj:wkt2"}

MALFORMED = (
    pystac.STACError,
    pystac.STACTypeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
"""Exceptions raised for an item that does not follow the STAC specification."""


def time_range(item: pystac.Item) -> tuple[dt.datetime, dt.datetime]:
    """First and last time of an item, UTC.

    Raises
    ------
    SarcastError
        If it contains no time, or a range that ends before it starts.
    """
    metadata = item.common_metadata
    if metadata.start_datetime is not None and metadata.end_datetime is not None:
        first, last = utc(metadata.start_datetime), utc(metadata.end_datetime)
    elif item.datetime is not None:
        first = last = utc(item.datetime)
    else:
        raise SarcastError(
            f"item {item.id} has no time: expected datetime, or start_datetime and end_datetime"
        )
    if last < first:
        raise SarcastError(f"item {item.id} ends at {last}, before its start at {first}")
    return first, last


def sort_items(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """Sort items by time, then id; of items with the same collection and id the last one counts.

    A warning names items that are lost in this way although they are other scenes.
    """
    unique: dict[tuple[str | None, str], pystac.Item] = {}
    lost = []
    for item in items:
        other = unique.get((item.collection_id, item.id), item)
        if (other.datetime, other.bbox) != (item.datetime, item.bbox):
            lost.append(item.id)
        unique[item.collection_id, item.id] = item
    if lost:
        _log.warning(
            f"{len(lost)} items have the id of another with another time or footprint, and only "
            f"the last of each is used: {', '.join(lost[:_LISTED])}; give each an id of its own"
        )
    return sorted(
        unique.values(), key=lambda item: (utc(item.datetime or time_range(item)[0]), item.id)
    )


def with_location(item: pystac.Item) -> pystac.Item:
    """Return an item if it has a time and a footprint, which catalogues search by.

    The footprint is made canonical, as by ``with_canonical_footprint``.

    Raises
    ------
    SarcastError
        If it has no time or no footprint.
    """
    time_range(item)
    if item.geometry is None:
        raise SarcastError(f"item {item.id} has no footprint: expected a geometry")
    located = with_canonical_footprint(item)
    shape = shapely.geometry.shape(located.geometry)
    if shape.is_empty or not _is_on_earth(shape):
        raise SarcastError(
            f"item {item.id} has no footprint: expected a geometry with coordinates in degrees"
        )
    return located


def are_on_earth(shapes: npt.NDArray[np.object_]) -> Bool:
    """Whether shapes lie within the longitudes of any one turn and within -90..90 of latitude."""
    west, south, east, north = shapely.bounds(shapes).T
    in_turn = np.maximum(np.abs(west), np.abs(east)) <= _MOST_LONGITUDE_DEG
    inside: Bool = in_turn & (south >= -_MOST_LATITUDE_DEG) & (north <= _MOST_LATITUDE_DEG)
    return inside


def _is_on_earth(shape: BaseGeometry) -> bool:
    finite = np.isfinite(shapely.get_coordinates(shape)).all()
    return bool(finite and are_on_earth(np.array([shape]))[0])


def with_canonical_footprint(item: pystac.Item) -> pystac.Item:
    """Return an item whose footprint is canonical: longitudes in -180..180, split at 180 degrees.

    Some makers let footprints run beyond 180 degrees, or the other way around the globe. A
    footprint that is wider than 180 degrees although the item's raster is not becomes that of the
    raster. An item without a footprint, or with a canonical one, is returned as it is.

    Raises
    ------
    SarcastError
        If the footprint is not valid GeoJSON.
    """
    if item.geometry is None:
        return item
    try:
        with np.errstate(invalid="ignore"):  # NaN, which is refused below
            stated = shapely.geometry.shape(item.geometry)
        if not (stated.is_empty or _is_on_earth(stated)):
            raise ValueError(f"its bounds are {stated.bounds}, expected degrees")
        shape = _not_too_wide(item, canonical_shape(stated))
    except (shapely.errors.ShapelyError, *MALFORMED) as error:
        raise SarcastError(
            f"item {item.id} has a footprint that is not valid GeoJSON, correct or remove it: "
            f"{' '.join(str(error).split())}"
        ) from error
    if stated.is_empty or (shape is stated and item.bbox is not None and _is_plain(item.bbox)):
        return item
    placed = item.clone()
    placed.geometry, placed.bbox = geojson(shape)
    return placed


def _not_too_wide(item: pystac.Item, shape: BaseGeometry) -> BaseGeometry:
    """A canonical footprint, or if it is too wide for it, that of the item's raster."""
    fields = (item.properties, *(asset.extra_fields for asset in item.assets.values()))
    stated = next((each for each in fields if set(each) >= _GRID and _CRS & set(each)), None)
    if stated is None or not _is_wide(shape):
        return shape
    with_grid = item.clone()
    with_grid.properties.update(stated)
    by_grid = footprint(item_grid(with_grid)).geom
    return shape if _is_wide(by_grid) else by_grid


def _is_wide(shape: BaseGeometry) -> bool:
    if shape.is_empty or shape.bounds[2] - shape.bounds[0] < 180.0:
        return False
    west, _, east, _ = bounding_box(Geometry(shape, WGS84))
    return (east - west) % 360.0 >= 180.0 or east - west >= 180.0


def _is_plain(bbox: Sequence[float]) -> bool:
    west, east = bbox[0], bbox[len(bbox) // 2]
    return -180.0 <= west <= east <= 180.0 and east - west < 180.0


def utc(moment: dt.datetime) -> dt.datetime:
    """Convert a time to UTC; a time without a zone is taken as UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
