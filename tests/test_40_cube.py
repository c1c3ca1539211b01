import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from builds import start_build
from conftest import GRID, opera_name
from sarcast.cube import (
    CubeOptions,
    Sources,
    build_cube,
    moment_of,
    open_cube,
    time_index_of,
)
from sarcast.cube.check.report import check_cube
from sarcast.cube.metadata import is_half_created
from sarcast.cube.store import Store
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.scenes.acquisition import acquisitions
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.sensor.orbits import heading_deg
from small_weather import weather
from test_31_ingest import plane

Scenes = dict[str, np.ndarray]


def power(seed: int, shape: tuple[int, int] = GRID.shape) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (2, *shape))


def series(count: int) -> Scenes:
    return {opera_name(f"202003{day + 1:02d}T154005"): power(day) for day in range(count)}


def items_of(folder: Path) -> list:
    return list(find_items([folder], IndexOptions()))


def build(
    items: list, path: Path, sources: Sources | None = None, grid: GeoBox = GRID
) -> xr.Dataset:
    build_cube(items, path, grid, CubeOptions(), sources or Sources())
    return open_cube(path)


def arrays(path: Path) -> dict[str, str]:
    """Digest of every file of a store that holds data."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_power_is_stored_as_decibels(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    scenes = series(3)
    cube = build(items_of(scene_folder(scenes)), tmp_path / "cube.zarr")
    assert cube["backscatter"].dims == ("time", "band", "y", "x")
    assert cube["backscatter"].dtype == np.float32
    assert cube["backscatter"].attrs["units"] == "dB"
    assert cube.odc.geobox == GRID
    truth = 10.0 * np.log10(np.stack(list(scenes.values())))
    np.testing.assert_allclose(cube["backscatter"], truth, atol=0.0051)


def test_metadata_of_a_step(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    cube = build(items_of(scene_folder(series(2))), tmp_path / "cube.zarr")
    assert cube["scene_id"].values.tolist() == list(series(2))
    assert cube["platform"].values.tolist() == ["sentinel-1a"] * 2
    assert cube["orbit_direction"].values.tolist() == ["ascending"] * 2
    assert cube["relative_orbit"].values.tolist() == [58, 58]
    assert cube["quantity"].values.tolist() == ["gamma0"] * 2
    latitude = GRID.geographic_extent.centroid.coords[0][1]
    np.testing.assert_allclose(cube["heading"], heading_deg(latitude, "ascending"), atol=0.01)
    assert np.isnan(cube["incidence"]).all()
    assert np.isnan(cube["elevation"]).all()


def test_slices_of_one_pass_are_fused(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Upper and lower half come 3 s apart; the later slice wins where they overlap."""
    upper, lower = power(1), power(2)
    upper[:, 35:], lower[:, :25] = np.nan, np.nan
    names = [opera_name(f"20200301T15400{s}", burst=f"T058-12345{s}-IW2") for s in (5, 8)]
    cube = build(
        items_of(scene_folder(dict(zip(names, (upper, lower), strict=True)))), tmp_path / "c"
    )
    assert cube.sizes["time"] == 1
    assert cube["scene_id"].item() == "+".join(names)
    fused = np.where(np.isfinite(lower), lower, upper)
    np.testing.assert_allclose(cube["backscatter"][0], 10.0 * np.log10(fused), atol=0.0051)


def test_different_passes_are_different_steps(scene_folder: Callable[..., Path]) -> None:
    names = [
        opera_name("20200301T154005"),
        opera_name("20200301T154105", burst="T058-123499-IW1"),  # a minute on, the same pass
        opera_name("20200301T154205", "S1B"),
        opera_name("20200301T164105", burst="T058-123456-IW3"),
        opera_name("20200301T043005", burst="T080-123456-IW2"),
    ]
    found = acquisitions(items_of(scene_folder({name: power(0) for name in names})))
    assert [len(acquisition.items) for acquisition in found] == [1, 2, 1, 1]


