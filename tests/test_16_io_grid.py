import datetime as dt
from pathlib import Path

import geopandas
import numpy as np
import pystac
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from shapely.geometry import Polygon, box

from conftest import GRID
from sarcast.catalogue import Raster, Scene
from sarcast.catalogue.scene import grid_fields
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.io.grid import conditions_grid, item_grid, make_grid, read_area


@pytest.fixture
def items(tmp_path: Path) -> list:
    """Two scenes on one lattice whose origin is no multiple of the spacing."""
    made = []
    for number, corner in enumerate((500_003.0, 500_503.0)):
        grid = GeoBox((60, 80), Affine(10.0, 0, corner, 0, -10.0, 6_900_007.0), "EPSG:32635")
        path = tmp_path / f"{number}.tif"
        write_cog(path, np.ones((60, 80), np.float32), grid)
        time = dt.datetime(2020, 1, 1 + number, tzinfo=dt.UTC)
        rasters = {"vv": Raster(path, ("VV",), "linear power")}
        made.append(Scene(str(number), time, "gamma0", rasters).to_item())
    return made


def test_the_default_is_everything_that_the_scenes_cover(items: list) -> None:
    grid = make_grid(None, items)
    assert grid.shape == (60, 130)
    assert (grid.transform.c, grid.transform.f) == (500_003.0, 6_900_007.0)


def test_an_area_keeps_the_scenes_pixels(items: list) -> None:
    inside = Geometry(box(500_101, 6_899_600, 500_400, 6_899_900), "EPSG:32635")
    grid = make_grid(inside, items)
    assert (grid.transform.c - 500_003.0) % 10.0 == 0.0
    assert (grid.transform.f - 6_900_007.0) % 10.0 == 0.0
    assert grid.extent.contains(inside)


def test_another_crs_and_resolution(items: list) -> None:
    grid = make_grid(None, items, crs="EPSG:3067", resolution=20.0)
    assert grid.crs.epsg == 3067
    assert grid.resolution.x == 20.0
    with pytest.raises(UsageError, match="give --resolution too"):
        make_grid(None, items, crs="EPSG:4326")
    with pytest.raises(UsageError, match="'EPSG:nothing' is unknown"):
        make_grid(None, items, crs="EPSG:nothing", resolution=10.0)


def moved(item: pystac.Item, east: float, name: str) -> pystac.Item:
    """The same scene further east, degrees."""
    other = item.clone()
    other.id = name
    west, south, right, north = item.bbox or []
    other.bbox = [west + east, south, right + east, north]
    corner = list(item.properties["proj:transform"])
    other.properties["proj:transform"] = [*corner[:2], corner[2] + 52_000.0 * east, *corner[3:]]
    return other


def test_scenes_in_regions_far_apart_need_an_area(items: list) -> None:
    """Two side by side, one two degrees east of them, one six degrees: three regions are listed."""
    east, far = moved(items[0], 2.0, "east"), moved(items[0], 6.0, "far")
    with pytest.raises(UsageError, match="lie in 3 regions far apart; .* as --area: ") as error:
        make_grid(None, [*items, items[0], east, far])
    regions = str(error.value).partition("--area: ")[2].split("; ")
    assert [region.partition(" ")[2] for region in regions] == [
        "(3 scenes)",
        "(1 scenes)",
        "(1 scenes)",
    ]
    first = make_grid(read_area(regions[0].split()[0]), items)
    both = make_grid(None, items)
    assert abs(first.height - both.height) <= 8 and abs(first.width - both.width) <= 8
    assert make_grid(read_area("26.9,62.2,33.1,62.3"), [*items, far]).width > 30_000
    many = [moved(items[0], degrees, str(degrees)) for degrees in range(0, 28, 4)]
    with pytest.raises(UsageError, match=r"lie in 7 regions .*; and 2 more$"):
        make_grid(None, many)


def test_regions_are_listed_too_if_large_scenes_make_the_grid_too_large(items: list) -> None:
    """Two scenes of 250 km, 50 degrees apart, fill more of their box than the least share."""
    large = []
    for number, corner in enumerate((4e5, 3.4e6)):
        fields = {
            "proj:code": "EPSG:32635",
            "proj:shape": [25_000, 25_000],
            "proj:transform": [10.0, 0.0, corner, 0.0, -10.0, 7e6],
        }
        item = pystac.Item(str(number), None, None, dt.datetime(2020, 1, 1), fields)
        item.bbox = [25.0 + 50.0 * number, 60.0, 30.0 + 50.0 * number, 62.2]
        large.append(item)
    with pytest.raises(
        UsageError, match=r"2 regions .* 25\.0000,60\.0000,30\.0000,62\.2000 \(1 sc"
    ):
        make_grid(None, large)
    with pytest.raises(UsageError, match=r"has over 4e\+09 pixels; give a smaller --area"):
        make_grid(None, large[:1], resolution=1.0)


def test_bursts_of_one_track_become_one_grid(data_dir: Path) -> None:
    """Crops of 3 km, 18 km from each other."""
    files = sorted((data_dir / "opera-rtc-s1").glob("*20211119*.tif"))
    found = list(find_items(files, IndexOptions()))
    grid = make_grid(None, found)
    assert len(found) == 6
    assert all(grid.extent.contains(item_grid(item).extent) for item in found)


