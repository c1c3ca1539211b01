"""Footprints and areas at 180 degrees, around the poles, and in longitudes of any turn."""

import time

import antimeridian
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from shapely.affinity import rotate, translate
from shapely.geometry.base import BaseGeometry

from sarcast.errors import SarcastError
from sarcast.io.footprint import (
    bounding_box,
    bounds_in,
    canonical,
    canonical_box,
    canonical_shape,
    centre,
    contiguous,
    footprint,
    geojson,
    least_arc,
    utm_crs,
    wrap,
)
from sarcast.io.longitudes import turns_within


def degrees(shape: BaseGeometry) -> Geometry:
    return Geometry(shape, "EPSG:4326")


def wrapped_vertices(shape: BaseGeometry) -> BaseGeometry:
    """Each longitude in -180..180, so that edges jump at 180 degrees."""
    return shapely.transform(
        shape, lambda xy: np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]])
    )


def differs(first: BaseGeometry, second: BaseGeometry) -> float:
    return float(shapely.symmetric_difference(first, second).area / second.area)


@st.composite
def boxes(draw: st.DrawFn) -> shapely.Polygon:
    """Tilted boxes up to 40 degrees wide anywhere but at the poles."""
    west, south = draw(st.floats(-180.0, 180.0)), draw(st.floats(-70.0, 60.0))
    width, height = draw(st.floats(0.01, 40.0)), draw(st.floats(0.01, 10.0))
    tilted = rotate(
        shapely.box(west, south, west + width, south + height), draw(st.floats(-15, 15))
    )
    return tilted if draw(st.booleans()) else tilted.reverse()


# --- the canonical form ---------------------------------------------------------------------------


@given(boxes())
def test_the_form_is_that_of_the_published_implementation(shape: shapely.Polygon) -> None:
    oracle = antimeridian.fix_polygon(shape, fix_winding=True, great_circle=False)
    # it rounds latitudes at 180 degrees to 1e-7, and boxes may be 0.01 degrees high
    assert differs(canonical_shape(shape), shapely.make_valid(oracle)) < 1e-5


@given(boxes(), st.integers(-2, 2))
def test_all_notations_of_a_shape_have_one_form(shape: shapely.Polygon, turn: int) -> None:
    form = canonical_shape(shape)
    assert form.is_valid
    assert form.bounds[0] >= -180.0 and form.bounds[2] <= 180.0
    assert form.area == pytest.approx(shape.area, rel=1e-6)
    for other in (translate(shape, 360.0 * turn), wrapped_vertices(shape), form):
        assert differs(canonical_shape(other), form) < 1e-6
    assert bounding_box(degrees(shape)) == pytest.approx(
        bounding_box(degrees(wrapped_vertices(shape))), abs=1e-6
    )


@given(boxes(), st.floats(-400.0, 400.0))
def test_a_shape_is_joined_again_near_any_longitude(shape: shapely.Polygon, near: float) -> None:
    joined = contiguous(canonical(degrees(shape)), near)
    assert joined.geom_type == "Polygon"
    middle = (joined.bounds[0] + joined.bounds[2]) / 2.0
    assert abs(middle - near) <= 180.0 + 1e-6
    turn = round((middle - (shape.bounds[0] + shape.bounds[2]) / 2.0) / 360.0)
    assert differs(joined, translate(shape, 360.0 * turn)) < 1e-6
    longitude, latitude = centre(degrees(shape))
    assert (longitude - shape.centroid.x + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-6)
    assert latitude == pytest.approx(shape.centroid.y, abs=1e-6)


def test_a_hole_stays_a_hole_in_any_notation() -> None:
    shell, hole = shapely.box(170, -10, 190, 10), shapely.box(176, -5, 184, 5)
    for east in (0.0, 360.0, -360.0):
        pierced = shapely.Polygon(shell.exterior, [translate(hole, east).exterior])
        form = canonical_shape(pierced)
        assert form.area == pytest.approx(400.0 - 80.0)
        assert not shapely.contains_xy(form, [179.0, -179.0], [0.0, 0.0]).any()
        assert shapely.contains_xy(form, [171.0, -171.0], [0.0, 0.0]).all()


