"""Missing pixels, however a source marks them, are missing in a cube, and nothing else is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from conftest import GRID, opera_name
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.check.report import check_cube
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.fuse import Layer, read_fused, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import normalise_item
from sarcast.io.cogs import write_cog
from sarcast.io.grid import item_grid, make_grid
from sarcast.io.remote import RemoteOptions
from small_rasters import MARKS, write_marked, write_raster

REMOTE = RemoteOptions()
GEE = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031480_03A0C1_AB12"
LEVELS = {"VV": 0.1, "VH": 0.02}
MISSING = np.zeros(GRID.shape, dtype=bool)
MISSING[:, :33] = True
MISSING[20:24, 50:61] = True
GRIDS = {
    "same": GRID,
    "shifted": GRID.translate_pix(0.3, -0.4),
    "another CRS": GeoBox.from_bbox(
        GRID.extent.to_crs("EPSG:32634").boundingbox, "EPSG:32634", resolution=10.0
    ),
    "coarser": GRID.zoom_out(5),
}


def power(level: float, seed: int = 0) -> np.ndarray:
    """Power within 5 % of a level: values mixed with a marker lie beyond."""
    spread = np.random.default_rng(seed).uniform(0.95, 1.05, GRID.shape)
    return (level * spread).astype(np.float32)


def stored(values: np.ndarray, unit: str) -> np.ndarray:
    return {"dB": 10.0 * np.log10(values), "amplitude": np.sqrt(values)}.get(unit, values)


def assert_missing(found: np.ndarray, grid: GeoBox, level: float) -> None:
    """About the right pixels are missing, and the others are near the level, within 5 %."""
    valid = np.isfinite(found)
    np.testing.assert_allclose(found[valid], 10.0 * np.log10(level), atol=0.23)
    if grid is GRID:
        np.testing.assert_array_equal(valid, ~MISSING)
    area = grid.resolution.x * grid.resolution.y / GRID.resolution.x / GRID.resolution.y
    share = valid.sum() * area / (~MISSING).sum()
    assert share == pytest.approx(1.0, abs=0.2)


def read(path: Path, unit: str, grid: GeoBox, band: int = 1, **more: object) -> np.ndarray:
    resampling = "average" if grid.resolution.x > 10.0 else "bilinear"
    layer = Layer(str(path), band, unit, "scene", **more)  # type: ignore[arg-type]
    return read_fused([layer], grid, resampling, REMOTE)[0]


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def build(folder: Path, to: Path, **options: object) -> xr.Dataset:
    items = find_items([folder], IndexOptions(**options))  # type: ignore[arg-type]
    build_cube(items, to, GRID, CubeOptions(), Sources())
    return open_cube(to)


# --- every mark -----------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("unit", ["linear power", "amplitude", "dB"])
@pytest.mark.parametrize("mark", MARKS)
def test_marked_pixels_are_missing(mark: str, unit: str, grid: GeoBox, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_marked(path, [stored(power(0.1), unit)], GRID, MISSING, mark)
    assert_missing(read(path, unit, grid), grid, 0.1)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("unit", ["linear power", "dB"])
@pytest.mark.parametrize("mark", MARKS)
def test_marked_pixels_of_an_indexed_folder(
    mark: str, unit: str, together: bool, tmp_path: Path
) -> None:
    """From the files to the cube: bands in one file each, or in one with their mask."""
    bands = {name: stored(power(level), unit) for name, level in LEVELS.items()}
    if together:
        path = tmp_path / "in" / "S1A_20200301T051122.tif"
        write_marked(path, [*bands.values()], GRID, MISSING, mark, names=[*bands])
    else:
        for name, band in bands.items():
            path = tmp_path / "in" / f"S1A_20200301T051122_{name}.tif"
            write_marked(path, [band], GRID, MISSING, mark)
    cube = build(tmp_path / "in", tmp_path / "cube.zarr", unit=unit, quantity="gamma0")
    for name, level in LEVELS.items():
        assert_missing(cube["backscatter"][0].sel(band=name).values, GRID, level)
    assert cube["seen"].values.tolist() == [[int((~MISSING).sum())] * 2]


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("mark", [*MARKS, "91", "0.66"])
def test_missing_angles_are_left_out_of_means(mark: str, grid: GeoBox, tmp_path: Path) -> None:
    """Also of a coarse grid; angles that are not of (10, 90] are missing."""
    path, angles = tmp_path / "angle.tif", np.full(GRID.shape, 38.0, np.float32)
    if mark in ("91", "0.66"):
        write_raster(path, [np.where(MISSING, np.float32(mark), angles)], GRID)
    else:
        write_marked(path, [angles], GRID, MISSING, mark)
    found = read_layer(Layer(str(path), 1, "degree", "scene"), grid, "average", REMOTE)
    np.testing.assert_allclose(found[np.isfinite(found)], 38.0, rtol=1e-5)
    assert 0.0 < np.isnan(found).mean() < 1.0


@pytest.mark.parametrize("nodata", [None, np.nan])
def test_angles_in_overviews_are_not_averaged_with_zeros(
    nodata: float | None, tmp_path: Path
) -> None:
    """A large incidence raster whose border of one pixel in eight is 0, with overviews."""
    fine = GRID.zoom_to((GRID.height * 16, GRID.width * 16))
    angles = np.full(fine.shape, 38.0, dtype=np.float32)
    angles[::8] = 0.0
    write_cog(tmp_path / "angle.tif", angles, fine, nodata=nodata)
    layer = Layer(str(tmp_path / "angle.tif"), 1, "degree", "scene")
    np.testing.assert_allclose(read_layer(layer, GRID, "average", REMOTE), 38.0, rtol=1e-5)


# --- zeros in dB ----------------------------------------------------------------------------------


def gee_export(folder: Path, grid: GeoBox = GRID, **more: object) -> Path:
    """An export in dB of three bands, all of them 0 where pixels are missing."""
    layers = [10.0 * np.log10(power(level)) for level in LEVELS.values()]
    layers.append(np.full(GRID.shape, 38.0))
    bands = [np.where(MISSING, 0.0, layer).astype(np.float32) for layer in layers]
    return write_raster(folder / f"{GEE}.tif", bands, grid, names=["VV", "VH", "angle"], **more)


def test_an_export_whose_masked_pixels_are_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gee_export(tmp_path / "in")
    cube = build(tmp_path / "in", tmp_path / "cube.zarr")
    for name, level in LEVELS.items():
        assert_missing(cube["backscatter"][0].sel(band=name).values, GRID, level)
    np.testing.assert_allclose(cube["incidence"], 38.0, rtol=1e-5)
    assert "values of exactly 0 are taken as missing on 1 dates" in capsys.readouterr().err
    assert not [line for line in check_cube(tmp_path / "cube.zarr").warnings if "0 dB" in line]


@pytest.mark.parametrize("separate", [False, True])
def test_zeros_of_one_polarisation_are_values(separate: bool, tmp_path: Path) -> None:
    """Five of exactly 0 dB in VV alone, among values of 0.1 dB steps, and ten shared with VH."""
    rng = np.random.default_rng(3)
    vv, vh = (np.round(rng.normal(level, 2.0, GRID.shape), 1) for level in (-1.0, -9.0))
    vv[vv == 0.0], vh[vh == 0.0] = 0.1, 0.1
    vv[5, :5] = 0.0
    vv[7, :10], vh[7, :10] = 0.0, 0.0
    bands = [vv.astype(np.float32), vh.astype(np.float32)]
    if separate:
        for name, band in zip(LEVELS, bands, strict=True):
            write_raster(tmp_path / "in" / f"S1A_20200301T051122_{name}.tif", [band], GRID)
    else:
        path = tmp_path / "in" / "S1A_20200301T051122.tif"
        write_raster(path, bands, GRID, names=[*LEVELS])
    cube = build(tmp_path / "in", tmp_path / "cube.zarr", unit="dB", quantity="sigma0")
    truth = np.stack(bands)
    truth[:, 7, :10] = np.nan
    np.testing.assert_allclose(cube["backscatter"][0], truth, atol=0.0051)


def test_many_zeros_of_one_polarisation_are_missing(tmp_path: Path) -> None:
    """A strip of zeros in VV where VH has data, in a raster without other values near 0 dB."""
    vv, vh = (stored(power(level), "dB") for level in LEVELS.values())
    vv[:, :4] = 0.0
    write_raster(tmp_path / "s.tif", [vv, vh], GRID)
    path = str(tmp_path / "s.tif")
    found = read(tmp_path / "s.tif", "dB", GRID, companions=((path, 2),))
    np.testing.assert_array_equal(np.isnan(found), vv == 0.0)


# --- masks that are not masks ---------------------------------------------------------------------


def test_other_bands_are_no_masks(tmp_path: Path) -> None:
    """A layover mask, a named band with the role alpha, and a raster with a mask alone."""
    values = stored(power(0.1), "dB")
    flags = MISSING.astype(np.float32)
    path = write_raster(tmp_path / "a.tif", [values, flags], GRID, names=["VV", "layover_mask"])
    assert np.isfinite(read(path, "dB", GRID)).all()
    path = write_raster(tmp_path / "b.tif", [values, flags], GRID, names=["VV", "VH"])
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha]
    assert np.isfinite(read(path, "dB", GRID)).all()
    path = write_raster(tmp_path / "c.tif", [power(0.1)], GRID, names=["mask"])
    assert np.isfinite(read(path, "linear power", GRID)).all()


# --- values that no file declares -----------------------------------------------------------------


def test_an_unknown_marker_is_stated_by_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In half of the pixels 1.5 dB, which is possible; ``--nodata`` says what it is."""
    for name, level in LEVELS.items():
        band = np.where(MISSING, np.float32(1.5), stored(power(level), "dB"))
        write_raster(tmp_path / "in" / f"S1A_20200301T051122_{name}.tif", [band], GRID)
    words = ("cube", tmp_path / "in", "--unit", "dB", "--quantity", "sigma0")
    assert run(*words, "--to", tmp_path / "plain.zarr") == 0
    assert np.isfinite(open_cube(tmp_path / "plain.zarr")["backscatter"]).all()
    assert run(*words, "--to", tmp_path / "cube.zarr", "--nodata", "1.5") == 0
    catalogue = tmp_path / "plain-catalogue"
    assert run("cube", catalogue, "--to", tmp_path / "third.zarr", "--nodata", "1.5") == 0
    for store in ("cube.zarr", "third.zarr"):
        found = open_cube(tmp_path / store)["backscatter"][0, 0].values
        np.testing.assert_array_equal(np.isnan(found), MISSING)
    assert run(*words, "--to", tmp_path / "d.zarr", "--nodata", "-9999") == 0
    capsys.readouterr()


