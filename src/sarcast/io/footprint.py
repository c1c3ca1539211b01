"""Footprints and areas in one form: degrees, longitudes in -180..180, split at 180 degrees.

Whatever reads or writes a footprint or an area brings it into this form by ``canonical`` or
``footprint``. For example, a box from 179.5 to 180.5 degrees east becomes two polygons, from 179.5
to 180 and from -180 to -179.5, and its bounding box is 179.5, .., -179.5, ...

References
----------
RFC 7946, The GeoJSON Format, 3.1.9 (polygons are cut at 180 degrees) and 5.2 (bounding boxes across
180 degrees have west > east).
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox, Geometry
from pyproj.exceptions import ProjError
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.io.ground import ground_size_m

WGS84 = "EPSG:4326"
TURN_DEG = 360.0
"""One turn around the globe, degrees of longitude."""
HALF_TURN_DEG = 180.0
FARTHEST_DEG = 3600.0
"""Longitudes beyond this are no notation of any turn, but coordinates of another CRS."""

_PARTS_A_SIDE = 64
"""Edges are straight in their own CRS and bent in degrees: the longest is cut into so many."""
_TOLERANCE_DEG = 1e-5
"""Largest error of a footprint where vertices that are not needed are removed, about 1 m."""
_SAME_DEG = 1e-9
_LONGEST_EDGE_DEG = 90.0
_STRAIGHT_DEG = 6.0
"""Width above which parallels are bent when an area is projected: that of a UTM zone."""


def canonical(shape: Geometry) -> Geometry:
    """Bring a geometry in any CRS and notation into the canonical form.

    Parameters
    ----------
    shape
        Longitudes may be those of any turn, such as -181..-179 or 0..360. An edge over more than
        180 degrees of longitude leads the other way around the globe, as from 179 to -179; only
        one over exactly 360 degrees is taken as it is. A ring around a pole contains the pole.

    Returns
    -------
    Geometry
        EPSG:4326, longitudes in -180..180; in one part on each side of 180 degrees.

    Raises
    ------
    SarcastError
        If it lies outside the Earth.
    """
    return Geometry(canonical_shape(_in_degrees(shape)), WGS84)


def canonical_shape(shape: BaseGeometry) -> BaseGeometry:
    """As ``canonical``, for a shape in degrees."""
    if shape.is_empty or not _needs_splitting(shape.bounds):
        return shape
    polygons = [part for part in _parts(shape) if part.geom_type == "Polygon"]
    if not polygons:
        return shapely.transform(shape, lambda xy: np.column_stack([wrap(xy[:, 0]), xy[:, 1]]))
    return _split(map(_unwrapped, polygons))


def canonical_shapes(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """As ``canonical_shape``, for many shapes, few of which need it."""
    west, _, east, _ = shapely.bounds(shapes).T
    beyond = (west < -HALF_TURN_DEG) | (east > HALF_TURN_DEG)
    split = shapes.copy()
    for index in np.flatnonzero(beyond | (east - west >= HALF_TURN_DEG)):
        split[index] = canonical_shape(shapes[index])
    return split


def canonical_box(west: float, south: float, east: float, north: float) -> Geometry:
    """Box of any width up to a whole turn in the canonical form; ``west`` is less than ``east``."""
    return Geometry(_split([shapely.box(west, south, east, north)]), WGS84)


def footprint(grid: GeoBox) -> Geometry:
    """Footprint of a grid in any CRS, in the canonical form.

    Edges follow the grid's to about 1 m. A footprint that contains a pole extends to 90 degrees of
    latitude.
    """
    extent = grid.extent.geom
    spacing = max(np.ptp(np.asarray(extent.exterior.coords), axis=0)) / _PARTS_A_SIDE
    dense = Geometry(shapely.segmentize(extent, spacing), grid.crs)
    polygon = _unwrapped(_finite(dense.to_crs(WGS84).geom))
    return Geometry(_split([shapely.simplify(polygon, _TOLERANCE_DEG)]), WGS84)


def bounding_box(shape: Geometry) -> tuple[float, float, float, float]:
    """West, south, east and north of a shape, degrees; west is greater across 180 degrees."""
    west, south, east, north = contiguous(shape).bounds
    if east - west >= TURN_DEG:
        return -HALF_TURN_DEG, south, HALF_TURN_DEG, north
    return _wrapped(west), south, _wrapped(east, at_180=HALF_TURN_DEG), north


def centre(shape: Geometry) -> tuple[float, float]:
    """Longitude, -180..180, and latitude of the centroid of a shape, degrees."""
    point = contiguous(shape).centroid
    return _wrapped(point.x), float(point.y)


def contiguous(shape: Geometry, near: float = 0.0) -> BaseGeometry:
    """Shape in degrees that is not split at 180: longitudes may lie beyond -180..180.

    Parameters
    ----------
    shape
        Any CRS and notation.
    near
        Longitude, degrees; of all turns around the globe, the one nearest to it is taken.
    """
    parts = _parts(canonical(shape).geom)
    west, east = np.array([part.bounds for part in parts])[:, [0, 2]].T
    start, end = least_arc(west, east)
    turn = TURN_DEG * np.round((near - (start + end) / 2.0) / TURN_DEG)
    after = np.where(west < start - _SAME_DEG, TURN_DEG, 0.0) + turn
    moved = [translate(part, step) for part, step in zip(parts, after, strict=True)]
    if len(moved) == 1:
        return moved[0]
    # normalised rings begin at their west end, never at 180 degrees, where parts were joined
    return shapely.simplify(shapely.normalize(shapely.union_all(moved)), _SAME_DEG)


def least_arc(west: Double, east: Double) -> tuple[float, float]:
    """Least arc of longitudes that contains all intervals, each of which has west <= east.

    Returns
    -------
    float, float
        Its west end, as given, and its east end, which is greater. A whole turn is -180, 180.

    Examples
    --------
    >>> least_arc(np.array([179.0, -180.0]), np.array([180.0, -179.0]))
    (179.0, 181.0)
    """
    turned = west + TURN_DEG * np.round(-west / TURN_DEG)
    order = np.argsort(turned)
    first, last = turned[order], (east + turned - west)[order]
    reach = np.maximum.accumulate(last)
    before = np.concatenate([[reach[-1] - TURN_DEG], np.maximum(reach[:-1], reach[-1] - TURN_DEG)])
    gaps = first - before
    if gaps.max() <= _SAME_DEG:
        return -HALF_TURN_DEG, HALF_TURN_DEG
    index = 0 if gaps[0] >= gaps.max() - _SAME_DEG else int(np.argmax(gaps))
    return float(first[index]), float(before[index] + TURN_DEG)


def wrap(longitude: Double) -> Double:
    """Longitudes of any turn as -180..180, degrees; those in this range are left as they are."""
    inside = np.abs(longitude) <= HALF_TURN_DEG
    return np.where(inside, longitude, (longitude + HALF_TURN_DEG) % TURN_DEG - HALF_TURN_DEG)


def bounds_in(shape: Geometry, crs: CRS, near: float = 0.0) -> BoundingBox:
    """Bounds of a shape in a CRS.

    Parameters
    ----------
    shape
        Any CRS and notation.
    crs
        A geographic one gives longitudes of the turn around the globe that is nearest to ``near``,
        beyond -180..180 if needed.
    near
        Longitude, degrees.
    """
    if not (shape.crs.geographic or crs.geographic):
        return shape.to_crs(crs).boundingbox
    flat = contiguous(shape, near)
    if flat.bounds[2] - flat.bounds[0] > _STRAIGHT_DEG:
        flat = shapely.segmentize(flat, 1.0)
    return BoundingBox(*shapely.transform(flat, lambda xy: project(xy, crs)).bounds, crs)


def project(points: Double, crs: CRS) -> Double:
    """Project points, dims (point, 2), degrees; geographic CRS keep the turn around the globe."""
    x, y = CRS(WGS84).transformer_to_crs(crs)(points[:, 0], points[:, 1])
    if crs.geographic:
        x = x + TURN_DEG * np.round((points[:, 0] - x) / TURN_DEG)
    return np.column_stack([x, y])


def grid_bounds(grid: GeoBox, crs: CRS, near: float = 0.0) -> BoundingBox:
    """Bounds of a grid in a CRS; see ``bounds_in``."""
    if not crs.geographic:
        return grid.extent.to_crs(crs).boundingbox
    if grid.crs != crs:
        return bounds_in(footprint(grid), crs, near)
    left, bottom, right, top = grid.boundingbox.bbox
    turn = TURN_DEG * np.round((near - (left + right) / 2.0) / TURN_DEG)
    return BoundingBox(left + turn, bottom, right + turn, top, crs)


def utm_crs(longitude: float, latitude: float) -> str:
    """UTM zone of a location, as ``EPSG:32633``; longitudes of any turn, degrees."""
    zone = int((longitude + HALF_TURN_DEG) // 6.0) % 60 + 1
    return f"EPSG:{(32600 if latitude >= 0.0 else 32700) + zone}"


def geojson(shape: BaseGeometry) -> tuple[dict[str, Any], list[float]]:
    """Geometry and bounding box of a STAC item with a canonical footprint."""
    # JSON has lists where shapely has tuples
    geometry: dict[str, Any] = json.loads(json.dumps(shapely.geometry.mapping(shape)))
    return geometry, list(bounding_box(Geometry(shape, WGS84)))


# --- parts ----------------------------------------------------------------------------------------


def _parts(shape: BaseGeometry) -> list[BaseGeometry]:
    return list(shapely.get_parts(shape))


def _needs_splitting(bounds: tuple[float, float, float, float]) -> bool:
    west, _, east, _ = bounds
    inside = west >= -HALF_TURN_DEG and east <= HALF_TURN_DEG
    return not (inside and east - west < HALF_TURN_DEG)


def _in_degrees(shape: Geometry) -> BaseGeometry:
    if shape.crs is None:
        raise SarcastError("an area or footprint has no CRS; add one")
    try:
        return _finite(_to_degrees(shape))
    except ProjError as error:
        raise SarcastError(
            f"an area or footprint cannot be converted to degrees: {' '.join(str(error).split())}; "
            f"write its true CRS into its file"
        ) from error


def _to_degrees(shape: Geometry) -> BaseGeometry:
    if shape.crs.geographic:
        return shape.to_crs(WGS84).geom
    west, south, east, north = shape.geom.bounds
    spacing = max(east - west, north - south) / _PARTS_A_SIDE
    dense = shapely.segmentize(shape.geom, spacing) if spacing > 0.0 else shape.geom
    return Geometry(dense, shape.crs).to_crs(WGS84).geom


def _finite(shape: BaseGeometry) -> BaseGeometry:
    _, south, _, north = shape.bounds
    is_on_earth = np.isfinite(shape.bounds).all() and max(-south, north) <= HALF_TURN_DEG
    if not shape.is_empty and not is_on_earth:
        raise SarcastError(
            "an area or footprint lies outside the Earth; check that its CRS is that of its "
            "coordinates"
        )
    return shape


def _unwrapped(polygon: shapely.Polygon) -> shapely.Polygon:
    """Polygon whose rings do not jump at 180 degrees, but continue beyond."""
    shell = _unwrapped_ring(polygon.exterior)
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2.0
    holes = []
    for ring in polygon.interiors:
        hole = _unwrapped_ring(ring)
        offset = middle - (hole[:, 0].min() + hole[:, 0].max()) / 2.0
        hole[:, 0] += TURN_DEG * np.round(offset / TURN_DEG)
        holes.append(hole)
    return shapely.Polygon(shell, holes)


def _unwrapped_ring(ring: shapely.LinearRing) -> Double:
    """Vertices of a ring, dims (vertex, 2); a ring around a pole is led over the pole."""
    points = _open_poles(np.array(ring.coords)[:, :2])
    steps = np.diff(points[:, 0])
    turns = np.where(np.abs(steps) < TURN_DEG - _SAME_DEG, np.round(steps / TURN_DEG), 0.0)
    points[1:, 0] -= TURN_DEG * np.cumsum(turns)
    if abs(points[-1, 0] - points[0, 0]) < HALF_TURN_DEG:
        return points
    pole = np.copysign(90.0, points[:, 1].mean())
    return np.vstack([points, [[points[-1, 0], pole], [points[0, 0], pole]], points[:1]])


def _open_poles(points: Double) -> Double:
    """Ring in which a vertex at a pole, of any longitude, becomes two, of its neighbours'."""
    at_pole = np.abs(points[:-1, 1]) >= 90.0 - _SAME_DEG
    alone = at_pole & ~np.roll(at_pole, 1) & ~np.roll(at_pole, -1)
    if not alone.any():
        return points
    first = int(np.flatnonzero(~at_pole)[0])
    ring, alone = np.roll(points[:-1], -first, axis=0), np.roll(alone, -first)
    before, after = np.roll(ring[:, 0], 1), np.roll(ring[:, 0], -1)
    ends = [
        [(before[index], y), (after[index], y)] if alone[index] else [(x, y)]
        for index, (x, y) in enumerate(ring)
    ]
    opened = np.array([point for each in ends for point in each])
    return np.vstack([opened, opened[:1]])


