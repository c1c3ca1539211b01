"""The same scene at any longitude, in any notation, gives the same cube."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from shapely.affinity import translate

from conftest import opera_name
from sarcast.catalogue import FolderCatalogue, Raster, Scene
from sarcast.catalogue.location import with_canonical_footprint
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.detection import events
from sarcast.detection.output import write_item
from sarcast.errors import UsageError
from sarcast.ingest.cover import CoverOptions, LandCover
from sarcast.ingest.dem import Dem
from sarcast.io.cogs import write_cog
from sarcast.io.footprint import (
    bounding_box,
    canonical_box,
    canonical_shape,
    contiguous,
    footprint,
)
from sarcast.io.grid import item_grid, make_grid, read_area
from sarcast.io.warp import read_onto
from sarcast.world import writer
from sarcast.world.options import WorldOptions
from sarcast.world.presets import PRESETS

WEST, SOUTH, EAST, NORTH = 179.9, -17.0, -179.9, -16.9
ZONE = 6.0
"""Width of a UTM zone, degrees: scenes shifted by whole zones have the same coordinates."""


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", *map(str, words)])
    assert ended.value.code == 0


def values(path: Path) -> np.ndarray:
    cube = open_cube(path)
    return np.asarray(cube["backscatter"].transpose("time", "band", "y", "x").values)


# --- areas ----------------------------------------------------------------------------------------

SHAPE = shapely.box(WEST, SOUTH, EAST + 360.0, NORTH)
NOTATIONS = {
    "west > east": "179.9,-17,-179.9,-16.9",
    "beyond 180": "179.9,-17,180.1,-16.9",
    "beyond -180": "-180.1,-17,-179.9,-16.9",
    "in another turn": "-180.1,-17.0,180.1,-16.9",
    "split": canonical_shape(SHAPE),
    "vertices beyond 180": SHAPE,
    "vertices beyond -180": translate(SHAPE, -360.0),
    "vertices that jump": shapely.transform(
        SHAPE, lambda xy: np.column_stack([(xy[:, 0] + 180.0) % 360.0 - 180.0, xy[:, 1]])
    ),
    "two shapes": shapely.GeometryCollection(list(canonical_shape(SHAPE).geoms)),
    "two shapes beyond": shapely.GeometryCollection(
        [shapely.box(WEST, SOUTH, 180.0, NORTH), shapely.box(180.0, SOUTH, EAST + 360.0, NORTH)]
    ),
}
del NOTATIONS["in another turn"]  # 360.2 degrees wide: refused, see below


def area_of(notation: str | shapely.Geometry, folder: Path) -> str:
    if isinstance(notation, str):
        return notation
    parts = [notation] if notation.geom_type != "GeometryCollection" else list(notation.geoms)
    path = folder / "area.gpkg"  # GDAL splits what it writes as GeoJSON
    geopandas.GeoSeries(parts, crs="EPSG:4326").to_file(path)
    return str(path)


GRIDS = {
    "UTM zone 1": GeoBox((400, 600), Affine(100.0, 0, 170_013.0, 0, -100.0, 8_140_007.0), 32701),
    "UTM zone 60": GeoBox((400, 600), Affine(100.0, 0, 790_013.0, 0, -100.0, 8_140_007.0), 32760),
    "polar": GeoBox((400, 600), Affine(1e4, 0, -3e6, 0, -1e4, 3e6), "EPSG:3031"),
    "degrees": GeoBox((400, 600), Affine(0.001, 0, 179.7, 0, -0.001, -16.8), "EPSG:4326"),
    "degrees west": GeoBox((400, 600), Affine(0.001, 0, -180.3, 0, -0.001, -16.8), "EPSG:4326"),
    "degrees of ETRS89": GeoBox((400, 600), Affine(0.001, 0, 179.7, 0, -0.001, -16.8), "EPSG:4258"),
}


def item_on(grid: GeoBox, name: str = "one", day: int = 1) -> pystac.Item:
    """An item as an index makes it, without a raster."""
    from sarcast.catalogue.scene import grid_fields
    from sarcast.io.footprint import geojson

    geometry, bbox = geojson(footprint(grid).geom)
    time = dt.datetime(2020, 1, day, tzinfo=dt.UTC)
    item = pystac.Item(name, geometry, bbox, time, grid_fields(grid))
    item.add_asset("vv", pystac.Asset(f"https://example.org/{name}.tif"))
    return item


@pytest.mark.parametrize("crs", GRIDS)
def test_areas_in_all_notations_give_one_grid(crs: str, tmp_path: Path) -> None:
    items = [item_on(GRIDS[crs])]
    grids = {}
    for number, (name, notation) in enumerate(NOTATIONS.items()):
        (tmp_path / str(number)).mkdir()
        area = read_area(area_of(notation, tmp_path / str(number)))
        assert isinstance(area, Geometry)
        assert bounding_box(area) == pytest.approx((WEST, SOUTH, EAST, NORTH), abs=1e-9)
        grids[name] = make_grid(area, items)
    first = grids["west > east"]
    assert all(grid == first for grid in grids.values())
    assert first.crs == GRIDS[crs].crs
    covered = footprint(first).geom.buffer(2e-5)
    assert covered.contains(canonical_shape(SHAPE)) or crs == "polar"
    assert max(first.shape) < 400


@given(west=st.floats(-180.0, 179.5), width=st.floats(0.02, 0.4), south=st.floats(-75.0, 75.0))
def test_areas_of_any_turn_are_the_same(west: float, width: float, south: float) -> None:
    south, north = round(south, 4), round(south, 4) + 0.1
    west = round(west, 4)
    east = round(west + width, 4)
    expected = read_area(f"{west},{south},{east},{north}")
    assert isinstance(expected, Geometry)
    others = [(west + 360.0, east + 360.0)] if west + width <= 0.0 else []
    others += [(west - 360.0, east - 360.0)] if west >= 0.0 else []
    others += [(west, east - 360.0)] if east > 180.0 else []
    for left, right in others:
        other = read_area(f"{left},{south},{right},{north}")
        assert isinstance(other, Geometry)
        assert bounding_box(other) == pytest.approx(bounding_box(expected), abs=1e-9)


@pytest.mark.parametrize(
    "area",
    ["10,60,9,61", "-180.1,-17,180.1,-16.9", "179,65,-1,66", "400,1,401,2", "-179,1,-179,2",
     "179.9,-16,-179.9,-17", "nan,1,2,3", "1,2,inf,3"],
)  # fmt: skip
def test_boxes_that_are_none(area: str) -> None:
    with pytest.raises(UsageError, match="--area must be"):
        read_area(area)


def test_a_box_with_west_and_east_exchanged_is_refused_with_its_width() -> None:
    with pytest.raises(UsageError, match="west > east means across 180 degrees, here over 359 deg"):
        read_area("10,60,9,61")


def test_an_area_around_a_pole_gives_a_polar_grid() -> None:
    for area, crs, sign in (("-180,85,180,90", 3413, 1.0), ("0,-90,360,-85", 3031, -1.0)):
        corner = Affine(1e4, 0, -3e6, 0, -1e4, 3e6)
        grid = make_grid(read_area(area), [item_on(GeoBox((600, 600), corner, crs))])
        x, y = CRS("EPSG:4326").transformer_to_crs(grid.crs)(
            np.arange(360.0), sign * np.full(360, 85.0)
        )
        assert grid.boundingbox.left <= x.min() <= grid.boundingbox.left + 1.1e4
        assert grid.boundingbox.top - 1.1e4 <= y.max() <= grid.boundingbox.top
        assert bounding_box(footprint(grid))[::2] == (-180.0, 180.0)


def test_scenes_on_both_sides_of_180_degrees_are_one_region() -> None:
    """And those that lie far apart are listed as areas that can be given."""
    step = Affine(0.001, 0, 0, 0, -0.001, -16.8)
    west, east = (
        item_on(GeoBox((400, 400), Affine.translation(x, 0) * step, "EPSG:4326"), str(x), day)
        for day, x in ((1, 179.6), (2, -180.0))
    )
    grid = make_grid(None, [west, east])
    assert grid.boundingbox.bbox == pytest.approx((179.6, -17.2, 180.4, -16.8))
    other = make_grid(None, [east, west])
    assert other.boundingbox.bbox == pytest.approx((-180.4, -17.2, -179.6, -16.8))
    utm = item_on(GRIDS["UTM zone 1"], "utm")
    assert make_grid(None, [utm]).shape == (400, 600)
    far = item_on(GeoBox((400, 400), Affine.translation(20.0, 0) * step, "EPSG:4326"), "far")
    with pytest.raises(UsageError, match="2 regions far apart") as error:
        make_grid(None, [west, east, utm, far])
    region = str(error.value).partition("--area: ")[2].split()[0]
    assert [float(part) for part in region.split(",")][::2] == pytest.approx(
        [179.6, -179.53], abs=0.1
    )
    assert isinstance(read_area(region), Geometry)


# --- items of other makers ------------------------------------------------------------------------

RING = np.array(footprint(GRIDS["UTM zone 1"]).geom.geoms[0].exterior.coords)


def stated(kind: str) -> tuple[dict[str, Any], list[float]]:
    """Footprint and bounding box of a UTM scene across 180 degrees, as some makers state them."""
    grid = GRIDS["UTM zone 1"]
    x, y = np.array(grid.extent.geom.exterior.coords).T
    longitude, latitude = grid.crs.transformer_to_crs(CRS("EPSG:4326"))(x, y)
    east = {"beyond 180": longitude % 360.0, "beyond -180": longitude % 360.0 - 360.0}
    used = east.get(kind, longitude)
    ring = np.column_stack([used, latitude])
    bbox = [used.min(), latitude.min(), used.max(), latitude.max()]
    shape = shapely.box(*bbox) if kind == "a band" else shapely.Polygon(ring)
    if kind == "a band":
        shape = shapely.box(-180.0, bbox[1], 180.0, bbox[3])
    if kind == "bbox only":
        shape = footprint(grid).geom
    return json.loads(json.dumps(shapely.geometry.mapping(shape))), bbox


KINDS = ("beyond 180", "beyond -180", "the long way round", "a band", "bbox only")


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_other_makers_get_the_footprint_of_their_raster(kind: str) -> None:
    item = item_on(GRIDS["UTM zone 1"])
    expected = shapely.geometry.shape(item.geometry)
    other = item.clone()
    other.geometry, other.bbox = stated(kind)
    made = with_canonical_footprint(other)
    shape = shapely.geometry.shape(made.geometry)
    assert shapely.symmetric_difference(shape, expected).area < 0.01 * expected.area
    assert made.bbox == pytest.approx(item.bbox, abs=0.01)
    assert with_canonical_footprint(made).to_dict() == made.to_dict()
    plain = item_on(GRIDS["UTM zone 1"].pad(-100)[:, 300:])
    assert with_canonical_footprint(plain) is plain
    other.properties = {}
    if kind not in ("a band", "bbox only"):  # the footprint itself is enough
        assert with_canonical_footprint(other).bbox == pytest.approx(item.bbox, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_other_makers_are_found_where_their_raster_lies(kind: str, tmp_path: Path) -> None:
    items = [item_on(GRIDS["UTM zone 1"], "across"), item_on(GRIDS["degrees"], "more", 2)]
    items[0].geometry, items[0].bbox = stated(kind)
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add(items)
    for area, found in (
        ((179.95, -17.0, 179.97, -16.9), 2),
        ((-179.97, -17.0, -179.95, -16.9), 2),
        ((179.97, -17.0, 180.03, -16.9), 2),
        ((-179.6, -17.0, -179.55, -16.9), 1),
        ((178.0, -17.0, 179.0, -16.9), 0),
        ((-178.0, -17.0, 178.0, -16.9), 0),
        ((0.0, -17.0, 10.0, -16.9), 0),
    ):
        assert len(catalogue.search(canonical_box(*area))) == found, area
    assert catalogue.search()[0].bbox == pytest.approx(item_on(GRIDS["UTM zone 1"]).bbox, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_catalogue_of_another_maker_is_searched_by_canonical_footprints(
    kind: str, tmp_path: Path
) -> None:
    """The table has the footprints and bounding boxes as they were stated."""
    items = [item_on(GRIDS["UTM zone 1"], "across"), item_on(GRIDS["degrees"].pad(-100), "more", 2)]
    for each in items:
        each.geometry, each.bbox = stated(kind)
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow([each.to_dict() for each in items])
    stac_geoparquet.arrow.to_parquet(table, tmp_path / "items.parquet")
    catalogue = FolderCatalogue(tmp_path)
    for west, east in ((179.95, 179.97), (-179.97, -179.95), (179.99, 180.01)):
        found = catalogue.search(canonical_box(west, -17.0, east, -16.9))
        assert {each.id for each in found} == {"across", "more"}
    assert found[0].bbox == pytest.approx(item_on(GRIDS["UTM zone 1"]).bbox, abs=0.01)
    if kind != "a band":
        assert catalogue.search(canonical_box(0.0, -17.0, 1.0, -16.9)) == []


def test_the_item_of_a_scene_has_the_footprint_of_its_raster(tmp_path: Path) -> None:
    for name, grid in GRIDS.items():
        path = tmp_path / f"{name}.tif"
        write_cog(path, np.ones(grid.shape, np.float32), grid)
        rasters = {"vv": Raster(path, ("VV",), "linear power")}
        item = Scene(name, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "gamma0", rasters).to_item()
        assert shapely.geometry.shape(item.geometry).equals(footprint(grid).geom)
        assert item.bbox == pytest.approx(bounding_box(footprint(grid)))
        assert (item.bbox[0] > item.bbox[2]) == (name != "polar")
        assert item_grid(item) == grid


def test_a_footprint_that_is_no_geojson_is_named() -> None:
    item = item_on(GRIDS["degrees"])
    item.geometry = {"type": "Polygon", "coordinates": "everywhere"}
    with pytest.raises(Exception, match=r"item one has a footprint that is not valid GeoJSON"):
        with_canonical_footprint(item)


# --- from scenes to a cube ------------------------------------------------------------------------


def write_scenes(folder: Path, grids: Sequence[GeoBox], rng: np.random.Generator) -> None:
    """One acquisition of one burst on each grid, 12 days apart."""
    for number, grid in enumerate(grids):
        day = dt.date(2024, 1, 8) + dt.timedelta(days=12 * number)
        name = opera_name(f"{day:%Y%m%d}T053649", burst=f"T051-10800{number}-IW2")
        for band, level in (("VV", 0.1), ("VH", 0.02)):
            power = level * rng.gamma(20.0, 0.05, grid.shape)
            write_cog(folder / f"{name}_{band}.tif", power.astype(np.float32), grid)


def moved(grid: GeoBox, zones: int) -> GeoBox:
    """A grid shifted by whole UTM zones; one in degrees by as many degrees."""
    if grid.crs.geographic:
        east = (grid.transform.c + ZONE * zones + 180.0) % 360.0 - 180.0 - grid.transform.c
        return GeoBox(grid.shape, Affine.translation(east, 0) * grid.transform, grid.crs)
    code = grid.crs.epsg
    return GeoBox(grid.shape, grid.transform, code // 100 * 100 + (code % 100 - 1 + zones) % 60 + 1)


def cube_of(folder: Path, grids: Sequence[GeoBox], area: str | None) -> xr.Dataset:
    write_scenes(folder / "scenes", grids, np.random.default_rng(7))
    more = () if area is None else (f"--area={area}",)
    run("cube", folder / "scenes", "--to", folder / "cube.zarr", *more)
    return open_cube(folder / "cube.zarr").load()


BURSTS = {
    "UTM": (
        GeoBox((40, 60), Affine(500.0, 0, 176_000.0, 0, -500.0, 8_140_000.0), 32701),
        GeoBox((40, 60), Affine(500.0, 0, 181_500.0, 0, -500.0, 8_140_000.0), 32701),
    ),
    "degrees": (
        GeoBox((40, 60), Affine(0.005, 0, 179.9, 0, -0.005, -16.8), "EPSG:4326"),
        GeoBox((40, 60), Affine(0.005, 0, -180.0, 0, -0.005, -16.8), "EPSG:4326"),
    ),
}
BOXES = {
    "across": (179.97, -17.0, 180.1, -16.9),
    "west of 180": (179.97, -16.95, 179.99, -16.9),
    "east of 180": (180.02, -17.0, 180.1, -16.9),
}


@pytest.mark.parametrize("crs", BURSTS)
@pytest.mark.parametrize("where", [*BOXES, "everything"])
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zones=st.integers(1, 59))
def test_the_same_scenes_shifted_in_longitude_give_the_same_cube(
    crs: str, where: str, zones: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cubes = []
    for shift in (0, zones):
        grids = [moved(grid, shift) for grid in BURSTS[crs]]
        area = None
        if where in BOXES:
            west, south, east, north = BOXES[where]
            ends = [(x + ZONE * shift + 180.0) % 360.0 - 180.0 for x in (west, east)]
            area = f"{ends[0]:.6f},{south},{ends[1]:.6f},{north}"
        folder = tmp_path_factory.mktemp("shifted")
        cubes.append(cube_of(folder, grids, area))
    here, there = cubes
    assert here["backscatter"].sizes == there["backscatter"].sizes
    np.testing.assert_array_equal(here["backscatter"], there["backscatter"])
    np.testing.assert_array_equal(here["time"], there["time"])
    assert np.isfinite(here["backscatter"]).any()
    assert here.sizes["time"] == (1 if where == "west of 180" else 2)


@pytest.mark.parametrize(
    ("west", "shift", "crs"),
    [(-110.0, 360.0, 32613), (170.0, -360.0, 32759), (179.995, -360.0, 32701)],
)
@pytest.mark.parametrize("is_projected", [False, True])
def test_a_raster_in_degrees_of_any_turn_gives_the_same_cube(
    west: float, shift: float, crs: int, is_projected: bool, tmp_path: Path
) -> None:
    """An area at 110 degrees west finds rasters at 250 degrees east; also onto another CRS."""
    more = ("--crs", f"EPSG:{crs}", "--resolution", "20") if is_projected else ()
    ends = [(west + east + 180.0) % 360.0 - 180.0 for east in (0.001, 0.01)]
    area = f"--area={ends[0]:.6f},39.99,{ends[1]:.6f},39.998"
    made = []
    for number, corner in enumerate((west, west + shift)):
        folder = tmp_path / str(number)
        grid = GeoBox((60, 60), Affine(0.0002, 0, corner, 0, -0.0002, 40.0), "EPSG:4326")
        write_scenes(folder / "scenes", [grid], np.random.default_rng(1))
        run("cube", folder / "scenes", "--to", folder / "cube.zarr", area, *more)
        made.append(values(folder / "cube.zarr"))
        if not is_projected:  # the cube has the notation of its scenes
            x = open_cube(folder / "cube.zarr")["x"].values
            assert corner <= x.min() and x.max() <= corner + 60 * 0.0002
    np.testing.assert_allclose(made[1], made[0], atol=0.02)
    assert np.isfinite(made[0]).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "EPSG:3338"])
def test_utm_scenes_across_180_degrees_fill_a_cube_in_another_crs(crs: str, tmp_path: Path) -> None:
    """Scenes whose values are longitudes, read where that longitude is."""
    grid = GeoBox((40, 60), Affine(500.0, 0, 300_000.0, 0, -500.0, 6_140_000.0), 32601)
    y, x = (np.asarray(grid.coordinates[name].values) for name in grid.dimensions)
    east = grid.crs.transformer_to_crs(CRS("EPSG:4326"))(*np.meshgrid(x, y))[0] % 360.0 - 179.0
    write_cog(
        tmp_path / "scenes" / f"{opera_name('20240108T053649')}_VV.tif", east.astype("f4"), grid
    )
    write_cog(
        tmp_path / "scenes" / f"{opera_name('20240108T053649')}_VH.tif", east.astype("f4"), grid
    )
    step = "500" if crs == "EPSG:3338" else "0.005"
    area = "--area=179.97,55.25,-179.8,55.3"
    target = tmp_path / "cube.zarr"
    run("cube", tmp_path / "scenes", "--to", target, area, "--crs", crs, "--resolution", step)
    cube = open_cube(target)
    made = cube.odc.geobox
    y, x = (np.asarray(made.coordinates[name].values) for name in made.dimensions)
    true = made.crs.transformer_to_crs(CRS("EPSG:4326"))(*np.meshgrid(x, y))[0] % 360.0 - 179.0
    read = 10.0 ** (values(target)[0, 0] / 10.0)
    assert np.isfinite(read).mean() > 0.9
    assert np.nanmax(np.abs(read - true)) < 0.01
    assert max(read.shape) < 120


MERCATOR_EDGE_M = 20_037_508.34


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("own", ["EPSG:3857", "EPSG:3395"])
@pytest.mark.parametrize("crs", ["EPSG:32701", "EPSG:4326", "EPSG:3832"])
def test_a_raster_beyond_the_edge_of_mercator_is_read_whole(
    crs: str, own: str, side: float, tmp_path: Path
) -> None:
    """Its values are those of its columns, read on both sides of the edge, at 180 degrees."""
    corner = side * MERCATOR_EDGE_M - 6000.0
    grid = GeoBox((200, 120), Affine(100.0, 0, corner, 0, -100.0, -1_905_000.0), own)
    columns = np.broadcast_to(np.arange(120, dtype=np.float32) + 0.5, grid.shape)
    write_cog(tmp_path / "scene.tif", columns, grid)
    step = 0.001 if crs == "EPSG:4326" else 100.0
    box = canonical_box(179.97, -17.02, 180.03, -17.0)
    made = make_grid(box, [item_on(grid)], crs=crs, resolution=step)
    read = read_onto(tmp_path / "scene.tif", made, "nearest")
    y, x = (np.asarray(made.coordinates[name].values) for name in made.dimensions)
    east = made.crs.transformer_to_crs(CRS("EPSG:4326"))(*np.meshgrid(x, y))[0] % 360.0 - 180.0
    true = (east / 180.0 * MERCATOR_EDGE_M + 6000.0) / 100.0
    assert np.isfinite(read).mean() > 0.98
    assert np.nanmax(np.abs(read - true)) < 1.5


def test_an_area_on_both_sides_of_the_edge_of_a_projection_is_refused() -> None:
    """A cube of the whole globe would hold it; scenes on both sides are refused alike."""
    grids = [
        GeoBox((60, 60), Affine(20.0, 0, corner, 0, -20.0, -1_920_000.0), "EPSG:3857")
        for corner in (MERCATOR_EDGE_M - 2000.0, -MERCATOR_EDGE_M + 100.0)
    ]
    items = [item_on(grid, str(number)) for number, grid in enumerate(grids)]
    line = "both sides of the edge of EPSG:3857, .* give --crs with --resolution, such as --crs E"
    for area in (read_area("179.99,-17,-179.99,-16.99"), None):
        with pytest.raises(UsageError, match=line):
            make_grid(area, items)
    assert make_grid(None, items[:1]) == grids[0]


# --- other rasters --------------------------------------------------------------------------------


def longitudes(grid: GeoBox) -> np.ndarray:
    """Longitude of each pixel, degrees east of 170, an image that shows where it was read."""
    column = np.arange(grid.width) + 0.5
    east = (grid.transform.c + grid.transform.a * column - 170.0) % 360.0
    return np.broadcast_to(east, grid.shape).astype(np.float32)


TILINGS: dict[str, tuple[tuple[float, float], ...]] = {
    "a tile on each side": ((179.0, 180.0), (-180.0, -179.0)),
    "a tile on each side, east first": ((-180.0, -179.0), (179.0, 180.0)),
    "one beyond 180": ((179.0, 181.0),),
    "one beyond -180": ((-181.0, -179.0),),
    "the globe from -180": ((-180.0, 180.0),),
    "the globe from 0": ((0.0, 360.0),),
}


@pytest.mark.parametrize("tiles", TILINGS)
@pytest.mark.parametrize("crs", ["UTM zone 1", "degrees", "degrees west", "degrees of ETRS89"])
def test_terrain_across_180_degrees_lies_where_it_is(tiles: str, crs: str, tmp_path: Path) -> None:
    paths = []
    for west, east in TILINGS[tiles]:
        tile = GeoBox.from_bbox((west, -18.0, east, -16.0), "EPSG:4326", resolution=0.02)
        paths.append(tmp_path / f"{west}.tif")
        write_cog(paths[-1], longitudes(tile), tile)
    grid = GRIDS[crs].zoom_out(10)
    heights = Dem([str(path) for path in paths]).read(grid).values
    y, x = (np.asarray(grid.coordinates[name].values) for name in grid.dimensions)
    true = (grid.crs.transformer_to_crs(CRS("EPSG:4326"))(*np.meshgrid(x, y))[0] - 170.0) % 360.0
    error = np.abs(heights - true)
    assert np.isfinite(error).all()
    assert error.max() < 0.011  # half a pixel at the seam of a raster that ends at 180 degrees
    if len(paths) > 1 or "beyond" in tiles:
        assert error.max() < 1e-3


def test_only_the_columns_within_a_grid_are_read_of_a_raster_of_the_globe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = GeoBox.from_bbox((-180.0, -18.0, 180.0, -16.0), "EPSG:4326", resolution=0.02)
    write_cog(tmp_path / "globe.tif", longitudes(whole), whole)
    from sarcast.io import warp

    widths = []
    plain = warp._Reader.read

    def read(self: Any, slices: tuple[slice, slice], factor: int) -> Any:
        widths.append(slices[1].stop - slices[1].start)
        return plain(self, slices, factor)

    monkeypatch.setattr(warp._Reader, "read", read)
    read_onto(tmp_path / "globe.tif", GRIDS["UTM zone 1"].zoom_out(10), "bilinear")
    assert len(widths) == 2
    assert max(widths) < 0.01 * whole.width + 40


@pytest.mark.parametrize("crs", ["UTM zone 1", "degrees", "degrees west", "degrees of ETRS89"])
@pytest.mark.parametrize("shape", ["split", "vertices beyond 180", "vertices that jump"])
def test_cover_across_180_degrees_lies_where_it_is(crs: str, shape: str, tmp_path: Path) -> None:
    area_of(NOTATIONS[shape], tmp_path)
    grid = GRIDS[crs].zoom_out(10)
    cover = LandCover((str(tmp_path / "area.gpkg"),), CoverOptions()).read(grid)
    y, x = np.meshgrid(
        *(np.asarray(grid.coordinates[n].values) for n in grid.dimensions), indexing="ij"
    )
    longitude, latitude = grid.crs.transformer_to_crs(CRS("EPSG:4326"))(x, y)
    true = shapely.contains_xy(SHAPE, longitude % 360.0, latitude)
    differing = (np.asarray(cover["forest"].values) > 0.5) != true
    assert true.any() and differing.mean() < 1e-3


@pytest.mark.parametrize("crs", ["degrees", "degrees west", "UTM zone 1", "polar"])
def test_changes_across_180_degrees_have_their_area(crs: str) -> None:
    """Against the squares of a UTM grid, and spherical areas of the others."""
    grid = GRIDS[crs]
    part = grid[100:200, 250:350] if crs != "polar" else grid[300:320, 290:310]
    frame = geopandas.GeoDataFrame(geometry=[part.extent.geom], crs=grid.crs.to_wkt())
    (area,) = events._areas_ha(frame.geometry) * 1e4
    flat = shapely.transform(
        shapely.segmentize(contiguous(footprint(part)), 0.5),
        lambda p: np.column_stack([np.radians(p[:, 0]), np.sin(np.radians(p[:, 1]))]) * 6_371_007.0,
    )
    assert area == pytest.approx(flat.area, rel=0.01)


def test_local_days_at_180_degrees_are_those_of_the_place() -> None:
    from sarcast.ingest.profiles import find_profile
    from sarcast.ingest.weather.layouts import WeatherProfile
    from sarcast.ingest.weather.reading import _clock_offset

    profile = find_profile(WeatherProfile, "agera5")
    variable = next(iter(profile.variables.values()))
    hours = [
        _clock_offset(profile, variable, moved(GRIDS["UTM zone 1"], zones)) / np.timedelta64(1, "h")
        for zones in (0, 1, -30)
    ]
    assert abs(hours[0]) == pytest.approx(12.0, abs=0.2)
    assert hours[1] - (hours[0] - 24.0 * (hours[0] > 0)) == pytest.approx(ZONE / 15.0, abs=0.02)
    assert hours[2] == pytest.approx(0.0, abs=0.2)


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("longitude", [179.99, 180.0, -179.995, 359.999, 12.0])
def test_the_items_of_a_world_lie_at_its_longitude(
    longitude: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    preset = dataclasses.replace(PRESETS["boreal"], longitude_deg=longitude)
    monkeypatch.setitem(PRESETS, "boreal", preset)
    options = WorldOptions(
        preset="boreal",
        size_km=0.64,
        tracks=1,
        end=dt.date(2020, 1, 20),
        start=dt.date(2020, 1, 1),
    )
    writer.write_world(tmp_path, options, seed=1)
    item = FolderCatalogue(tmp_path).search()[0]
    west, _, east, _ = item.bbox
    assert (west - longitude + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.05)
    assert 0.0 < (east - west) % 360.0 < 0.1
    assert -180.0 <= west <= 180.0 and -180.0 <= east <= 180.0
    assert item.properties["proj:code"] == f"EPSG:326{int((longitude + 180) // 6) % 60 + 1:02d}"


@pytest.mark.parametrize("crs", GRIDS)
def test_the_item_of_a_detection_has_the_footprint_of_its_grid(crs: str, tmp_path: Path) -> None:
    write_item(tmp_path, "change", GRIDS[crs], np.datetime64("2020-01-01"), {})
    item = pystac.Item.from_file(str(tmp_path / "item.json"))
    shape = footprint(GRIDS[crs])
    assert shapely.geometry.shape(item.geometry).equals(shape.geom)
    assert item.bbox == pytest.approx(bounding_box(shape))
    assert (item.bbox[0] > item.bbox[2]) == (crs != "polar")