def test_scenes_in_one_long_row_are_one_region(items: list) -> None:
    """A hundred scenes along a diagonal, each beside the next, fill little of their box."""
    west, south, east, north = items[0].bbox
    row = []
    for step in range(100):
        row.append(items[0].clone())
        row[-1].bbox = [west, south, 0.0, east, north, 9.0]
        for side, shift in (
            (0, east - west),
            (3, east - west),
            (1, north - south),
            (4, north - south),
        ):
            row[-1].bbox[side] += shift * step
    assert make_grid(None, row).shape == (60, 80)


def _written(shapes: geopandas.GeoDataFrame, folder: Path) -> Path:
    shapes.to_file(folder / "area.gpkg")
    return folder / "area.gpkg"


def test_areas_as_box_vector_file_and_raster(tmp_path: Path, items: list) -> None:
    degrees = read_area("26.9,62.1,27.1,62.3")
    assert degrees.boundingbox.bbox == (26.9, 62.1, 27.1, 62.3)
    shapes = geopandas.GeoDataFrame(geometry=[box(5e5, 6.89e6, 5.01e5, 6.9e6)], crs="EPSG:32635")
    shapes.to_file(tmp_path / "area.geojson", driver="GeoJSON")
    vector = read_area(str(tmp_path / "area.geojson"))
    shapes.to_parquet(tmp_path / "area.parquet")
    assert read_area(str(tmp_path / "area.parquet")) == read_area(str(_written(shapes, tmp_path)))
    bow = Polygon([(27.0, 62.0), (27.2, 62.2), (27.2, 62.0), (27.0, 62.2)])
    crossed = geopandas.GeoSeries([bow, bow.buffer(0).union(box(27.1, 62.0, 27.3, 62.2))])
    crossed.set_crs("EPSG:4326").to_file(tmp_path / "crossed.geojson")
    assert read_area(str(tmp_path / "crossed.geojson")).boundingbox.bbox[0] == pytest.approx(27.0)
    assert isinstance(vector, Geometry)
    write_cog(tmp_path / "like.tif", np.ones(GRID.shape, np.float32), GRID)
    raster = read_area(str(tmp_path / "like.tif"))
    assert raster == GRID
    assert make_grid(raster, items) is raster
    with pytest.raises(UsageError, match="leave out --crs and --resolution"):
        make_grid(raster, items, resolution=5.0)


@pytest.mark.parametrize("area", ["here", "1,2,3", "10,60,9,61", "10,60,11,95", "1,2,3,x"])
def test_invalid_areas(area: str) -> None:
    with pytest.raises(UsageError, match="--area must be"):
        read_area(area)


def test_a_file_that_is_neither_vector_nor_raster(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UsageError, match=r"'nosuch\.geojson' does not exist"):
        read_area("nosuch.geojson")
    with pytest.raises(UsageError, match="'1,2,3' is none of these"):
        read_area("1,2,3")
    with pytest.raises(UsageError, match="neither a vector nor a raster file"):
        read_area(str(tmp_path / "notes.txt"))


def test_conditions_have_one_cell_per_kilometre() -> None:
    grid = GeoBox((1200, 700), Affine(10.0, 0, 500_000.0, 0, -10.0, 6_900_000.0), "EPSG:32635")
    coarse = conditions_grid(grid)
    assert coarse.shape == (12, 7)
    assert coarse.extent.contains(grid.extent)
    assert conditions_grid(GRID).shape == (1, 1)


def test_an_area_that_its_crs_cannot_represent() -> None:
    with pytest.raises(UsageError, match="too large to be represented in EPSG:32635"):
        make_grid(read_area("-180,-90,180,90"), [_flat_item()])


def test_a_raster_with_too_many_pixels_for_a_cube() -> None:
    huge = GeoBox((100_000, 100_000), Affine(10.0, 0, 5e5, 0, -10.0, 6.9e6), "EPSG:32635")
    with pytest.raises(UsageError, match=r"has over 4e\+09 pixels"):
        make_grid(huge, [_flat_item()])


def test_the_grid_of_conditions_is_no_finer_than_the_pixels() -> None:
    coarse = GeoBox((60, 80), Affine(10.0, 0, -400.0, 0, -10.0, 80.0), "EPSG:4326")
    assert conditions_grid(coarse).shape == (60, 80)


def _flat_item() -> pystac.Item:
    fields = grid_fields(GRID)
    return pystac.Item("one", None, None, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"proj:transform": [10.0, 20.0, 5e5, 5.0, 10.0, 6e6]}, "pixels have no area"),
        ({"proj:transform": [float("nan"), 0.0, 5e5, 0.0, -10.0, 6e6]}, "pixels have no area"),
        ({"proj:code": "EPSG:4326", "proj:transform": [1.0, 0.0, 1e9, 0.0, -1.0, 60.0]}, "nowhere"),
        ({"proj:code": "EPSG:0"}, "states the CRS 'EPSG:0', which is unknown"),
    ],
)
def test_an_item_whose_pixels_lie_nowhere_is_named(
    items: list, fields: dict[str, object], message: str
) -> None:
    items[0].properties.update(fields)
    with pytest.raises(SarcastError, match=message):
        item_grid(items[0])
