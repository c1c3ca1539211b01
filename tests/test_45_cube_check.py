"""The check of a cube finds damages, outliers and shifts, and reports nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from scipy import ndimage

from conftest import opera_name
from sarcast.catalogue import FolderCatalogue
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.check.outliers import condition_warnings
from sarcast.cube.check.platforms import PlatformSeries, compare
from sarcast.cube.check.registration import MIN_CLEARNESS, Correlation
from sarcast.cube.check.report import check_cube
from sarcast.cube.check.statistics import read_block
from sarcast.cube.executor import WorkerOptions
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.io.grid import make_grid
from sarcast.io.rasters import grid_of
from sarcast.world.options import WorldOptions
from sarcast.world.writer import write_world

INJECTED_DB = 1.0
INJECTED_SHIFT = (-0.6, 0.8)


def structure(rng: np.random.Generator, size: int) -> np.ndarray:
    smooth = ndimage.gaussian_filter(rng.normal(size=(size, size)), 1.5)
    return 2.0 * smooth / smooth.std()


def speckle(rng: np.random.Generator, shape: tuple[int, ...], looks: float) -> np.ndarray:
    return 10.0 * np.log10(rng.gamma(looks, 1.0 / looks, shape))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.7), (2.5, 1.25), (-11.0, 6.5)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    ground = structure(rng, 160)
    moved = ndimage.shift(ground, shift, order=5)
    inside = np.s_[16:-16, 16:-16]
    correlation = Correlation(128)
    for _ in range(2):
        image, reference = (
            raster[inside] + speckle(rng, (128, 128), 25.0) for raster in (moved, ground)
        )
        correlation.add(image, reference)
    np.testing.assert_allclose(correlation.shift(), shift, atol=0.1)
    assert correlation.clearness() > MIN_CLEARNESS


def test_uncorrelated_images_have_no_clear_shift() -> None:
    rng = np.random.default_rng(1)
    correlation = Correlation(128)
    correlation.add(*speckle(rng, (2, 128, 128), 4.4))
    assert correlation.clearness() < MIN_CLEARNESS


def test_missing_pixels_do_not_shift() -> None:
    rng = np.random.default_rng(2)
    ground = structure(rng, 128)
    image, reference = (ground + speckle(rng, ground.shape, 25.0) for _ in range(2))
    image[:, :40] = np.nan
    correlation = Correlation(128)
    correlation.add(image, reference)
    np.testing.assert_allclose(correlation.shift(), (0.0, 0.0), atol=0.1)


def series(levels: dict[str, float], *, scatter_db: float, dates: int = 16) -> PlatformSeries:
    """Two platforms in turn, every six days; half of the ground changes from date to date."""
    rng = np.random.default_rng(3)
    names = list(levels)
    platforms = [names[n % len(names)] for n in range(dates)]
    fields = np.empty((dates, 2, 100))
    for index, name in enumerate(platforms):
        fields[index] = -12.0 + levels[name] + scatter_db * rng.normal()
        fields[index] += rng.normal(0.0, [0.05] * 50 + [3.0] * 50, (2, 100))
    times = np.datetime64("2025-05-01") + 6 * np.arange(dates) * np.timedelta64(1, "D")
    return PlatformSeries(times, platforms, [("ascending", 58)] * dates, fields)


def flat_images(dates: np.ndarray) -> list[np.ndarray]:
    return [np.zeros((2, 32, 32))]


def test_a_level_is_found_over_unchanged_ground() -> None:
    two = series({"sentinel-1a": 0.0, "sentinel-1c": 0.4}, scatter_db=0.05)
    (found,) = compare(two, flat_images)
    assert (found.platform, found.reference) == ("sentinel-1c", "sentinel-1a")
    np.testing.assert_allclose(found.level_db, 0.4, atol=0.08)
    assert found.level_differs
    assert found.shift is None


def test_a_small_level_and_an_uncertain_one_are_no_warning() -> None:
    (small,) = compare(series({"a": 0.0, "b": 0.2}, scatter_db=0.05), flat_images)
    assert not small.level_differs
    (wild,) = compare(series({"a": 0.0, "b": 0.5}, scatter_db=3.0), flat_images)
    assert min(wild.error_db) > 0.4
    assert not wild.level_differs
    (few,) = compare(series({"a": 0.0, "b": 5.0}, scatter_db=0.0, dates=4), flat_images)
    assert np.isnan(few.level_db).all()


def test_other_views_and_far_dates_are_not_compared() -> None:
    two = series({"a": 0.0, "b": 5.0}, scatter_db=0.0)
    views = [("ascending", 58 + (name == "b")) for name in two.platforms]
    assert compare(PlatformSeries(two.times, two.platforms, views, two.fields), flat_images) == ()
    later = two.times + np.where(np.array(two.platforms) == "b", 400, 0) * np.timedelta64(1, "D")
    far = PlatformSeries(later, two.platforms, two.views, two.fields)
    assert compare(far, flat_images)[0].dates == 0


def test_statistics_of_a_block_equal_those_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    packed = rng.integers(-2500, 500, (1, 2, 50, 30)).astype(np.int16)
    packed[0, 1, :20] = -32768
    zarr.create_array(tmp_path / "backscatter", data=packed)
    found, cells = read_block(tmp_path, 0, (slice(0, 50), slice(0, 30)), 16)
    truth = np.where(packed[0] == -32768, np.nan, packed[0] * 0.01)
    np.testing.assert_array_equal(found.count, [1500, 900])
    np.testing.assert_allclose(found.mean_db, np.nanmean(truth, axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.spread_db, np.nanstd(truth, axis=(1, 2)), rtol=1e-5)
    assert cells.shape == (2, 4, 2)
    np.testing.assert_allclose(cells[0, 3, 1], truth[0, 48:, 16:].mean(), rtol=1e-5)
    assert np.isnan(cells[1, 0]).all()
    np.testing.assert_allclose(cells[1, 1, 0], np.nanmean(truth[1, 16:32, :16]), rtol=1e-5)


# --- a world's cube -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "world"
    options = WorldOptions(
        size_km=1.28, tracks=1, start="2020-05-01", end="2020-08-20", preset="temperate"
    )
    folder.mkdir()
    write_world(folder, options, seed=0)
    return folder


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """The cube of the world as it is."""
    return cube_of(world)


def cube_of(world: Path) -> Path:
    items = FolderCatalogue(world).search()
    sources = Sources(dem=(world / "dem.tif",), weather=(world / "weather.nc",))
    grid = make_grid(None, items)
    build_cube(items, world.parent / f"{world.name}.zarr", grid, CubeOptions(), sources)
    return world.parent / f"{world.name}.zarr"


def test_a_world_has_no_fault_and_only_its_wettest_date_is_an_outlier(whole: Path) -> None:
    """2020-07-26 follows a day of 10.9 mm, the wettest day before any date."""
    report = check_cube(whole, workers=WorkerOptions(workers=2))
    assert report.faults == ()
    (line,) = report.warnings
    assert line.startswith("2020-07-26T17:00:02 lies +")
    cube = open_cube(whole)
    rain = cube["precipitation"].isel(lag=1).mean(("cy", "cx"))
    assert str(cube["time"].values[int(rain.values.argmax())]).startswith("2020-07-26")
    np.testing.assert_array_equal([date.time for date in report.dates], cube["time"])
    truth = cube["backscatter"].mean(("y", "x")).values
    np.testing.assert_allclose([date.mean_db for date in report.dates], truth, atol=1e-3)
    (found,) = report.platforms
    assert found.shift is not None
    np.testing.assert_allclose(found.shift, (0.0, 0.0), atol=0.15)


def test_an_injected_offset_and_shift_are_found(world: Path, whole: Path) -> None:
    """Sentinel-1B is made 1 dB brighter, and its rasters are shifted by a fraction of a pixel."""
    changed = world.parent / "changed"
    shutil.copytree(world, changed)
    down, right = INJECTED_SHIFT
    for item in FolderCatalogue(changed).search():
        if item.properties["platform"] == "sentinel-1b":
            for key in ("vv", "vh"):
                path = Path(item.assets[key].href)
                with rasterio.open(path) as source:
                    values = source.read(1) * np.float32(10.0 ** (INJECTED_DB / 10.0))
                write_cog(path, values, grid_of(path).translate_pix(right, down))
    (before,) = check_cube(whole).platforms
    report = check_cube(cube_of(changed))
    (after,) = report.platforms
    raised = np.subtract(after.level_db, before.level_db)
    np.testing.assert_allclose(raised, INJECTED_DB, atol=0.1)
    assert before.shift is not None and after.shift is not None
    moved = np.subtract(after.shift, before.shift)
    np.testing.assert_allclose(moved, INJECTED_SHIFT, atol=0.15)
    assert not before.level_differs
    assert not before.is_shifted
    level, shift = (line for line in report.warnings if "of its view" not in line)
    assert "sentinel-1b differs from sentinel-1a by +1" in level
    assert "sentinel-1b is shifted against sentinel-1a by -0." in shift


# --- damages --------------------------------------------------------------------------------------


@pytest.fixture
def small(scene_folder: Callable[..., Path], tmp_path: Path, grid: GeoBox) -> Path:
    """A cube of six dates, one file of backscatter each."""
    rng = np.random.default_rng(5)
    scenes = {
        opera_name(f"202003{day + 1:02d}T154005"): 0.1 * rng.gamma(4.4, 1 / 4.4, (2, *grid.shape))
        for day in range(6)
    }
    items = list(find_items([scene_folder(scenes)], IndexOptions()))
    build_cube(items, tmp_path / "cube.zarr", grid, CubeOptions(), Sources())
    return tmp_path / "cube.zarr"


def image(store: Path, step: int) -> Path:
    return store / "backscatter" / "c" / str(step) / "0" / "0" / "0"


def test_a_garbled_chunk_is_reported(small: Path) -> None:
    content = bytearray(image(small, 2).read_bytes())
    content[100:4000] = bytes(3900)
    image(small, 2).write_bytes(content)
    (fault,) = check_cube(small).faults
    assert fault.startswith("backscatter of 2020-03-03T15:40:05 cannot be read in rows 0 to 59")
    cube = open_cube(small)
    assert np.isfinite(cube["backscatter"][1].values).all()
    with pytest.raises(SarcastError, match=r"is damaged: backscatter cannot be read .*--check"):
        _ = cube["backscatter"][2].values


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_a_single_changed_byte_is_found(small: Path, share: float) -> None:
    content = bytearray(image(small, 1).read_bytes())
    content[int(share * len(content))] ^= 0x55
    image(small, 1).write_bytes(content)
    (fault,) = check_cube(small).faults
    assert fault.startswith("backscatter of 2020-03-02T15:40:05 cannot be read")


def test_a_truncated_chunk_is_reported(small: Path) -> None:
    image(small, 0).write_bytes(image(small, 0).read_bytes()[:1000])
    assert len(check_cube(small).faults) == 1
    with pytest.raises(SarcastError, match="is damaged"):
        open_cube(small).load()


def test_a_deleted_chunk_is_reported(small: Path) -> None:
    image(small, 4).unlink()
    (fault,) = check_cube(small).faults
    assert fault == ("backscatter has lost 1 of its files, on 1 dates (2020-03-05T15:40:05 first)")


@pytest.mark.parametrize("name", ["time", "platform", "scene_id", "x"])
def test_a_garbled_coordinate_is_one_line(small: Path, name: str) -> None:
    for path in (small / name / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\x28\xb5\x2f\xfd garbled")
    with pytest.raises(SarcastError, match=r"cube\.zarr is damaged: \w+"):
        check_cube(small)


def test_garbled_conditions_are_a_fault(small: Path) -> None:
    array = zarr.open_group(small, mode="r+", use_consolidated=False)["incidence"]
    array[:] = 38.0
    next(p for p in (small / "incidence" / "c").rglob("*") if p.is_file()).write_bytes(b"garbled")
    (fault,) = check_cube(small).faults
    assert "incidence cannot be read" in fault


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3}', '{"a": null}'])
def test_garbled_metadata_is_one_line(small: Path, text: str) -> None:
    (small / "zarr.json").write_text(text)
    with pytest.raises(SarcastError, match="is a damaged cube: its zarr.json cannot be read"):
        check_cube(small)


def test_the_schema_is_checked(small: Path) -> None:
    store = zarr.open_group(small, mode="r+", use_consolidated=False)
    store["backscatter"].attrs["units"] = "linear power"
    del store["snow_depth"]
    with pytest.warns(zarr.errors.ZarrUserWarning, match="Consolidated"):
        zarr.consolidate_metadata(small)
    found = check_cube(small).faults
    assert found == (
        "zarr.json is not as sarcast wrote it: what it states was changed",
        "backscatter has units 'linear power', not 'dB'",
        "snow_depth is missing",
    )


def test_unusual_dates_are_warnings(
    scene_folder: Callable[..., Path], tmp_path: Path, grid: GeoBox
) -> None:
    """Twelve dates six days apart, a gap of 90 days, one date ten times as bright, one empty."""
    rng = np.random.default_rng(6)
    days = np.datetime64("2020-01-01") + np.array([*range(0, 72, 6), 156]) * np.timedelta64(1, "D")
    scenes = {
        opera_name(str(day).replace("-", "") + "T154005"): 0.1
        * rng.gamma(4.4, 1 / 4.4, (2, *grid.shape))
        for day in days
    }
    names = list(scenes)
    scenes[names[3]] *= 10.0
    items = list(find_items([scene_folder(scenes)], IndexOptions()))
    for band in ("VV", "VH"):
        path = next(tmp_path.glob(f"scenes/{names[7]}_{band}.tif"))
        write_cog(path, np.full(grid.shape, np.nan, np.float32), grid)
    build_cube(items, tmp_path / "cube.zarr", grid, CubeOptions(), Sources())
    warnings = check_cube(tmp_path / "cube.zarr").warnings
    assert [line for line in warnings if "no acquisition" in line] == [
        "no acquisition for 90 days from 2020-03-07T15:40:05 to 2020-06-05T15:40:05, "
        "where 6 days are usual"
    ]
    assert [line.split(" in the")[0] for line in warnings if "of its view" in line] == [
        "2020-01-19T15:40:05 lies +10.0, +10.0 dB"
    ]
    assert "2020-02-12T15:40:05 covers 0.0 % of the area" in warnings
    assert "temperature is missing on 13 of 13 dates" in warnings


def test_conditions_missing_everywhere_and_in_part() -> None:
    """Of three dates the first lacks all cells, the second one cell, the third none."""
    values = np.full((3, 2, 2), 38.0)
    values[0], values[1, 0, 0] = np.nan, np.nan
    names = ("temperature", "snow_depth", "precipitation", "incidence")
    cube = xr.Dataset({name: (("time", "cy", "cx"), values) for name in names})
    cube["snow_depth"] = xr.full_like(cube["snow_depth"], 0.0)
    assert [line for line in condition_warnings(cube) if not line.startswith("prec")] == [
        "temperature is missing on 1 of 3 dates",
        "temperature is missing in part on 1 of 3 dates",
        "incidence is missing on 1 of 3 dates",
        "incidence is missing in part on 1 of 3 dates",
    ]
