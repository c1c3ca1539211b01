"""Areas and grids: reads an area as given by the user, and makes the grid of a cube from it."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pystac
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox, Geometry
from odc.geo.types import resxy_, xy_
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from sarcast.arrays import Double
from sarcast.errors import SarcastError, UsageError
from sarcast.io.footprint import (
    FARTHEST_DEG,
    TURN_DEG,
    WGS84,
    bounds_in,
    canonical,
    canonical_box,
    centre,
    contiguous,
    footprint,
    grid_bounds,
    least_arc,
    project,
    utm_crs,
    wrap,
)
from sarcast.io.polygons import NoPolygonsError, read_polygons
from sarcast.io.raster_checks import FARTHEST, is_degenerate
from sarcast.io.rasters import grid_of

if TYPE_CHECKING:
    import geopandas

CONDITIONS_SPACING_M = 1000.0
"""Spacing of the grid of conditions, metres."""
MOST_PIXELS = 4e9
"""Most pixels of a cube's grid: 600 km square at 10 m."""
LEAST_FILLED = 0.01
"""Least share of their bounding box that scenes must cover if no area is given."""
LONGEST_PATH = 4096
_PATH = re.compile(r"[/\\]|\.[A-Za-z]\w*$")
_LISTED = 5
_FOLDED_DEG = 0.01
"""Distance of a point from itself, projected and back, from which a CRS does not represent it."""
_CUT = 3.0
"""An area is cut if its projection is longer than so many times its length on the ground, ..."""
_CUT_M = 1e7
"""... and than this, a quarter of the globe, m."""
_COLLAPSED = 0.2
"""Share of its true size below which a projected area has collapsed."""
METRES_A_DEGREE = 111_320.0
"""Length of a degree at the equator, metres (WGS 84: 2 pi a / 360)."""


def read_area(area: str) -> Geometry | GeoBox:
    """Read an area: ``west,south,east,north`` in degrees, a vector file, or the grid of a raster.

    A box across 180 degrees has west > east, as ``179.9,-17,-179.9,-16.9``, or goes on beyond, as
    ``179.9,-17,180.1,-16.9``; longitudes may also be 0..360. Vector files may be split at 180
    degrees or not, as ``canonical`` accepts them.

    Returns
    -------
    Geometry or GeoBox
        Areas in degrees are in the canonical form, others in the CRS of their file.

    Raises
    ------
    UsageError
        If it is none of them.
    SarcastError
        If its file is damaged or too large, or has no shapes or no CRS.
    """
    if len(area) < LONGEST_PATH and area and Path(area).exists():
        return _from_file(Path(area))
    try:
        west, south, east, north = (float(part) for part in area.split(","))
    except ValueError as error:
        is_path = _PATH.search(area) is not None
        raise UsageError(
            f"--area must be 'west,south,east,north' in degrees, a vector file or a raster file; "
            f"{area!r} {'does not exist' if is_path else 'is none of these'}"
        ) from error
    return _box_area(area, west, south, east, north)


def _box_area(area: str, west: float, south: float, east: float, north: float) -> Geometry:
    """Box in degrees; west > east is across 180 degrees, and then narrower than 180."""
    wide = east - west if west < east else east - west + TURN_DEG
    if not (
        max(abs(west), abs(east)) <= TURN_DEG
        and -90.0 <= south < north <= 90.0
        and (0.0 < wide <= TURN_DEG if west < east else wide < TURN_DEG / 2.0)
    ):
        hint = ""
        if west > east:
            hint = f"; west > east means across 180 degrees, here over {wide:g} degrees"
        raise UsageError(
            f"--area must be west,south,east,north with south < north in -90..90 and west < east "
            f"in -180..180 or 0..360, or west > east across 180 degrees; {area!r} is not{hint}"
        )
    return canonical_box(west, south, west + wide, north)