def test_exteriors_are_counterclockwise_and_coordinates_lists_as_in_geojson() -> None:
    geometry, bbox = geojson(canonical_shape(shapely.box(179.0, 10.0, 181.0, 11.0)))
    assert bbox == [179.0, 10.0, -179.0, 11.0]
    assert geometry["type"] == "MultiPolygon"
    assert all(shapely.LinearRing(part[0]).is_ccw for part in geometry["coordinates"])
    assert isinstance(geometry["coordinates"][0][0][0], list)


def test_what_only_touches_180_degrees_is_not_split() -> None:
    for shape, bbox in (
        (shapely.box(179.5, 1, 180, 2), (179.5, 1.0, 180.0, 2.0)),
        (shapely.box(-180, 1, -179, 2), (-180.0, 1.0, -179.0, 2.0)),
        (shapely.box(180, 1, 181, 2), (-180.0, 1.0, -179.0, 2.0)),
        (shapely.box(-181, 1, -180, 2), (179.0, 1.0, 180.0, 2.0)),
        (wrapped_vertices(shapely.box(179.5, 1, 180, 2)), (179.5, 1.0, 180.0, 2.0)),
    ):
        form = canonical(degrees(shape))
        assert form.geom.geom_type == "Polygon"
        assert bounding_box(form) == bbox


def test_bands_around_the_globe_keep_their_width() -> None:
    for west in (-180.0, 0.0, 7.0):
        for shape in (
            canonical(degrees(shapely.box(west, 10, west + 360, 20))),
            canonical_box(west, 10, west + 360, 20),
        ):
            assert bounding_box(shape) == (-180.0, 10.0, 180.0, 20.0)
            assert shape.area == pytest.approx(3600.0)
            assert differs(canonical(shape).geom, shape.geom) < 1e-9


def test_a_box_of_over_180_degrees_is_not_taken_the_other_way() -> None:
    wide = canonical_box(-100.0, 10.0, 100.0, 20.0)
    assert bounding_box(canonical(wide)) == (-100.0, 10.0, 100.0, 20.0)
    assert bounding_box(canonical_box(100.0, 10.0, 300.0, 20.0)) == (100.0, 10.0, -60.0, 20.0)


def test_other_geometries_than_polygons_are_wrapped() -> None:
    assert canonical_shape(shapely.Point(181.0, 5.0)).equals(shapely.Point(-179.0, 5.0))
    assert bounding_box(degrees(shapely.LineString([(359, 1), (361, 2)]))) == (-1, 1, 1, 2)


def test_coordinates_outside_the_earth_are_an_error() -> None:
    far = Geometry(shapely.box(1e12, 1e12, 2e12, 2e12), "EPSG:32633")
    with pytest.raises(SarcastError, match="lies outside the Earth; check that its CRS"):
        canonical(far)
    with pytest.raises(SarcastError, match="has no CRS"):
        canonical(Geometry(shapely.box(0, 0, 1, 1), None))


# --- footprints of grids --------------------------------------------------------------------------