@pytest.mark.parametrize("declared", [None, np.nan, 7.0])
def test_a_stated_marker_adds_to_the_declared_one(declared: float | None, tmp_path: Path) -> None:
    values = power(0.1)
    values[:5], values[5:9] = 3.0, (7.0 if declared == 7.0 else np.nan)
    write_raster(tmp_path / "s.tif", [values], GRID, nodata=declared)
    found = read(tmp_path / "s.tif", "linear power", GRID, nodata=3.0)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), np.arange(GRID.height) < 9)


def test_impossible_values_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative power, as of cubic resampling, at 20 of 4800 pixels of one band."""
    for name, level in LEVELS.items():
        band = power(level)
        band[0, :20] = -0.003 if name == "VV" else level
        write_raster(tmp_path / "in" / f"S1A_20200301T051122_{name}.tif", [band], GRID)
    cube = build(tmp_path / "in", tmp_path / "c.zarr", unit="linear power", quantity="gamma0")
    assert np.isnan(cube["backscatter"][0, 0, 0, :20]).all()
    assert int(np.isnan(cube["backscatter"]).sum()) == 20
    line = "such as -0.003, are taken as missing on 1 dates: 20 values, most on S1A_20200301T051122"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("method", [Resampling.cubic, Resampling.average])
def test_overviews_with_impossible_power_are_not_used(method: Resampling, tmp_path: Path) -> None:
    """Bright points make cubic overviews negative; zeros are averaged into others."""
    fine = GRID.zoom_to((GRID.height * 8, GRID.width * 8))
    values = np.full(fine.shape, 0.01, dtype=np.float32)
    if method == Resampling.cubic:
        values[::40, ::40] = 1000.0
    else:
        values[:, : fine.width // 2 + 3] = 0.0
    write_raster(tmp_path / "s.tif", [values], fine, nodata=np.nan, tiled=True)
    with rasterio.open(tmp_path / "s.tif", "r+") as file:
        file.build_overviews([2, 4], method)
    found = 10.0 ** (read(tmp_path / "s.tif", "linear power", GRID.zoom_out(2)) / 10.0)
    blocks = values.reshape(GRID.height // 2, 16, GRID.width // 2, 16)
    count = (blocks > 0.0).sum(axis=(1, 3))
    truth = np.divide(
        blocks.sum(axis=(1, 3)), count, out=np.full(count.shape, np.nan), where=count > 0
    )
    np.testing.assert_allclose(found, truth, rtol=1e-3)


def test_cubic_resampling_never_gives_the_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cube's grid is shifted against bright points, so that cubic resampling undershoots."""
    for name, level in LEVELS.items():
        band = power(level)
        band[::10, ::10] = 1000.0
        write_raster(tmp_path / "in" / f"S1A_20200301T051122_{name}.tif", [band], GRID)
    options = IndexOptions(unit="linear power", quantity="gamma0")
    items = find_items([tmp_path / "in"], options)
    shifted = GRID.translate_pix(0.5, 0.5)
    build_cube(items, tmp_path / "c.zarr", shifted, CubeOptions(resampling="cubic"), Sources())
    found = open_cube(tmp_path / "c.zarr")["backscatter"].values
    assert np.nanmin(found) > -60.0
    assert np.isnan(found).any()
    assert "cubic resampling gave negative power at" in capsys.readouterr().err