def make_grid(
    area: Geometry | GeoBox | None,
    items: Sequence[pystac.Item],
    *,
    crs: str | None = None,
    resolution: float | None = None,
    like: GeoBox | None = None,
) -> GeoBox:
    """Make the grid of a cube, aligned with the pixels of the first scene or of another grid.

    Parameters
    ----------
    area
        Outline, or a grid that is used as it is; None for everything that the scenes cover.
    items
        Scenes that supply CRS, spacing and alignment where these are not given.
    crs
        Default: that of the first scene.
    resolution
        Spacing in units of the CRS; default: that of the first scene.
    like
        Grid to use instead of that of the first scene.

    Raises
    ------
    UsageError
        If the CRS is unknown, if CRS or resolution contradict the given grid, or if the scenes lie
        in regions far apart and no area selects one.
    """
    if isinstance(area, GeoBox):
        return _check_given_grid(area, crs, resolution)
    native = item_grid(items[0]) if like is None else like
    target = native.crs if crs is None else _crs(crs)
    if resolution is None and target != native.crs:
        raise UsageError(
            f"--crs {crs} is not that of the scenes ({native.crs}): give --resolution too"
        )
    spacing = (abs(native.resolution.x), abs(native.resolution.y))
    step_x, step_y = spacing if resolution is None else (resolution, resolution)
    is_native = target == native.crs and (step_x, step_y) == spacing
    if area is None:
        _check_one_region(items, LEAST_FILLED)
    corner = native.transform
    anchor = xy_((corner.c / step_x) % 1.0, (corner.f / step_y) % 1.0) if is_native else "edge"
    near = _longitude(native)
    if area is None:
        bounds = _union([grid_bounds(item_grid(item), target, near) for item in items])
        outline = shapely.union_all(_contiguous([item.bbox for item in items if item.bbox]))
    else:
        _check_representable(area, target)
        bounds = bounds_in(area, target, near)
        outline = contiguous(area, near)
    _check_in_one_piece(outline, bounds, target)
    if area is None and not bounds.span_y * bounds.span_x <= MOST_PIXELS * step_x * step_y:
        _check_one_region(items, 1.0)
    _check_size(bounds.span_y / step_y, bounds.span_x / step_x, (step_x, step_y), target)
    if not min(step_x, step_y) <= max(bounds.span_x, bounds.span_y):
        raise UsageError(
            f"a --resolution of {step_x:g} is coarser than the whole area, {bounds.span_x:g} x "
            f"{bounds.span_y:g} in units of {target}; give a finer one"
        )
    step = resxy_(step_x, -step_y)
    return GeoBox.from_bbox(bounds, resolution=step, anchor=anchor, tol=0.01)


def _longitude(grid: GeoBox) -> float:
    """Longitude of the middle of a grid, degrees; in its own notation if it is in degrees."""
    if grid.crs.geographic:
        left, _, right, _ = grid.boundingbox.bbox
        return float(left + right) / 2.0
    return centre(footprint(grid))[0]


def _union(boxes: Sequence[BoundingBox]) -> BoundingBox:
    left, bottom, right, top = zip(*(box.bbox for box in boxes), strict=True)
    return BoundingBox(min(left), min(bottom), max(right), max(top), boxes[0].crs)


def _check_given_grid(grid: GeoBox, crs: str | None, resolution: float | None) -> GeoBox:
    if crs is not None or resolution is not None:
        raise UsageError(
            "--area names a raster, whose grid is used: leave out --crs and "
            "--resolution, or give --area as a box"
        )
    spacing = (abs(grid.resolution.x), abs(grid.resolution.y))
    _check_size(grid.height, grid.width, spacing, grid.crs)
    return grid


def _check_one_region(items: Sequence[pystac.Item], filled: float) -> None:
    """Check that scenes lie in one region, or fill at least this share of the box around them."""
    boxes = Counter(_contiguous([item.bbox for item in items if item.bbox]))
    whole = shapely.union_all([*boxes])
    if whole.area >= filled * shapely.envelope(whole).area:
        return
    regions = [(sum(boxes[bbox] for bbox in region), region) for region in _regions([*boxes])]
    if len(regions) < 2:
        return
    largest = sorted(regions, key=lambda region: -region[0])[:_LISTED]
    listed = "; ".join(f"{_as_area(region)} ({number} scenes)" for number, region in largest)
    more = f"; and {len(regions) - _LISTED} more" if len(regions) > _LISTED else ""
    raise UsageError(
        f"the scenes lie in {len(regions)} regions far apart; give one of them as --area: "
        f"{listed}{more}"
    )


