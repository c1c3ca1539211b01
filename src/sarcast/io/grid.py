"""Areas and grids: reads an area as given by the user, and makes the grid of a cube from it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pystac
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box, unary_union
from odc.geo.types import xy_
from pyproj.exceptions import CRSError

from sarcast.arrays import Double
from sarcast.errors import SarcastError, UsageError
from sarcast.io.rasters import grid_of

CONDITIONS_SPACING_M = 1000.0
"""Spacing of the grid of conditions, metres."""
MOST_PIXELS = 4e9
"""Most pixels of a cube's grid: 600 km square at 10 m."""
LEAST_FILLED = 0.01
"""Least share of their bounding box that scenes must cover if no area is given."""
LONGEST_PATH = 4096
_LISTED = 5
METRES_A_DEGREE = 111_320.0
"""Length of a degree at the equator, metres (WGS 84: 2 pi a / 360)."""


def read_area(area: str) -> Geometry | GeoBox:
    """Read an area: ``west,south,east,north`` in degrees, a vector file, or the grid of a raster.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if len(area) < LONGEST_PATH and area and Path(area).exists():
        return _from_file(Path(area))
    try:
        west, south, east, north = (float(part) for part in area.split(","))
    except ValueError as error:
        raise UsageError(
            f"--area must be 'west,south,east,north' in degrees, a vector file or a raster file; "
            f"{area!r} is none of these"
        ) from error
    if not (-180.0 <= west < east <= 180.0 and -90.0 <= south < north <= 90.0):
        hint = "; give one across the antimeridian as a vector file" if west > east else ""
        raise UsageError(
            f"--area must be west,south,east,north with west < east in -180..180 and "
            f"south < north in -90..90; {area!r} is not{hint}"
        )
    return box(west, south, east, north, "EPSG:4326")


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
    is_native = target == native.crs and resolution in (None, abs(native.resolution.x))
    step = abs(native.resolution.x) if resolution is None and target == native.crs else resolution
    if step is None:
        raise UsageError(
            f"--crs {crs} is not that of the scenes ({native.crs}): give --resolution too"
        )
    if area is None:
        _check_one_region(items, LEAST_FILLED)
    extent = area or unary_union(item_grid(i).extent.to_crs(target) for i in items)
    corner = native.transform
    anchor = xy_((corner.c / step) % 1.0, (corner.f / step) % 1.0) if is_native else "edge"
    if area is not None:
        _check_representable(area, target)
    bounds = extent.to_crs(target).boundingbox
    if area is None and not bounds.span_y * bounds.span_x <= MOST_PIXELS * step**2:
        _check_one_region(items, 1.0)
    _check_size(bounds.span_y / step, bounds.span_x / step, step, target)
    if not step <= max(bounds.span_x, bounds.span_y):
        raise UsageError(
            f"a --resolution of {step:g} is coarser than the whole area, {bounds.span_x:g} x "
            f"{bounds.span_y:g} in units of {target}; give a finer one"
        )
    return GeoBox.from_bbox(bounds, resolution=step, anchor=anchor, tol=0.01)


def _check_given_grid(grid: GeoBox, crs: str | None, resolution: float | None) -> GeoBox:
    if crs is not None or resolution is not None:
        raise UsageError(
            "--area names a raster, whose grid is used: leave out --crs and "
            "--resolution, or give --area as a box"
        )
    _check_size(grid.height, grid.width, abs(grid.resolution.x), grid.crs)
    return grid


def _check_one_region(items: Sequence[pystac.Item], filled: float) -> None:
    """Check that scenes lie in one region, or fill at least this share of the box around them."""
    boxes = Counter(_box(item.bbox) for item in items if item.bbox)
    whole = shapely.union_all([*boxes])
    if whole.area >= filled * shapely.envelope(whole).area:
        return
    regions = [(sum(boxes[bbox] for bbox in region), region) for region in _regions([*boxes])]
    if len(regions) < 2:
        return
    largest = sorted(regions, key=lambda region: -region[0])[:_LISTED]
    listed = "; ".join(
        f"{','.join(f'{value:.4f}' for value in shapely.total_bounds(region))} ({number} scenes)"
        for number, region in largest
    )
    more = f"; and {len(regions) - _LISTED} more" if len(regions) > _LISTED else ""
    raise UsageError(
        f"the scenes lie in {len(regions)} regions far apart; give one of them as --area: "
        f"{listed}{more}"
    )


def _box(bbox: Sequence[float]) -> shapely.Polygon:
    (west, south), (east, north) = bbox[:2], bbox[len(bbox) // 2 :][:2]
    return shapely.box(west, south, east, north)


def _regions(boxes: Sequence[shapely.Polygon]) -> list[list[shapely.Polygon]]:
    """Group boxes that lie closer to each other than the length of a box."""
    spans = [max(np.subtract(bbox.bounds[2:], bbox.bounds[:2])) for bbox in boxes]
    wide = shapely.union_all(shapely.buffer([*boxes], np.divide(spans, 2.0)))
    parts = shapely.get_parts(wide)
    return [[bbox for bbox in boxes if shapely.contains(part, bbox)] for part in parts]


def _check_size(rows: float, columns: float, step: float, crs: CRS | None) -> None:
    if not rows * columns <= MOST_PIXELS:
        raise UsageError(
            f"an area of {columns * step:g} x {rows * step:g} at a resolution of {step:g} "
            f"(units of {crs}) has over {MOST_PIXELS:g} pixels; give a smaller --area or a "
            f"larger --resolution"
        )


def _check_representable(area: Geometry, crs: CRS) -> None:
    """Check that a CRS can represent an area: a CRS for one region distorts or folds others."""
    back = area.to_crs(crs).to_crs(area.crs)
    if not abs(back.area - area.area) <= 0.01 * area.area:
        raise UsageError(
            f"the area is too large to be represented in {crs}; give a smaller --area, or a --crs "
            f"that is made for all of it, with --resolution"
        )


def item_grid(item: pystac.Item) -> GeoBox:
    """Grid of an item's rasters, from its projection fields."""
    fields = item.properties
    crs = fields.get("proj:code") or fields.get("proj:wkt2") or fields.get("proj:epsg")
    if not crs or "proj:shape" not in fields or "proj:transform" not in fields:
        raise SarcastError(
            f"{item.id} does not contain its grid (proj:code, proj:shape, proj:transform); "
            f"give a raster as --area, whose grid is then used"
        )
    rows, columns = fields["proj:shape"]
    return GeoBox((rows, columns), Affine(*fields["proj:transform"][:6]), CRS(crs))


def conditions_grid(grid: GeoBox) -> GeoBox:
    """Coarse grid over the same area, with cells of about 1 km, or of its pixels if coarser."""
    unit = METRES_A_DEGREE if grid.crs.geographic else 1.0
    spacing = max(CONDITIONS_SPACING_M / unit, abs(grid.resolution.x))
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


def _from_file(path: Path) -> Geometry | GeoBox:
    import geopandas
    import pyogrio

    try:
        shapes = geopandas.read_file(path)
    except (pyogrio.errors.DataSourceError, ValueError):
        pass
    else:
        if shapes.crs is None or shapes.empty:
            raise UsageError(f"--area {path} must contain at least one shape, and a CRS")
        return Geometry(shapes.make_valid().union_all(), shapes.crs.to_wkt())
    try:
        return grid_of(path)
    except SarcastError as error:
        raise UsageError(f"--area {path} is neither a vector nor a raster file: {error}") from error