# --- the check of older cubes ---------------------------------------------------------------------


def test_the_check_names_what_older_builds_stored(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A strip of each kind in one date, as builds wrote it that knew no marks."""
    names = [opera_name(f"202003{day + 1:02d}T154005") for day in range(6)]
    rng = np.random.default_rng(5)
    scenes = {name: 0.1 * rng.gamma(4.4, 1 / 4.4, (2, *GRID.shape)) for name in names}
    items = find_items([scene_folder(scenes)], IndexOptions())
    build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())
    assert not [line for line in check_cube(tmp_path / "cube.zarr").warnings if "contain" in line]
    store = zarr.open_group(tmp_path / "cube.zarr", mode="r+", use_consolidated=False)
    for step, value in enumerate((0, -8000, -32767, -6000, 6001)):
        image = store["backscatter"][step]
        image[:, :, :8] = value
        store["backscatter"][step] = image
    store["backscatter"][5] = 4500
    angles = np.full(store["incidence"].shape, 38.0, np.float32)
    angles[2] = 19.0 * 0.5
    store["incidence"][:] = angles
    warnings = check_cube(tmp_path / "cube.zarr").warnings
    for part in (
        "1 dates contain exactly 0 dB, far more often than values near it, such as 2020-03-01",
        "1 dates contain power of 0, stored as -80 dB, such as 2020-03-02T15:40:05 at 10 %",
        "1 dates contain values below -80 dB, such as -9999 gives, such as 2020-03-03T15:40:05",
        "1 dates contain backscatter below -50 dB, as of no ground, such as 2020-03-04T15:40:05",
        "1 dates contain backscatter over 60 dB, which is physically impossible, such as 2020",
        "incidence is below 18 degrees on 1 dates",
        "1 dates lie above 20 dB in the mean, as no ground does, such as 2020-03-06T15:40:05",
    ):
        assert any(line.startswith(part) for line in warnings), part


def test_smooth_values_around_0_db_are_no_warning(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A city: values within 1 dB of 0 dB, 0.4 % of them exactly 0.00 dB on disk."""
    rng = np.random.default_rng(6)
    scenes = {opera_name("20200301T154005"): 10.0 ** (rng.normal(0.0, 0.1, (2, *GRID.shape)))}
    items = find_items([scene_folder(scenes)], IndexOptions())
    build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())
    assert (open_cube(tmp_path / "cube.zarr")["backscatter"] == 0.0).any()
    assert not [line for line in check_cube(tmp_path / "cube.zarr").warnings if "0 dB" in line]