def _contiguous(boxes: Sequence[Sequence[float]]) -> list[shapely.Polygon]:
    """Bounding boxes with longitudes that do not jump at 180 degrees, but continue beyond."""
    corners = np.array([[*box[:2], *box[len(box) // 2 :][:2]] for box in boxes])
    west, south, east, north = corners.T
    east = np.where(west > east, east + TURN_DEG, east)
    start, _ = least_arc(west, east)
    # a box that begins at the start, but for rounding, must not be moved to the other end
    moved = west + TURN_DEG * np.ceil((start - west) / TURN_DEG - 1e-9)
    return list(shapely.box(moved, south, moved + (east - west), north))


def _as_area(region: Sequence[shapely.Polygon]) -> str:
    """Bounds of a region as for ``--area``."""
    west, south, east, north = shapely.total_bounds(region)
    longitudes = wrap(np.array([west, east]))
    return ",".join(f"{value:.4f}" for value in (longitudes[0], south, longitudes[1], north))


def _regions(boxes: Sequence[shapely.Polygon]) -> list[list[shapely.Polygon]]:
    """Group boxes that lie closer to each other than the length of a box."""
    spans = [max(np.subtract(bbox.bounds[2:], bbox.bounds[:2])) for bbox in boxes]
    wide = shapely.union_all(shapely.buffer([*boxes], np.divide(spans, 2.0)))
    parts = shapely.get_parts(wide)
    return [[bbox for bbox in boxes if shapely.contains(part, bbox)] for part in parts]


def _check_size(rows: float, columns: float, spacing: tuple[float, float], crs: CRS | None) -> None:
    if not rows * columns <= MOST_PIXELS:
        across, down = spacing
        raise UsageError(
            f"an area of {columns * across:g} x {rows * down:g} at a resolution of "
            f"{describe_spacing(spacing)} (units of {crs}) has over {MOST_PIXELS:g} pixels; give a "
            f"smaller --area or a larger --resolution"
        )


def _check_representable(area: Geometry, crs: CRS) -> None:
    """Check that a CRS can represent an area: a CRS for one region distorts or folds others."""
    flat = shapely.segmentize(contiguous(area), 1.0)
    projected = shapely.transform(flat, lambda points: project(points, crs))
    if not (_is_unique(flat, projected, crs) and _is_spread_out(flat, projected, crs)):
        raise UsageError(
            f"the area is too large to be represented in {crs}; give a smaller --area, or a --crs "
            f"that is made for all of it, with --resolution"
        )


def _check_in_one_piece(outline: BaseGeometry, bounds: BoundingBox, crs: CRS) -> None:
    """Check that a projection does not cut an area in two, as Web Mercator does at 180 degrees."""
    if crs.geographic or outline.is_empty:
        return
    west, south, east, north = outline.bounds
    across = math.cos(math.radians(max(abs(south), abs(north))))
    metres = METRES_A_DEGREE * max((east - west) * across, north - south)
    span = max(bounds.span_x, bounds.span_y) * crs.proj.axis_info[0].unit_conversion_factor
    if span * across > _CUT * metres and span > _CUT_M:
        utm = utm_crs((west + east) / 2.0, (south + north) / 2.0)
        raise UsageError(
            f"the area lies on both sides of the edge of {crs}, which would give a cube "
            f"{span / 1000.0:.0f} km wide; give --crs with --resolution, such as --crs {utm}, or "
            f"an --area on one side"
        )


def _is_unique(flat: BaseGeometry, projected: BaseGeometry, crs: CRS) -> bool:
    """Whether the vertices of an area in degrees are found again from their projection."""
    points, there = shapely.get_coordinates(flat), shapely.get_coordinates(projected)
    longitude, latitude = crs.transformer_to_crs(CRS(WGS84))(*there.T)
    east = (longitude - points[:, 0] + TURN_DEG / 2.0) % TURN_DEG - TURN_DEG / 2.0
    north = latitude - points[:, 1]
    off = np.hypot(east * np.cos(np.radians(points[:, 1])), north)
    return bool(np.all(off <= _FOLDED_DEG))


def _is_spread_out(flat: BaseGeometry, projected: BaseGeometry, crs: CRS) -> bool:
    """Whether an area has not collapsed, as the whole globe does in a UTM zone."""
    if crs.geographic:
        return True
    radius = METRES_A_DEGREE * TURN_DEG / (2.0 * np.pi)
    true = shapely.transform(  # equal-area cylindrical projection of the sphere
        flat,
        lambda points: np.column_stack(
            [METRES_A_DEGREE * points[:, 0], radius * np.sin(np.radians(points[:, 1]))]
        ),
    )
    metres = crs.proj.axis_info[0].unit_conversion_factor
    return bool(projected.area * metres**2 >= _COLLAPSED * true.area)


def describe_spacing(spacing: tuple[float, float]) -> str:
    """Spacing of columns and rows as text: one number if they are equal."""
    across, down = spacing
    return f"{across:g}" if across == down else f"{across:g} x {down:g}"


def item_grid(item: pystac.Item) -> GeoBox:
    """Grid of an item's backscatter: from its projection fields, or else from the raster.

    Raises
    ------
    SarcastError
        If the item does not contain its grid, and its raster cannot be opened.
    """
    fields = item.properties
    crs = fields.get("proj:code") or fields.get("proj:wkt2") or fields.get("proj:epsg")
    if not crs or "proj:shape" not in fields or "proj:transform" not in fields:
        return _raster_grid(item)
    shape, transform = tuple(fields["proj:shape"]), Affine(*fields["proj:transform"][:6])
    try:
        found = CRS(crs)
    except CRSError as error:
        raise SarcastError(
            f"{item.id} states the CRS {crs!r}, which is unknown; correct its proj:code"
        ) from error
    if is_degenerate(transform, shape, FARTHEST_DEG if found.geographic else FARTHEST):
        raise SarcastError(
            f"{item.id} states the proj:transform {list(transform)[:6]}, in which pixels have no "
            f"area or lie nowhere; correct it"
        )
    return GeoBox(shape, transform, found)


def _raster_grid(item: pystac.Item) -> GeoBox:
    """Grid of the first raster with the role data."""
    asset = next((each for each in item.assets.values() if "data" in (each.roles or [])), None)
    try:
        if asset is not None:
            return grid_of(asset.href)
        cause = "it has no asset with the role data"
    except SarcastError as error:
        cause = str(error)
    raise SarcastError(
        f"{item.id} does not contain its grid (proj:code, proj:shape, proj:transform), and "
        f"{cause}; give a raster as --area, whose grid is then used"
    )


def conditions_grid(grid: GeoBox) -> GeoBox:
    """Coarse grid over the same area, with cells of about 1 km, or of its pixels if coarser."""
    unit = METRES_A_DEGREE if grid.crs.geographic else 1.0
    spacing = max(CONDITIONS_SPACING_M / unit, abs(grid.resolution.x), abs(grid.resolution.y))
    return GeoBox.from_bbox(grid.boundingbox, resolution=spacing, anchor="edge", tol=0.01)


def axes(grid: GeoBox) -> tuple[Double, Double]:
    """Coordinates of the pixel centres: of the rows (y) and of the columns (x)."""
    y, x = (np.asarray(grid.coordinates[name].values) for name in grid.dimensions)
    return y, x


def _crs(text: str) -> CRS:
    try:
        return CRS(text)
    except CRSError as error:
        raise UsageError(f"--crs {text!r} is unknown; give one such as EPSG:32633") from error


def _outline(shapes: "geopandas.GeoSeries") -> Geometry:
    """Union of shapes; those in degrees each in the canonical form, which is always valid."""
    if not shapes.crs.is_geographic:
        return Geometry(shapes.make_valid().union_all(), shapes.crs.to_wkt())
    crs = shapes.crs.to_wkt()
    parts = [canonical(Geometry(shape, crs)).geom for shape in shapes]
    return Geometry(shapely.union_all(shapely.make_valid(parts)), WGS84)


def _from_file(path: Path) -> Geometry | GeoBox:
    try:
        return _outline(read_polygons(path).geometry)
    except NoPolygonsError:
        pass
    try:
        return grid_of(path)
    except SarcastError as error:
        raise UsageError(f"--area {path} is neither a vector nor a raster file: {error}") from error