def _split(polygons: Iterable[shapely.Polygon]) -> BaseGeometry:
    """Union of polygons whose longitudes may lie beyond -180..180, split at 180 degrees."""
    parts: list[shapely.Polygon] = []
    for polygon in polygons:
        whole = polygon if polygon.is_valid else shapely.make_valid(polygon)
        west, _, east, _ = whole.bounds
        if not max(abs(west), abs(east)) <= FARTHEST_DEG:
            raise SarcastError(
                f"an area or footprint has longitudes of {west:g} to {east:g} degrees, expected "
                f"-180..180 or 0..360; check that its CRS is that of its coordinates"
            )
        first = int(np.floor((west + HALF_TURN_DEG) / TURN_DEG))
        for turn in range(first, int(np.ceil((east + HALF_TURN_DEG) / TURN_DEG))):
            middle = turn * TURN_DEG
            strip = shapely.box(middle - HALF_TURN_DEG, -90.0, middle + HALF_TURN_DEG, 90.0)
            inside = translate(shapely.intersection(whole, strip), -middle)
            parts += [part for part in _parts(inside) if part.geom_type == "Polygon"]
    # the ends of a ring around a pole meet only to rounding
    united = parts[0] if len(parts) == 1 else shapely.union_all(parts, grid_size=_SAME_DEG)
    united = shapely.segmentize(united, _LONGEST_EDGE_DEG)
    oriented = [orient(part) for part in _parts(united) if part.geom_type == "Polygon"]
    return oriented[0] if len(oriented) == 1 else shapely.MultiPolygon(oriented)


def _wrapped(longitude: float, at_180: float = -HALF_TURN_DEG) -> float:
    wrapped = float(wrap(np.array(longitude)))
    return at_180 if abs(wrapped) == HALF_TURN_DEG else wrapped


def by_code(grid: GeoBox) -> GeoBox:
    """The same grid, its CRS given by its EPSG code if it has one, as a cube's need not be."""
    code = grid.crs.epsg if grid.crs is not None else None
    return grid if code is None else GeoBox(grid.shape, grid.transform, f"EPSG:{code}")


def pixel_size_m(grid: GeoBox) -> tuple[float, float]:
    """Height and width of a pixel in the middle of a grid, metres on the ground.

    Parameters
    ----------
    grid
        In any CRS; one without CRS is taken to be in metres.

    Returns
    -------
    tuple
        Rows and columns.
    """
    crs = None if grid.crs is None else grid.crs.proj
    return ground_size_m(crs, grid.transform, grid.shape)
