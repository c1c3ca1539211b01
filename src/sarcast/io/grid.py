"""The one door to a GeoBox: an area as people give it, made into the grid of a cube."""

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
"""Spacing of the grid on which conditions are kept, metres."""
MOST_PIXELS = 4e9
"""Most pixels of a cube's grid: 600 km square at 10 m."""
LEAST_FILLED = 0.01
"""Share of an area's box that its scenes cover at least, unless the area was asked for."""
LONGEST_PATH = 4096
_LISTED = 5
METRES_A_DEGREE = 111_320.0
"""Length of a degree on the equator, metres (WGS 84: 2 pi a / 360)."""


def read_area(area: str) -> Geometry | GeoBox:
    """Read an area: ``west,south,east,north`` in degrees, a vector file, or a raster's grid.

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
            f"{area!r} is none of them"
        ) from error
    if not (-180.0 <= west < east <= 180.0 and -90.0 <= south < north <= 90.0):
        across = "; give one across the antimeridian as a vector file" if west > east else ""
        raise UsageError(
            f"--area must be west,south,east,north with west < east in -180..180 and "
            f"south < north in -90..90; {area!r} is not{across}"
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
        Outline, or a grid that is taken as it is; None for all that the scenes cover.
    items
        Scenes, for what is not given: CRS, spacing and alignment.
    crs
        Default: that of the first scene.
    resolution
        Spacing in units of the CRS; default: that of the first scene.
    like
        Grid that stands for that of the first scene.

    Raises
    ------
    UsageError
        If the CRS is unknown, CRS or resolution contradict a grid that was given, or the scenes lie
        in places far apart and no area says which is meant.
    """
    if isinstance(area, GeoBox):
        if crs is not None or resolution is not None:
            raise UsageError(
                "--area names a raster, whose grid is taken: leave out --crs and "
                "--resolution, or give --area as a box"
            )
        _check_size(area.height, area.width, abs(area.resolution.x), area.crs)
        return area
    native = item_grid(items[0]) if like is None else like
    wanted = native.crs if crs is None else _crs(crs)
    same = wanted == native.crs and resolution in (None, abs(native.resolution.x))
    step = abs(native.resolution.x) if resolution is None and wanted == native.crs else resolution
    if step is None:
        raise UsageError(
            f"--crs {crs} is not that of the scenes ({native.crs}): give --resolution too"
        )
    if area is None:
        _check_one_place(items, LEAST_FILLED)
    extent = area or unary_union(item_grid(i).extent.to_crs(wanted) for i in items)
    corner = native.transform
    anchor = xy_((corner.c / step) % 1.0, (corner.f / step) % 1.0) if same else "edge"
    if area is not None:
        _check_shown(area, wanted)
    bounds = extent.to_crs(wanted).boundingbox
    if area is None and not bounds.span_y * bounds.span_x <= MOST_PIXELS * step**2:
        _check_one_place(items, 1.0)
    _check_size(bounds.span_y / step, bounds.span_x / step, step, wanted)
    if not step <= max(bounds.span_x, bounds.span_y):
        raise UsageError(
            f"a --resolution of {step:g} is coarser than the whole area, {bounds.span_x:g} x "
            f"{bounds.span_y:g} in units of {wanted}; give a finer one"
        )
    return GeoBox.from_bbox(bounds, resolution=step, anchor=anchor, tol=0.01)


def _check_one_place(items: Sequence[pystac.Item], filled: float) -> None:
    """See that scenes lie in one place, or fill at least this share of the box around them."""
    boxes = Counter(_box(item.bbox) for item in items if item.bbox)
    whole = shapely.union_all([*boxes])
    if whole.area >= filled * shapely.envelope(whole).area:
        return
    places = [(sum(boxes[one] for one in near), near) for near in _places([*boxes])]
    if len(places) < 2:
        return
    largest = sorted(places, key=lambda place: -place[0])[:_LISTED]
    listed = "; ".join(
        f"{','.join(f'{value:.4f}' for value in shapely.total_bounds(near))} ({number} scenes)"
        for number, near in largest
    )
    more = f"; and {len(places) - _LISTED} more" if len(places) > _LISTED else ""
    raise UsageError(
        f"the scenes lie in {len(places)} places far apart, of which one can be given as --area: "
        f"{listed}{more}"
    )


def _box(bbox: Sequence[float]) -> shapely.Polygon:
    (west, south), (east, north) = bbox[:2], bbox[len(bbox) // 2 :][:2]
    return shapely.box(west, south, east, north)


def _places(boxes: Sequence[shapely.Polygon]) -> list[list[shapely.Polygon]]:
    """Boxes that lie nearer to each other than one is long, together."""
    spans = [max(np.subtract(one.bounds[2:], one.bounds[:2])) for one in boxes]
    wide = shapely.union_all(shapely.buffer([*boxes], np.divide(spans, 2.0)))
    parts = shapely.get_parts(wide)
    return [[one for one in boxes if shapely.contains(part, one)] for part in parts]


def _check_size(rows: float, columns: float, step: float, crs: CRS | None) -> None:
    if not rows * columns <= MOST_PIXELS:
        raise UsageError(
            f"an area of {columns * step:g} x {rows * step:g} at a resolution of {step:g} "
            f"(units of {crs}) has over {MOST_PIXELS:g} pixels; give a smaller --area or a "
            f"larger --resolution"
        )


def _check_shown(area: Geometry, crs: CRS) -> None:
    """See that a CRS shows a whole area: one that is made for a part of the Earth folds others."""
    back = area.to_crs(crs).to_crs(area.crs)
    if not abs(back.area - area.area) <= 0.01 * area.area:
        raise UsageError(
            f"the area is too large to be shown in {crs}; give a smaller --area, or a --crs that "
            f"is made for all of it, with --resolution"
        )


def item_grid(item: pystac.Item) -> GeoBox:
    """Grid of an item's rasters, from its projection fields."""
    told = item.properties
    code = told.get("proj:code") or told.get("proj:wkt2") or told.get("proj:epsg")
    if not code or "proj:shape" not in told or "proj:transform" not in told:
        raise SarcastError(
            f"{item.id} does not tell its grid (proj:code, proj:shape, proj:transform); "
            f"give --area as a raster whose grid is to be used"
        )
    rows, columns = told["proj:shape"]
    return GeoBox((rows, columns), Affine(*told["proj:transform"][:6]), CRS(code))


def conditions_grid(grid: GeoBox) -> GeoBox:
    """Coarse grid over the same area, about 1 km, or of its pixels if they are coarser."""
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
            raise UsageError(f"--area {path} must hold at least one shape, and a CRS")
        return Geometry(shapes.make_valid().union_all(), shapes.crs.to_wkt())
    try:
        return grid_of(path)
    except SarcastError as error:
        raise UsageError(f"--area {path} is neither a vector nor a raster file: {error}") from error