# --- the grid -------------------------------------------------------------------------------------


def planetary_item(folder: Path, **assets: dict[str, object]) -> pystac.Item:
    """An item of Planetary Computer's collection with two bands and other assets."""
    item = pystac.Item(
        "S1A_x",
        None,
        None,
        np.datetime64("2020-03-01T05:11:22").item(),
        {"platform": "SENTINEL-1A", "sat:orbit_state": "descending", "sat:relative_orbit": 80},
        collection="sentinel-1-rtc",
    )
    for key, fields in assets.items():
        item.add_asset(key, pystac.Asset(str(folder / f"{key}.tif"), extra_fields=fields))
    return item


def projection(grid: GeoBox) -> dict[str, object]:
    return {
        "proj:code": str(grid.crs),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
    }


@pytest.mark.parametrize("stated", ["band", "item", "nowhere"])
def test_other_assets_do_not_set_the_grid(stated: str, tmp_path: Path) -> None:
    """Neither a thumbnail in degrees nor a coarse raster of angles, stated before the bands."""
    for name, level in LEVELS.items():
        write_cog(tmp_path / f"{name.lower()}.tif", power(level), GRID)
    thumbnail = GeoBox((8, 8), Affine(0.1, 0.0, 27.0, 0.0, -0.1, 62.3), "EPSG:4326")
    own = projection(GRID) if stated == "band" else {}
    item = planetary_item(
        tmp_path,
        thumbnail=projection(thumbnail),
        incidence=projection(GRID.zoom_out(10)),
        vv=own,
        vh=own,
    )
    if stated == "item":
        item.properties |= projection(GRID)
    assert item_grid(normalise_item(item, scene_profiles())) == GRID