def test_a_scene_in_another_zone_is_warped(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    bounds = GRID.pad(30).extent.to_crs("EPSG:32634").boundingbox
    other = GeoBox.from_bbox(bounds, "EPSG:32634", resolution=10.0)
    there = np.broadcast_to(plane(other) / 1000.0, (2, *other.shape))
    folder = scene_folder({opera_name("20200301T154005"): there}, other)
    cube = build(items_of(folder), tmp_path / "cube.zarr")
    truth = 10.0 * np.log10(plane(GRID) / 1000.0)
    np.testing.assert_allclose(cube["backscatter"][0, 0], truth, atol=0.02)


def test_terrain_cover_and_weather(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    write_cog(tmp_path / "dem.tif", plane(GRID), GRID)
    classes = np.full(GRID.shape, 10, dtype=np.uint8)
    classes[:, 40:] = 30
    write_cog(tmp_path / "cover.tif", classes, GRID, nodata=0)
    weather(tmp_path / "weather.nc")
    sources = Sources(*((tmp_path / name,) for name in ("dem.tif", "weather.nc", "cover.tif")))
    items = items_of(scene_folder(series(5)))
    cube = build(items, tmp_path / "cube.zarr", sources)
    np.testing.assert_array_equal(cube["elevation"], plane(GRID))
    np.testing.assert_array_equal(cube["forest"], classes == 10)
    assert cube["open_land"].dtype == bool
    np.testing.assert_array_equal(cube["precipitation"][4, :, 0, 0], [5, 4, 3, 2])
    assert cube["precipitation"].dims == ("time", "lag", "cy", "cx")
    late = build(items[:3], tmp_path / "late.zarr")
    assert np.isnan(late["temperature"]).all()
    late = build(items, tmp_path / "late.zarr", sources)
    for name in cube:
        np.testing.assert_array_equal(late[name], cube[name])


def test_a_cube_is_extended(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    """By later dates, then by earlier ones: equal to a cube built at once, and sorted by time."""
    items = items_of(scene_folder(series(5)))
    whole = build(items, tmp_path / "whole.zarr")
    for some in (items[2:4], items[2:], items):
        extended = build(some, tmp_path / "extended.zarr")
        assert extended.sizes["time"] == len(some)
    assert (np.diff(extended["time"].values.astype(np.int64)) > 0).all()
    for name in (*whole, *whole.coords):
        np.testing.assert_array_equal(extended[name], whole[name])


def test_a_window_of_five_dates_reads_few_objects(tmp_path: Path) -> None:
    """A file has up to 2048 x 2048 pixels of both bands of one date."""
    grid = GeoBox((1100, 900), GRID.transform, GRID.crs)
    Store.open(tmp_path / "cube.zarr", grid, has_truth=False)
    array = zarr.open_array(tmp_path / "cube.zarr" / "backscatter")
    assert array.shards == (1, 2, 1280, 1024)
    assert array.chunks == (1, 2, 256, 256)


def test_values_read_by_lists_and_by_slices_are_those_of_the_store(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    names = [opera_name(f"202103{day:02d}T040000") for day in (1, 7, 13, 19)]
    power = rng.uniform(0.01, 1.0, (len(names), 2, *GRID.shape))
    power[..., 4, 20] = np.nan
    scenes = scene_folder(dict(zip(names, power, strict=True)))
    cube = build(items_of(scenes), tmp_path / "cube")
    packed = zarr.open_array(tmp_path / "cube" / "backscatter", mode="r")[:]
    assert (packed[..., 4, 20] == -32768).all()
    stored = np.where(packed == -32768, np.nan, packed * np.float32(0.01)).astype("f4")
    image = cube["backscatter"].transpose("time", "band", "y", "x")
    rows, columns = [3, 4, 5, 9], [50, 20, 21]
    for times in ([0, 1, 2], [3, 1], [0, 2], [2], [-1, 0], []):
        for bands in ([0, 1], [1], [1, 0]):
            found = image.isel(time=times, band=bands, y=rows, x=columns)
            index = np.ix_(np.array(times, dtype=int), bands, rows, columns)
            np.testing.assert_array_equal(found.values, stored[index])
    np.testing.assert_array_equal(
        image.isel(time=2, y=slice(5, 40, 7)).values, stored[2, :, 5:40:7]
    )
    assert image.dtype == np.float32
    assert np.isnan(image.isel(time=1, band=0, y=4, x=20))
    assert image.isel(time=1, band=0, y=4, x=21) == stored[1, 0, 4, 21]


def test_another_grid_is_refused(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    items = items_of(scene_folder(series(1)))
    build(items, tmp_path / "cube.zarr")
    with pytest.raises(SarcastError, match="is a cube on another grid"):
        build(items, tmp_path / "cube.zarr", grid=GRID[:, :40])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(SarcastError, match="exists and is not a cube"):
        build(items, tmp_path / "other")


def test_an_area_outside_all_scenes(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    away = GeoBox((60, 80), Affine(10.0, 0, 600_000.0, 0, -10.0, 6_900_000.0), "EPSG:32635")
    with pytest.raises(SarcastError, match=r"no scene touches the area \(west 28\.\d+, south 62"):
        build(items_of(scene_folder(series(1))), tmp_path / "cube.zarr", grid=away)
    assert not (tmp_path / "cube.zarr").exists()


def test_a_file_truncated_after_it_was_indexed(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = scene_folder(series(2))
    items = items_of(folder)
    path = next(folder.glob("*20200302*VH.tif"))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(SarcastError, match=r"20200302.*VH\.tif cannot be read"):
        build(items, tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").sizes["time"] == 1


def test_another_unit_than_declared(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = scene_folder(series(1))
    items = items_of(folder)
    for path in folder.glob("*.tif"):
        write_cog(path, (10.0 * np.log10(power(0)[0])).astype(np.float32), GRID)
    with pytest.raises(SarcastError, match=r"is declared in linear power, but .* dB"):
        build(items, tmp_path / "cube.zarr")


def test_a_build_killed_ten_times_resumes(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGKILL at random times; in the end every file equals that of an uninterrupted build."""
    folder = scene_folder(series(12))
    whole, killed = tmp_path / "whole.zarr", tmp_path / "killed.zarr"
    start_build(folder, whole).join()
    rng = np.random.default_rng(0)
    steps = 0
    for number in range(10):
        process = start_build(folder, killed)
        while process.is_alive() and len(list(killed.glob("backscatter/c/*"))) <= number:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.join()
        if not is_half_created(killed):
            cube = open_cube(killed)
            assert np.isfinite(cube["backscatter"]).all()
            assert cube.sizes["time"] >= steps
            steps = cube.sizes["time"]
    start_build(folder, killed).join()
    assert arrays(killed) == arrays(whole)
    assert open_cube(killed).sizes["time"] == 12


@pytest.mark.parametrize("files", [0, 1, 2, 5, 20])
def test_a_build_killed_while_it_creates_the_store(
    files: int, scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A store with only its first files cannot be opened, and the build resumes."""
    items = items_of(scene_folder(series(1)))
    whole = build(items, tmp_path / "whole.zarr")
    Store.open(tmp_path / "cube.zarr", GRID, has_truth=False)
    metadata = json.loads((tmp_path / "cube.zarr" / "zarr.json").read_text())
    del metadata["consolidated_metadata"]
    written = sorted(
        (p for p in (tmp_path / "cube.zarr").rglob("*") if p.is_file()),
        key=lambda path: (len(path.parts), path),
    )
    for path in written[files:]:
        path.unlink()
    for folder in (tmp_path / "cube.zarr").iterdir():
        if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder)
    (tmp_path / "cube.zarr" / "zarr.0123.partial").write_text("{")
    if files:
        (tmp_path / "cube.zarr" / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(SarcastError, match="is empty: its build was stopped"):
            open_cube(tmp_path / "cube.zarr")
    xr.testing.assert_identical(build(items, tmp_path / "cube.zarr").load(), whole.load())
    assert arrays(tmp_path / "cube.zarr") == arrays(tmp_path / "whole.zarr")


def test_a_half_written_step_is_not_data(
    scene_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(scene_folder(series(3)))
    whole = build(items, tmp_path / "whole.zarr")
    commit, calls = Store.commit, []

    def stop_before_third(store: Store) -> None:
        calls.append(store)
        if len(calls) == 3:
            raise KeyboardInterrupt
        commit(store)

    monkeypatch.setattr(Store, "commit", stop_before_third)
    with pytest.raises(KeyboardInterrupt):
        build(items, tmp_path / "cube.zarr")
    monkeypatch.undo()
    assert open_cube(tmp_path / "cube.zarr").sizes["time"] == 1
    cube = build(items, tmp_path / "cube.zarr")
    xr.testing.assert_identical(cube.load(), whole.load())


def test_a_path_without_a_cube(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="is not a cube; build one with: sarcast cube"):
        open_cube(tmp_path / "nowhere")


def test_dates_are_found_by_text(scene_folder: Callable[..., Path], tmp_path: Path) -> None:
    scenes = {opera_name("20200301T043005", "S1B"): power(0), **series(3)}
    cube = build(items_of(scene_folder(scenes)), tmp_path / "cube.zarr")
    assert time_index_of(cube, "2020-03-02") == 2
    assert time_index_of(cube, "2020-03-01T15:40:05") == 1
    with pytest.raises(SarcastError, match="nearest is 2020-03-03T15:40:05"):
        time_index_of(cube, "2020-03-09")
    with pytest.raises(SarcastError, match="has 2 acquisitions at 2020-03-01; name one of"):
        time_index_of(cube, "2020-03-01")
    with pytest.raises(UsageError, match="'spring' is not a date"):
        time_index_of(cube, "spring")


def test_the_last_second_of_a_date() -> None:
    assert str(moment_of("2023-12-31")) == "2023-12-31T00:00:00"
    assert str(moment_of("2023-12-31", last=True)) == "2023-12-31T23:59:59"
    assert str(moment_of("2023", last=True)) == "2023-12-31T23:59:59"
    for moment in ("2023-12-31T05:55:21", "2023-12-31T05:55:21.500000000"):
        for last in (False, True):
            assert moment_of(moment, last=last) == np.datetime64(moment)


def test_a_real_burst(data_dir: Path, tmp_path: Path) -> None:
    """On the grid of the scenes the pixels of the source are kept."""
    import rasterio

    paths = sorted((data_dir / "opera-rtc-s1").glob("*T137-292321-IW2_2021*"))
    items = list(find_items(paths, IndexOptions()))
    with rasterio.open(paths[0]) as source:
        grid = GeoBox(source.shape, source.transform, source.crs)
    cube = build(items, tmp_path / "cube.zarr", grid=grid)
    assert cube.sizes == {"time": 6, "band": 2, "y": 100, "x": 100, "lag": 4, "cy": 4, "cx": 4}
    for index, item in enumerate(items):
        for band in ("VV", "VH"):
            with rasterio.open(item.assets[band.lower()].href) as source:
                truth = 10.0 * np.log10(source.read(1))
            stored = cube["backscatter"][index].sel(band=band)
            np.testing.assert_allclose(stored, truth, atol=0.0051)


def test_a_build_without_a_step_leaves_no_store(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    write_cog(
        tmp_path / "far.tif", np.ones((9, 9), np.float32), GRID.translate_pix(10**5, 0)[:9, :9]
    )
    items = items_of(scene_folder(series(1)))
    with pytest.raises(SarcastError, match="does not cover any of the area"):
        build(items, tmp_path / "cube.zarr", Sources(dem=(tmp_path / "far.tif",)))
    assert not (tmp_path / "cube.zarr").exists()


def test_a_cube_without_consolidated_metadata(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    scenes, path = items_of(scene_folder(series(1))), tmp_path / "cube.zarr"
    build(scenes, path)
    metadata = json.loads((path / "zarr.json").read_text())
    del metadata["consolidated_metadata"]
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(SarcastError, match="zarr.json does not list its arrays"):
        build(scenes, path)


def test_files_that_a_cube_has_lost_are_faults(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    build(items_of(scene_folder(series(2))), tmp_path / "cube.zarr")
    shutil.rmtree(tmp_path / "cube.zarr" / "temperature")
    assert check_cube(tmp_path / "cube.zarr").faults == ("temperature has lost its files",)
    shutil.rmtree(tmp_path / "cube.zarr" / "time" / "c")
    with pytest.raises(SarcastError, match=r"time is stated to have the shape \[2\], but values"):
        check_cube(tmp_path / "cube.zarr")
