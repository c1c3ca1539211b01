"""Where change is looked for: area, land cover, polygons and water."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import xarray as xr
from shapely.geometry import Polygon, box

from sarcast.detection.judged import JudgedOptions, crop, find_judged, trim
from sarcast.detection.strata import Past, cover_masks
from sarcast.errors import SarcastError
from sarcast.io.cogs import write_cog
from sarcast.prediction.scene import MARGIN_PX
from small_changes import PIXEL_M, SIDE, as_cube

LATER = np.datetime64("2030-01-01")
WEST, NORTH = 500_000.0, 6_900_000.0


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """Forest on the left, open land in the middle; the bottom ten rows are water."""
    rng = np.random.default_rng(0)
    values = -12.0 + rng.normal(0.0, 0.5, (12, 2, SIDE, SIDE))
    values[:, 1] -= 6.0
    values[:, :, -10:] += -9.0 + rng.normal(0.0, 3.0, (12, 1, 1, 1))
    cube = as_cube(values)
    columns = np.broadcast_to(np.arange(SIDE), (SIDE, SIDE))
    cube["forest"] = (("y", "x"), columns < 30)
    cube["open_land"] = (("y", "x"), (columns >= 30) & (columns < 60))
    return cube


def water() -> np.ndarray:
    return np.broadcast_to(np.arange(SIDE)[:, None] >= SIDE - 10, (SIDE, SIDE))


def pixels(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[rows, columns] = True
    return mask


def rectangle(rows: slice, columns: slice) -> Polygon:
    """Outline of pixels in the CRS of the cube."""
    return box(
        WEST + PIXEL_M * columns.start, NORTH - PIXEL_M * rows.stop,
        WEST + PIXEL_M * columns.stop, NORTH - PIXEL_M * rows.start,
    )  # fmt: skip


def vector_file(path: Path, *shapes: Polygon, crs: str = "EPSG:32635") -> str:
    frame = geopandas.GeoDataFrame(geometry=list(shapes), crs="EPSG:32635").to_crs(crs)
    frame.to_file(path)
    return str(path)


def judged(cube: xr.Dataset, **settings: object) -> np.ndarray:
    options = JudgedOptions(**settings)
    part = crop(cube, options.area)
    found = np.zeros((SIDE, SIDE), dtype=bool)
    rows = np.searchsorted(-cube["y"].values, -part.cube["y"].values)
    columns = np.searchsorted(cube["x"].values, part.cube["x"].values)
    found[np.ix_(rows, columns)] = find_judged(part, Past(part.cube, LATER), options)
    return found


FOREST, OPEN = pixels(slice(None), slice(0, 30)), pixels(slice(None), slice(30, 60))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, ~water()),
        ({"outside": ()}, np.ones((SIDE, SIDE), dtype=bool)),
        ({"within": ("forest",)}, FOREST & ~water()),
        ({"within": ("forest", "open_land")}, (FOREST | OPEN) & ~water()),
        ({"outside": ("open_land",)}, ~OPEN),
        ({"outside": ("open_land", "water")}, ~OPEN & ~water()),
        ({"within": ("water",), "outside": ()}, water()),
    ],
)
def test_cover_and_water(cube: xr.Dataset, settings: dict[str, object], wanted: np.ndarray) -> None:
    found = judged(cube, **settings)
    near_shore = pixels(slice(SIDE - 13, SIDE - 7), slice(None))
    np.testing.assert_array_equal(found[~near_shore], wanted[~near_shore])


@pytest.mark.parametrize("crs", ["EPSG:32635", "EPSG:4326", "EPSG:3067"])
@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_polygons_of_a_file(cube: xr.Dataset, tmp_path: Path, crs: str, suffix: str) -> None:
    first, second = (slice(5, 20), slice(40, 70)), (slice(50, 61), slice(3, 9))
    crs = "EPSG:4326" if suffix == ".geojson" else crs
    file = vector_file(tmp_path / f"p{suffix}", rectangle(*first), rectangle(*second), crs=crs)
    inside = pixels(*first) | pixels(*second)
    np.testing.assert_array_equal(judged(cube, within=(file,), outside=()), inside)
    np.testing.assert_array_equal(judged(cube, outside=(file,)), ~inside)
    np.testing.assert_array_equal(judged(cube, area=file, outside=()), inside)
    both = judged(cube, within=(file, "forest"), outside=())
    np.testing.assert_array_equal(both, inside | FOREST)


def test_an_area_is_cut_with_a_margin(cube: xr.Dataset, tmp_path: Path) -> None:
    place = slice(20, 30), slice(60, 75)
    part = crop(cube, vector_file(tmp_path / "area.gpkg", rectangle(*place)))
    rows, columns = (
        slice(max(0, each.start - MARGIN_PX), min(SIDE, each.stop + MARGIN_PX)) for each in place
    )
    xr.testing.assert_identical(part.cube, cube.isel(y=rows, x=columns))
    inside = trim(part.cube, part.inside)
    xr.testing.assert_identical(inside, cube.isel(y=place[0], x=place[1]))
    whole = crop(cube, None)
    assert whole.inside.all()
    xr.testing.assert_identical(trim(whole.cube, whole.inside), cube)


def test_an_area_can_be_a_box_or_a_raster(cube: xr.Dataset, tmp_path: Path) -> None:
    place = slice(20, 30), slice(60, 75)
    degrees = geopandas.GeoSeries([rectangle(*place)], crs="EPSG:32635").to_crs("EPSG:4326")
    west, south, east, north = degrees.total_bounds
    by_box = judged(cube, area=f"{west},{south},{east},{north}", outside=())
    assert (by_box & pixels(*place)).sum() == pixels(*place).sum()
    assert by_box.sum() < 1.3 * pixels(*place).sum()
    raster = cube["forest"].isel(y=place[0], x=place[1])
    write_cog(
        tmp_path / "raster.tif", raster.values.astype(np.float32)[np.newaxis], raster.odc.geobox
    )
    found = judged(cube, area=str(tmp_path / "raster.tif"), outside=())
    np.testing.assert_array_equal(found, pixels(*place))


def test_what_cannot_be_judged_is_one_line(cube: xr.Dataset, tmp_path: Path) -> None:
    far = vector_file(tmp_path / "far.gpkg", box(0.0, 6_000_000.0, 100.0, 6_000_100.0))
    shape = vector_file(tmp_path / "left.gpkg", rectangle(slice(0, SIDE), slice(0, SIDE)))
    (tmp_path / "text.gpkg").write_text("no vector file")
    bare = cube.drop_vars("forest")
    for message, used, settings in (
        ("does not touch the cube, whose bounds are 27.0000, 62.", cube, {"area": far}),
        ("does not touch the cube", cube, {"within": (far,)}),
        ("no pixel is left to be judged: .*everywhere; not .*left", cube, {"outside": (shape,)}),
        ("no pixel is left to be judged", cube, {"within": ("water",)}),
        ("the cube has no forest: build it with land cover", bare, {"within": ("forest",)}),
        ("the cube has no forest", bare, {"outside": ("forest",)}),
        ("'wood' is none of these and does not exist", cube, {"within": ("wood",)}),
        ("forest, open_land, water or a vector file", cube, {"outside": ("lakes.gpkg",)}),
        ("text.gpkg", cube, {"outside": (str(tmp_path / "text.gpkg"),)}),
    ):
        with pytest.raises(SarcastError, match=message) as error:
            judged(used, **settings)
        assert "\n" not in str(error.value)


def test_cover_of_a_cube(cube: xr.Dataset) -> None:
    masks = cover_masks(cube)
    assert list(masks) == ["forest", "open_land"]
    np.testing.assert_array_equal(masks["forest"], FOREST)
    assert cover_masks(cube.drop_vars(["forest", "open_land"])) == {}