def test_items_on_disk_get_the_grid_of_their_rasters(tmp_path: Path) -> None:
    """Whatever grid the item itself states, as of a preview."""
    for name, level in LEVELS.items():
        write_cog(tmp_path / f"{name.lower()}.tif", power(level), GRID)
    item = planetary_item(tmp_path, vv={}, vh={})
    item.properties |= projection(GRID.zoom_out(10)) | {"proj:epsg": 4326}
    item.bbox = list(GRID.extent.to_crs("EPSG:4326").boundingbox.bbox)
    item.geometry = GRID.extent.to_crs("EPSG:4326").json
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict(transform_hrefs=False)))
    (found,) = find_items([tmp_path / "item.json"], IndexOptions())
    assert item_grid(found) == GRID
    assert make_grid(None, [found]).resolution == GRID.resolution


def test_a_band_overrides_the_grid_of_its_item(tmp_path: Path) -> None:
    """The fields of the item are those of another raster, with another kind of CRS field."""
    item = planetary_item(tmp_path, vv=projection(GRID), vh=projection(GRID))
    item.properties |= projection(GRID.zoom_out(10)) | {"proj:epsg": 4326, "proj:code": None}
    assert item_grid(normalise_item(item, scene_profiles())) == GRID


@pytest.mark.parametrize(
    ("fields", "stated"),
    [
        ({"raster:bands": [{"nodata": -5.5}]}, -5.5),
        ({"nodata": 3}, 3.0),
        ({"bands": [{"name": "vv", "nodata": "-5.5"}]}, -5.5),
        ({"raster:bands": [{"nodata": "nan"}]}, "nan"),
        ({"raster:bands": []}, None),
    ],
)
def test_an_item_may_state_the_value_of_missing_pixels(
    fields: dict[str, object], stated: float | str | None, tmp_path: Path
) -> None:
    """In the fields of STAC's raster extension or of STAC 1.1; the file declares none."""
    values = power(0.1)
    values[:7] = 3.0 if stated == 3.0 else np.nan if stated == "nan" else -5.5
    write_raster(tmp_path / "vv.tif", [values], GRID)
    item = normalise_item(planetary_item(tmp_path, vv=fields, vh=fields), scene_profiles())
    assert item.assets["vv"].extra_fields.get("nodata") == stated
    found = read(tmp_path / "vv.tif", "linear power", GRID, nodata=stated)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), np.arange(GRID.height) < 7)


