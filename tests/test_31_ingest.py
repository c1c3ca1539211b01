import datetime as dt
import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox

from conftest import GRID, opera_name
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.cover import CoverOptions, LandCover, read_cover
from sarcast.ingest.dem import Dem, read_dem
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.io.grid import axes
from sarcast.io.rasters import grid_of


def plane(grid: GeoBox) -> np.ndarray:
    """Heights that are linear in UTM zone 35 coordinates, so that any warp can be checked."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    if grid.crs != GRID.crs:
        x, y = grid.crs.transformer_to_crs(GRID.crs)(x, y)
    return (0.1 * (x - 500_000.0) + 0.05 * (y - 6_900_000.0) + 200.0).astype(np.float32)


def test_a_dem_on_the_same_grid(tmp_path: Path) -> None:
    write_cog(tmp_path / "dem.tif", plane(GRID), GRID)
    np.testing.assert_array_equal(read_dem(tmp_path / "dem.tif", GRID), plane(GRID))


@pytest.mark.parametrize("crs", ["EPSG:32634", "EPSG:3067", "EPSG:4326"])
def test_a_dem_in_another_crs(tmp_path: Path, crs: str) -> None:
    step = 0.0002 if crs == "EPSG:4326" else 10.0
    wide = GRID.pad(20).extent.to_crs(crs).boundingbox
    source = GeoBox.from_bbox(wide, resolution=step)
    write_cog(tmp_path / "dem.tif", plane(source), source)
    read = read_dem(tmp_path / "dem.tif", GRID)
    assert read.attrs["units"] == "m"
    assert read.odc.geobox == GRID
    np.testing.assert_allclose(read, plane(GRID), atol=0.3)


def test_a_dem_that_covers_half_of_the_area(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = GRID[:, :40]
    write_cog(tmp_path / "dem.tif", plane(half), half)
    read = read_dem(tmp_path / "dem.tif", GRID).values
    np.testing.assert_allclose(read[:, :40], plane(GRID)[:, :40], atol=1e-3)
    assert np.isnan(read[:, 41:]).all()
    assert re.search(r"covers 5\d\.\d % of the area; the elevation of", capsys.readouterr().err)


def test_a_dem_with_a_hole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heights = plane(GRID)
    heights[10:20, 30:50] = -9999.0
    write_cog(tmp_path / "dem.tif", heights, GRID, nodata=-9999.0)
    read = read_dem(tmp_path / "dem.tif", GRID).values
    assert np.isnan(read[10:20, 30:50]).all()
    assert np.isfinite(read).sum() == 60 * 80 - 200
    assert "the other 200 pixels is missing" in capsys.readouterr().err
    write_cog(tmp_path / "coarse.tif", plane(GRID.pad(20)), GRID.pad(20))
    filled = read_dem([tmp_path / "dem.tif", tmp_path / "coarse.tif"], GRID)
    np.testing.assert_allclose(filled, plane(GRID), atol=1e-3)


def test_a_dem_outside_the_area(tmp_path: Path) -> None:
    away = GRID.translate_pix(1000, 0)
    write_cog(tmp_path / "dem.tif", plane(away), away)
    with pytest.raises(SarcastError, match="does not cover any of the area"):
        read_dem(tmp_path / "dem.tif", GRID)
    with pytest.raises(SarcastError, match="does not exist"):
        read_dem(tmp_path / "nowhere.tif", GRID)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SarcastError, match="holds no raster"):
        read_dem(tmp_path / "empty", GRID)


@pytest.mark.parametrize("seam", [37, 40, 43])
def test_no_seam_between_tiles_of_a_dem(tmp_path: Path, seam: int) -> None:
    """Tiles in geographic coordinates, as of GLO-30, give the same result as one raster."""
    wide = GeoBox.from_bbox(GRID.pad(20).extent.to_crs("EPSG:4326").boundingbox, resolution=0.0003)
    rough = plane(wide) + np.random.default_rng(1).normal(0, 30, wide.shape).astype(np.float32)
    column = wide.shape[1] * seam // 80
    tiles = tmp_path / "tiles"
    write_cog(tiles / "east.tif", rough[:, column:], wide[:, column:])
    write_cog(tiles / "west.tif", rough[:, :column], wide[:, :column])
    write_cog(tmp_path / "one.tif", rough, wide)
    whole = read_dem(tmp_path / "one.tif", GRID)
    np.testing.assert_allclose(read_dem(tiles, GRID), whole, atol=1e-3)


def test_a_dem_read_in_parts_equals_the_whole(tmp_path: Path) -> None:
    source = GeoBox.from_bbox(GRID.pad(20).extent.to_crs("EPSG:3067").boundingbox, resolution=10.0)
    rough = np.random.default_rng(2).normal(0, 30, source.shape).astype(np.float32)
    write_cog(tmp_path / "dem.tif", rough, source)
    dem = Dem([tmp_path / "dem.tif"])
    parts = [[dem.read(GRID[y : y + 30, x : x + 40]).values for x in (0, 40)] for y in (0, 30)]
    np.testing.assert_allclose(np.block(parts), dem.read(GRID), atol=1e-2)


def set_scaling(path: Path, scale: float, offset: float) -> None:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.scales, file.offsets = (scale,) * file.count, (offset,) * file.count


def packed(path: Path, heights: np.ndarray, grid: GeoBox, scale: float, offset: float) -> None:
    """Write heights as int16, with scale and offset in the file."""
    stored = np.round((heights - offset) / scale)
    write_cog(
        path, np.where(np.isnan(stored), -32768, stored).astype(np.int16), grid, nodata=-32768
    )
    set_scaling(path, scale, offset)


@pytest.mark.parametrize("coarser", [1, 8])
def test_heights_with_scale_and_offset(tmp_path: Path, coarser: int) -> None:
    """As one raster and as two tiles with different scales; the nodata value is not scaled."""
    rough = plane(GRID) + np.random.default_rng(2).normal(0.0, 20.0, GRID.shape).astype(np.float32)
    rough[8:24, 32:64] = np.nan
    write_cog(tmp_path / "plain.tif", rough, GRID)
    packed(tmp_path / "whole.tif", rough, GRID, 0.1, 0.0)
    packed(tmp_path / "west.tif", rough[:, :43], GRID[:, :43], 0.1, 50.0)
    packed(tmp_path / "east.tif", rough[:, 43:], GRID[:, 43:], 0.05, -7.0)
    grid = GRID.zoom_out(coarser)
    truth = read_dem(tmp_path / "plain.tif", grid)
    assert 0.05 < float(np.isnan(truth).mean()) < 0.25
    for sources in (["whole.tif"], ["west.tif", "east.tif"]):
        heights = read_dem([tmp_path / source for source in sources], grid)
        np.testing.assert_allclose(heights, truth, atol=0.11)


def test_a_dem_of_a_stac_item(tmp_path: Path) -> None:
    """The layout of Copernicus GLO-30 items: the asset ``data`` has the heights."""
    write_cog(tmp_path / "heights.tif", plane(GRID), GRID)
    item = pystac.Item("Copernicus_DSM_COG_10_N62", None, None, dt.datetime(2021, 4, 22), {})
    item.add_asset("thumbnail", pystac.Asset("preview.jpg", roles=["thumbnail"]))
    item.add_asset("data", pystac.Asset("./heights.tif", roles=["data"]))
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict()))
    np.testing.assert_array_equal(read_dem(tmp_path / "item.json", GRID), plane(GRID))
    item.assets.pop("data")
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict()))
    with pytest.raises(SarcastError, match=r"has no asset .* it has thumbnail"):
        read_dem(tmp_path / "item.json", GRID)
    for text in ("{", "[]", '{"type": "Feature"}', '{"type": "FeatureCollection"}'):
        (tmp_path / "item.json").write_text(text)
        with pytest.raises(SarcastError, match=r"item\.json is not a STAC item: \S+"):
            read_dem(tmp_path / "item.json", GRID)


def dem_item(tmp_path: Path, **fields: object) -> Path:
    """An item whose asset heights.tif has these additional fields."""
    write_cog(tmp_path / "heights.tif", plane(GRID), GRID)
    item = pystac.Item("N62E027", None, None, dt.datetime(2021, 4, 22), {})
    item.add_asset("data", pystac.Asset("./heights.tif", roles=["data"], extra_fields=fields))
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict()))
    return tmp_path / "item.json"


def test_the_unit_of_heights_can_come_from_their_item(tmp_path: Path) -> None:
    path = dem_item(tmp_path, **{"raster:bands": [{"unit": "foot"}]})
    np.testing.assert_allclose(read_dem(path, GRID), plane(GRID) * 0.3048, rtol=1e-6)
    path = dem_item(tmp_path, bands=[{"name": "height", "unit": "meter"}])
    np.testing.assert_array_equal(read_dem(path, GRID), plane(GRID))


def test_rasters_that_are_not_terrain_heights_are_refused(tmp_path: Path) -> None:
    """Scenes and classes, recognised by properties, name, band, unit and extension."""
    base = opera_name("20200301T154005")
    for band in ("VV", "VH"):
        write_cog(tmp_path / f"{base}_{band}.tif", plane(GRID) / 1e4, GRID, bands=[band])
    (scene,) = find_items([tmp_path], IndexOptions())
    (tmp_path / "scene.json").write_text(json.dumps(scene.to_dict(transform_hrefs=False)))
    for read in (read_dem, lambda source, grid: read_cover([source], grid, CoverOptions())):
        with pytest.raises(
            SarcastError, match=rf"scene\.json is the item of a radar .*{base} \(it has sar:"
        ):
            read(tmp_path / "scene.json", GRID)
    with pytest.raises(
        SarcastError, match=r"VV\.tif contains backscatter \(by its name\), not terrain"
    ):
        read_dem(tmp_path / f"{base}_VV.tif", GRID)
    (tmp_path / f"{base}_VH.tif").rename(tmp_path / "renamed.tif")
    with pytest.raises(
        SarcastError, match=r"renamed\.tif contains backscatter \(VH\), not terrain"
    ):
        read_dem(tmp_path / "renamed.tif", GRID)
    write_cog(tmp_path / "sigma.tif", plane(GRID), GRID, tags={"unit": "dB"})
    with pytest.raises(SarcastError, match=r"sigma\.tif contains backscatter \(dB\)"):
        read_dem(tmp_path / "sigma.tif", GRID)
    with pytest.raises(SarcastError, match=r"heights\.tif contains backscatter \(linear power\)"):
        read_dem(dem_item(tmp_path, bands=[{"name": "x", "unit": "linear power"}]), GRID)
    with pytest.raises(SarcastError, match=r"heights\.tif contains classes, not terrain heights"):
        read_dem(dem_item(tmp_path, **{"classification:classes": [{"value": 10}]}), GRID)


def test_a_dem_in_feet(tmp_path: Path) -> None:
    write_cog(tmp_path / "dem.tif", plane(GRID) / np.float32(0.3048), GRID)
    with rasterio.open(tmp_path / "dem.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dem:
        dem.units = ["ft"]
    np.testing.assert_allclose(read_dem(tmp_path / "dem.tif", GRID), plane(GRID), rtol=1e-6)
    with rasterio.open(tmp_path / "dem.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dem:
        dem.units = ["kelvin"]
    with pytest.raises(SarcastError, match="is in kelvin, which cannot be converted to m"):
        read_dem(tmp_path / "dem.tif", GRID)


def test_the_real_dem(data_dir: Path) -> None:
    dem = data_dir / "worldcereal" / "dem" / "dem_31UDS.tif"
    whole = grid_of(dem)
    part = whole[: min(40, whole.shape[0]), : min(50, whole.shape[1])]
    with rasterio.open(dem) as source:
        direct = source.read(1)[: part.shape[0], : part.shape[1]]
    np.testing.assert_array_equal(read_dem(dem, part), direct)


# --- land cover ---------------------------------------------------------------------------------


def strips(path: Path, *numbers: int) -> np.ndarray:
    """Write classes in strips of ten rows; the last class fills the rest."""
    classes = np.full(GRID.shape, numbers[-1], dtype=np.uint8)
    for index, number in enumerate(numbers[:-1]):
        classes[10 * index : 10 * index + 10] = number
    write_cog(path, classes, GRID, nodata=0)
    return classes


def test_land_cover(tmp_path: Path) -> None:
    classes = strips(tmp_path / "cover.tif", 10, 30, 40, 80)
    cover = read_cover(tmp_path / "cover.tif", GRID)
    np.testing.assert_array_equal(cover["forest"], classes == 10)
    np.testing.assert_array_equal(cover["open_land"], (classes == 30) | (classes == 40))
    options = CoverOptions(forest_classes=("80",), open_land_classes=("10",))
    cover = read_cover(tmp_path / "cover.tif", GRID, options)
    np.testing.assert_array_equal(cover["forest"], classes == 80)
    np.testing.assert_array_equal(cover["open_land"], classes == 10)
    with pytest.raises(SarcastError, match="expected class 95, found 10, 30, 40, 80"):
        read_cover(tmp_path / "cover.tif", GRID, CoverOptions(forest_classes=("95",)))


def test_corine_by_grid_code(tmp_path: Path) -> None:
    classes = strips(tmp_path / "clc.tif", 23, 24, 25, 12, 40)
    cover = read_cover(tmp_path / "clc.tif", GRID, CoverOptions(cover_table="corine"))
    np.testing.assert_array_equal(cover["forest"], (classes >= 23) & (classes <= 25))
    np.testing.assert_array_equal(cover["open_land"], classes == 12)


def test_a_table_of_classes_in_yaml(tmp_path: Path) -> None:
    classes = strips(tmp_path / "cover.tif", 1, 2, 3)
    (tmp_path / "own.yaml").write_text("title: A national map\nforest: [2]\nopen_land: [3]\n")
    cover = read_cover(
        tmp_path / "cover.tif", GRID, CoverOptions(cover_table=f"{tmp_path}/own.yaml")
    )
    np.testing.assert_array_equal(cover["forest"], classes == 2)
    np.testing.assert_array_equal(cover["open_land"], classes == 3)
    (tmp_path / "own.yaml").write_text("title: A national map\nwoods: [2]\n")
    with pytest.raises(
        UsageError, match=r"own\.yaml is not a valid cover profile: forest: Field required"
    ):
        read_cover(tmp_path / "cover.tif", GRID, CoverOptions(cover_table=f"{tmp_path}/own.yaml"))
    with pytest.raises(UsageError, match="no cover profile .* one of corine, worldcover"):
        read_cover(tmp_path / "cover.tif", GRID, CoverOptions(cover_table="corin"))


@pytest.mark.parametrize("kind", ["gpkg", "geojson"])
def test_polygons_of_land_cover(tmp_path: Path, kind: str) -> None:
    """CORINE polygons: a pixel belongs to the polygon that contains its centre."""
    left, bottom, right, top = GRID.boundingbox.bbox
    shapes = gpd.GeoDataFrame(
        {"Code_18": ["312", "231", "512"]},
        geometry=[
            shapely.box(left, top - 200, right, top),
            shapely.box(left, top - 304, right, top - 200),
            shapely.box(left, bottom, right, top - 304),
        ],
        crs=GRID.crs.to_wkt(),
    ).to_crs("EPSG:4326" if kind == "geojson" else "EPSG:3067")
    shapes.to_file(tmp_path / f"clc.{kind}")
    cover = read_cover(tmp_path / f"clc.{kind}", GRID, CoverOptions(cover_table="corine"))
    rows = np.arange(60)[:, None] * np.ones((1, 80))
    np.testing.assert_array_equal(cover["forest"], rows < 20)
    np.testing.assert_array_equal(cover["open_land"], (rows >= 20) & (rows < 30))
    without_column = read_cover(tmp_path / f"clc.{kind}", GRID)  # none of the columns of the table
    assert without_column["forest"].all()
    assert "open_land" not in without_column  # unknown, rather than absent
    with pytest.raises(UsageError, match="has no column 'use'; it has Code_18"):
        read_cover(tmp_path / f"clc.{kind}", GRID, CoverOptions(cover_column="use"))


def test_open_land_without_classes_is_unknown(tmp_path: Path) -> None:
    strips(tmp_path / "cover.tif", 10, 30)
    (tmp_path / "own.yaml").write_text("title: Forest alone\nforest: [10]\n")
    options = CoverOptions(cover_table=str(tmp_path / "own.yaml"))
    assert set(read_cover(tmp_path / "cover.tif", GRID, options)) == {"forest"}


def test_forest_may_be_in_one_part_only(tmp_path: Path) -> None:
    strips(tmp_path / "cover.tif", 10, 30)
    cover = LandCover([tmp_path / "cover.tif"], CoverOptions())
    assert not cover.read(GRID[30:])["forest"].any()
    assert cover.read(GRID[:30])["forest"].any()
    cover.summarise()


def test_a_void_without_a_declared_nodata_value(tmp_path: Path) -> None:
    heights = plane(GRID)
    heights[:30] = -32768.0
    write_cog(tmp_path / "dem.tif", heights, GRID, nodata=None)
    read = read_dem(tmp_path / "dem.tif", GRID).values
    assert np.isnan(read[:30]).all()
    np.testing.assert_array_equal(read[30:], plane(GRID)[30:])