GRIDS = {
    "UTM across 180": ("EPSG:32701", (-2e5, 7.8e6, 4e5, 8.1e6)),
    "UTM far north": ("EPSG:32601", (1e5, 7.7e6, 4e5, 8.0e6)),
    "UTM zone 60": ("EPSG:32660", (5e5, 6.0e6, 9e5, 6.2e6)),
    "north polar with the pole": ("EPSG:3413", (-5e5, -4e5, 6e5, 7e5)),
    "north polar across 180": ("EPSG:3413", (-2e6, 1e5, -1e6, 1e6)),
    "north polar, an edge through the pole": ("EPSG:3413", (-5e5, 0.0, 6e5, 7e5)),
    "north polar, a corner at the pole": ("EPSG:3413", (0.0, 0.0, 6e5, 7e5)),
    "south polar with the pole": ("EPSG:3031", (-5e5, -4e5, 6e5, 7e5)),
    "south polar across 180": ("EPSG:3031", (-3e5, -2e6, 2e5, -1.5e6)),
    "south polar, a corner at the pole": ("EPSG:3031", (-6e5, -6e5, 0.0, 0.0)),
    "Alaska Albers": ("EPSG:3338", (-2.2e6, 3e5, -1.5e6, 9e5)),
    "degrees across 180": ("EPSG:4326", (179.0, -17.0, 181.0, -16.0)),
    "degrees 0..360": ("EPSG:4326", (250.0, 39.0, 252.0, 40.0)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_footprint_contains_what_its_grid_contains(name: str) -> None:
    crs, (left, bottom, right, top) = GRIDS[name]
    grid = GeoBox.from_bbox((left, bottom, right, top), crs, shape=(30, 40), tight=True)
    shape = footprint(grid)
    rng = np.random.default_rng(3)
    wide, high = right - left, top - bottom
    x = rng.uniform(left - wide / 2, right + wide / 2, 4000)
    y = rng.uniform(bottom - high / 2, top + high / 2, 4000)
    inside = (x > left) & (x < right) & (y > bottom) & (y < top)
    near_edge = np.zeros_like(inside)  # edges are followed to some metres
    for value, ends, span in ((x, (left, right), wide), (y, (bottom, top), high)):
        near_edge |= (np.abs(value[:, None] - ends) < 4e-5 * span).any(axis=1)
    longitude, latitude = CRS(crs).transformer_to_crs(CRS("EPSG:4326"))(x, y)
    contained = shapely.contains_xy(shape.geom, wrap(longitude), latitude)
    usable = ~near_edge & (np.abs(latitude) <= 90.0)
    assert (contained == inside)[usable].all()
    assert inside[usable].sum() > 500
    assert shape.geom.is_valid
    assert differs(canonical(shape).geom, shape.geom) < 1e-6
    assert differs(canonical(grid.extent).geom, shape.geom) < 0.02


def test_a_footprint_around_a_pole_reaches_it() -> None:
    north = footprint(GeoBox.from_bbox((-5e5, -4e5, 6e5, 7e5), "EPSG:3413", resolution=1e4))
    west, south, east, top = bounding_box(north)
    assert (west, east, top) == (-180.0, 180.0, 90.0)
    assert south == pytest.approx(81.504, abs=0.01)
    across = footprint(GeoBox.from_bbox((-2e6, 6e5, -1e6, 2e6), "EPSG:3413", resolution=1e4))
    assert bounding_box(across)[0] > bounding_box(across)[2]


def test_small_grids_have_the_four_corners_of_their_extent() -> None:
    grid = GeoBox((60, 80), Affine(10.0, 0, 500_003.0, 0, -10.0, 6_900_007.0), "EPSG:32635")
    corners = grid.extent.to_crs("EPSG:4326").geom
    assert footprint(grid).geom.equals(corners)
    assert len(footprint(grid).geom.exterior.coords) == 5


# --- bounds and arcs ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-180, 179), st.integers(0, 180)), min_size=1, max_size=6))
def test_the_least_arc_is_that_of_a_plain_search(intervals: list[tuple[int, int]]) -> None:
    """Among all arcs that begin at an interval, and the whole turn."""
    west = np.array([first for first, _ in intervals], float)
    east = west + [width for _, width in intervals]
    best, both = 360.0, list(zip(west, east, strict=True))
    for start in west:
        ends = [start + (first - start) % 360.0 + last - first for first, last in both]
        if max(ends) - start <= 360.0:
            best = min(best, max(ends) - start)
    start, end = least_arc(west, east)
    assert end - start == pytest.approx(best)
    for first, last in both:
        assert (first - start) % 360.0 + last - first <= end - start + 1e-9 or best == 360.0


def test_bounds_in_degrees_lie_in_the_turn_that_is_asked_for() -> None:
    area = canonical_box(179.9, -17.0, 180.2, -16.0)
    wgs84, etrs89 = CRS("EPSG:4326"), CRS("EPSG:4258")
    for crs in (wgs84, etrs89):
        for near, west in ((180.0, 179.9), (0.0, -180.1), (-170.0, -180.1), (500.0, 539.9)):
            bounds = bounds_in(area, crs, near)
            assert bounds.bbox == pytest.approx((west, -17.0, west + 0.3, -16.0), abs=1e-5)


def test_a_split_area_has_the_bounds_of_the_same_area_elsewhere() -> None:
    """174 degrees are 29 UTM zones."""
    here, there = (canonical_box(w, -17.0, w + 0.3, -16.9) for w in (5.9, 179.9))
    bounds = [bounds_in(here, CRS("EPSG:32732")), bounds_in(there, CRS("EPSG:32701"))]
    bounds.append(bounds_in(canonical_box(5.9, -17.0, 6.2, -16.9), CRS("EPSG:32732")))
    np.testing.assert_allclose(bounds[0].bbox, bounds[2].bbox, atol=1e-6)
    np.testing.assert_allclose(bounds[1].bbox, bounds[0].bbox, atol=1e-4)


@pytest.mark.parametrize(
    ("longitude", "latitude", "crs"),
    [
        (179.99, 1.0, 32660), (180.0, 1.0, 32601), (-180.0, -1.0, 32701), (180.01, -1.0, 32701),
        (250.0, 40.0, 32612), (-110.0, 40.0, 32612), (-180.01, 0.0, 32660), (12.0, 60.0, 32633),
    ],
)  # fmt: skip
def test_utm_zones(longitude: float, latitude: float, crs: int) -> None:
    assert utm_crs(longitude, latitude) == f"EPSG:{crs}"


# --- rasters in degrees ---------------------------------------------------------------------------


def test_a_raster_in_degrees_is_found_in_every_turn() -> None:
    def raster(west: float, east: float, crs: str = "EPSG:4326") -> GeoBox:
        return GeoBox.from_bbox((west, -20.0, east, -10.0), crs, resolution=0.5)

    grid = raster(-10.0, 10.0)
    lefts = [own.boundingbox.left for own, _ in turns_within(raster(0.0, 360.0), grid)]
    assert lefts == [-360.0, 0.0]
    assert list(turns_within(raster(20.0, 30.0), grid)) == []
    ((own, target),) = turns_within(raster(350.0, 355.0), grid)
    assert target is grid
    assert own.boundingbox.bbox == (-10.0, -20.0, -5.0, -10.0)
    same = raster(-5.0, 5.0)
    assert turns_within(same, grid)[0][0] is same
    utm = GeoBox.from_bbox((4e5, 8e6, 5e5, 8.1e6), "EPSG:32701", resolution=1e3)
    assert turns_within(utm, grid)[0][0] is utm
    assert turns_within(utm, utm) == [(utm, utm)]
    paris = raster(-5.0, 5.0, "EPSG:4807")
    assert turns_within(paris, grid)[0][0] is paris


@pytest.mark.parametrize("longitude", [1e4, -1e9, 1e300])
def test_longitudes_of_no_turn_are_refused_at_once(longitude: float) -> None:
    shape = shapely.box(min(0.0, longitude), 0.0, max(0.0, longitude), 1.0)
    start = time.process_time()
    with pytest.raises(SarcastError, match=r"has longitudes of .* degrees, expected -180\.\.180"):
        canonical(Geometry(shape, "EPSG:4326"))
    assert time.process_time() - start < 2.0