def test_an_item_without_a_grid_and_without_rasters_is_one_line(tmp_path: Path) -> None:
    item = normalise_item(planetary_item(tmp_path, vv={}, vh={}), scene_profiles())
    with pytest.raises(SarcastError, match=r"S1A_x does not contain its grid .*vv\.tif does not"):
        item_grid(item)


@pytest.mark.parametrize(
    ("crs", "across", "down", "corner"),
    [
        ("EPSG:4326", 0.0002, 0.0001, (20.0, 60.0)),
        ("EPSG:4326", 0.0001, 0.0002, (20.00003, 60.00007)),
        ("EPSG:32635", 10.0, 14.0, (500_003.0, 6_900_005.0)),
    ],
)
def test_pixels_that_are_not_square_are_copied(
    crs: str,
    across: float,
    down: float,
    corner: tuple[float, float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every row and column of the scene is one of the cube."""
    grid = GeoBox(GRID.shape, Affine(across, 0.0, corner[0], 0.0, -down, corner[1]), crs)
    for name, level in LEVELS.items():
        write_cog(tmp_path / "in" / f"S1A_20200301T051122_{name}.tif", power(level), grid)
    words = ("--unit", "linear power", "--quantity", "gamma0", "--to", tmp_path / "cube.zarr")
    assert run("cube", tmp_path / "in", *words) == 0
    cube = open_cube(tmp_path / "cube.zarr")
    truth = 10.0 * np.log10(np.stack([power(level) for level in LEVELS.values()]))
    np.testing.assert_allclose(cube["backscatter"][0], truth, atol=0.0051)
    assert f"60 x 80 pixels of {across:g} x {down:g} in {crs}" in capsys.readouterr().err


def test_a_given_resolution_is_square(tmp_path: Path) -> None:
    grid = GeoBox(GRID.shape, Affine(10.0, 0.0, 500_000.0, 0.0, -20.0, 6_900_000.0), GRID.crs)
    for name, level in LEVELS.items():
        write_cog(tmp_path / f"S1A_20200301T051122_{name}.tif", power(level), grid)
    items = find_items([tmp_path], IndexOptions(unit="linear power", quantity="gamma0"))
    for resolution in (10.0, 20.0):
        made = make_grid(None, items, resolution=resolution)
        assert (made.resolution.x, made.resolution.y) == (resolution, -resolution)
        assert made.boundingbox.bbox == grid.boundingbox.bbox
    assert json.loads(json.dumps(items[0].properties["proj:shape"])) == list(grid.shape)
