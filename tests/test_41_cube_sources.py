"""Sources of a cube: overlapping slices, versions, units, missing files, and the workers."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import dask
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from conftest import GRID, opera_name
from sarcast.catalogue.scene import BANDS
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, block, build_cube, open_cube
from sarcast.cube.block import block_slices
from sarcast.cube.executor import WorkerOptions, start_workers
from sarcast.cube.schema import MISSING, pack
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import newest_versions
from sarcast.ingest.scenes.fuse import Layer, Overlap, read_fused, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.weather import Weather
from sarcast.io.cogs import write_cog
from sarcast.io.rasters import has_data, open_raster, read_sample
from sarcast.io.remote import RemoteOptions
from sarcast.io.warp import warp_onto
from small_weather import weather as daily_weather
from test_31_ingest import set_scaling

REMOTE = RemoteOptions()
ELSEWHERE = GeoBox.from_bbox(
    GRID.pad(40).extent.to_crs("EPSG:32634").boundingbox, "EPSG:32634", resolution=10.0
)


def power(seed: int, shape: tuple[int, int] = GRID.shape) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (2, *shape))).astype(np.float32)


def items_of(folder: Path) -> list[pystac.Item]:
    return list(find_items([folder], IndexOptions()))


def build(items: list[pystac.Item], path: Path, **more: object) -> xr.Dataset:
    options = CubeOptions(allow_missing=bool(more.pop("allow_missing", False)))
    build_cube(items, path, GRID, options, Sources(), **more)  # type: ignore[arg-type]
    return open_cube(path)


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


# --- slices ---------------------------------------------------------------------------------------


def test_the_later_of_two_slices_is_used_and_reported(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second slice is 3 dB brighter, and covers the lower 35 of 60 rows."""
    first = power(1)
    second = first * np.float32(10.0**0.3)
    first[:, 35:], second[:, :25] = np.nan, np.nan
    names = [opera_name(f"20200301T15400{s}", burst=f"T058-12345{s}-IW2") for s in (5, 8)]
    cube = build(
        items_of(scene_folder(dict(zip(names, (first, second), strict=True)))), tmp_path / "c"
    )
    fused = 10.0 * np.log10(np.where(np.isfinite(second), second, first))
    np.testing.assert_allclose(cube["backscatter"][0], fused, atol=0.0051)
    assert (
        "slices of 1 dates overlap with different values, by up to 3.0 dB at 100.0 % of the pixels "
        "that both cover; the later slice is used"
    ) in capsys.readouterr().err


def test_slices_that_agree_are_not_reported(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [opera_name(f"20200301T15400{s}", burst=f"T058-12345{s}-IW2") for s in (5, 8)]
    build(items_of(scene_folder(dict.fromkeys(names, power(1)))), tmp_path / "c")
    assert "overlap" not in capsys.readouterr().err


def test_overlaps_add_up() -> None:
    total = Overlap(10, 2, 1.5) + Overlap() + Overlap(5, 5, 0.5)
    assert total == Overlap(15, 7, 1.5)


def test_the_newest_version_is_used_and_reported(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reprocessed a year later: used by a new cube, and by one that had the older version."""
    old = opera_name("20200301T154005")
    new = old.replace("20250101T000000Z", "20260101T000000Z")
    items = items_of(scene_folder({old: power(1), new: power(2)}))
    cube = build(items, tmp_path / "cube.zarr")
    assert cube["scene_id"].values.tolist() == [new]
    output = capsys.readouterr().err
    assert f"1 slice has more than one version; the newest is used: {new} instead of" in output
    extended = build(items[:1], tmp_path / "extended.zarr")
    assert extended["scene_id"].values.tolist() == [old]
    extended = build(items, tmp_path / "extended.zarr")
    assert extended["scene_id"].values.tolist() == [new]
    np.testing.assert_array_equal(extended["backscatter"], cube["backscatter"])
    assert build(items[:1], tmp_path / "extended.zarr")["scene_id"].values.tolist() == [new]


def test_the_newest_version_is_recognised(scene_folder: Callable[..., Path]) -> None:
    """By the processing date of the items; other positions, bands or times are no versions."""
    (item,) = items_of(scene_folder({opera_name("20200301T154005"): power(1)}))

    def other(name: str, **more: object) -> pystac.Item:
        copy = item.clone()
        copy.id = name
        copy.properties.update(more)
        return copy

    late, early = other("a", created="2025-03-01"), other("b", created="2025-02-01")
    assert [item.id for item in newest_versions([early, late])] == ["a"]
    assert [item.id for item in newest_versions([other("b"), late])] == ["a"]
    moved = other("moved")
    moved.bbox = [corner + 0.5 for corner in item.bbox or []]
    later = other("later")
    later.datetime = item.datetime + timedelta(seconds=2)  # type: ignore[operator]
    single = other("single")
    del single.assets["vh"]
    twins = [other("s1b", platform="sentinel-1b"), moved, later, single, item]
    assert len(newest_versions(twins)) == 5


def test_a_further_slice_rewrites_the_acquisition(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A pass whose second slice arrives later stays one date."""
    upper, lower = power(1), power(2)
    upper[:, 30:], lower[:, :30] = np.nan, np.nan
    names = [opera_name(f"20200301T15400{s}", burst=f"T058-12345{s}-IW2") for s in (5, 8)]
    items = items_of(scene_folder(dict(zip(names, (upper, lower), strict=True))))
    build(items[1:], tmp_path / "cube.zarr")
    cube = build(items, tmp_path / "cube.zarr")
    assert cube["scene_id"].values.tolist() == ["+".join(names)]
    assert np.isfinite(cube["backscatter"]).all()


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [GRID, GRID.translate_pix(0.3, -0.4), ELSEWHERE])
def test_blocks_equal_the_whole(grid: GeoBox, tmp_path: Path) -> None:
    ramp = np.add(*np.indices(grid.shape)).astype(np.float32) / 1000.0 + 0.01
    write_cog(tmp_path / "vv.tif", ramp, grid)
    layer = Layer(str(tmp_path / "vv.tif"), 1, "linear power", "scene")
    whole, _ = read_fused([layer], GRID, "bilinear", REMOTE)
    pieces = np.full(GRID.shape, np.nan, dtype=np.float32)
    for slices in block_slices(GRID.shape, 32):
        pieces[slices], _ = read_fused([layer], GRID[slices], "bilinear", REMOTE)
    np.testing.assert_allclose(pieces, whole, atol=0.01)
    assert np.isfinite(whole).mean() > 0.95


def test_a_missing_pixel_changes_only_its_neighbours(tmp_path: Path) -> None:
    """Rasters without gaps are warped by a faster method, which gives the same values."""
    shifted = GRID.translate_pix(0.3, -0.4)
    values = power(3)[0]
    holed = values.copy()
    holed[20, 30] = np.nan
    warped = []
    for number, raster in enumerate((values, holed)):
        write_cog(tmp_path / f"{number}.tif", raster, shifted)
        with open_raster(tmp_path / f"{number}.tif") as source:
            warped.append(warp_onto(source, GRID, "bilinear"))
    far = np.ones(GRID.shape, dtype=bool)
    far[17:24, 27:34] = False
    np.testing.assert_allclose(warped[0][far], warped[1][far], rtol=1e-5)
    assert not np.array_equal(warped[0][~far], warped[1][~far])
    assert np.isnan(warped[1]).sum() <= 1  # four pixels use the gap, each with three others


def test_a_fine_raster_is_downsampled_as_it_is_read(tmp_path: Path) -> None:
    """Means of 16 x 16 fine pixels, compared with those of numpy."""
    fine = GRID.zoom_to((GRID.height * 16, GRID.width * 16))
    values = np.random.default_rng(4).uniform(1.0, 2.0, fine.shape).astype(np.float32)
    write_cog(tmp_path / "fine.tif", values, fine)
    with open_raster(tmp_path / "fine.tif") as source:
        coarse = warp_onto(source, GRID, "average")
    truth = values.reshape(GRID.height, 16, GRID.width, 16).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse, truth, atol=0.02)


@pytest.mark.parametrize("grid", [GRID, GRID.translate_pix(0.5, 0.5)])
def test_every_unit_gives_the_same_decibels(grid: GeoBox, tmp_path: Path) -> None:
    """Warped as power, whatever the file's unit: the mean of pixels is that of their powers."""
    values = power(5)[0]
    found = {}
    for unit, layer in {
        "linear power": values,
        "dB": 10.0 * np.log10(values),
        "amplitude": np.sqrt(values),
    }.items():
        write_cog(tmp_path / f"{unit}.tif", layer, grid)
        layer_of_unit = Layer(str(tmp_path / f"{unit}.tif"), 1, unit, "scene")
        found[unit], _ = read_fused([layer_of_unit], GRID, "bilinear", REMOTE)
    np.testing.assert_allclose(found["dB"], found["linear power"], atol=1e-3)
    np.testing.assert_allclose(found["amplitude"], found["linear power"], atol=1e-3)
    if grid == GRID:
        np.testing.assert_allclose(found["dB"], 10.0 * np.log10(values), atol=1e-4)


def test_nodata_of_a_file_and_of_its_item(tmp_path: Path) -> None:
    values = power(6)[0]
    values[:10] = -9999.0
    write_cog(tmp_path / "declared.tif", values, GRID, nodata=-9999.0)
    write_cog(tmp_path / "undeclared.tif", values, GRID, nodata=None)
    for name, nodata in (("declared", None), ("undeclared", -9999.0), ("undeclared", "-9999")):
        layer = Layer(str(tmp_path / f"{name}.tif"), 1, "linear power", "scene", nodata)
        found, _ = read_fused([layer], GRID, "bilinear", REMOTE)
        np.testing.assert_array_equal(np.isnan(found), values < 0.0)


def means(values: np.ndarray, side: int) -> np.ndarray:
    """Means of square blocks, NaN left out; those at the end may be smaller."""
    starts = [range(0, size, side) for size in values.shape]
    return np.array(
        [[np.nanmean(values[y : y + side, x : x + side]) for x in starts[1]] for y in starts[0]]
    )


@pytest.mark.parametrize("strip", [1, 700, 1 << 21])
@pytest.mark.parametrize("times", [4, 10, 16])
def test_a_fine_raster_is_downsampled_as_power(
    times: int, strip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every unit and strip size, also where a raster ends or has gaps within a pixel's block.

    Blocks of half a pixel of the grid are averaged, and the means are then warped.
    """
    monkeypatch.setattr("sarcast.io.warp._STRIP", strip)
    grid = GRID[:12, :9]
    fine = grid.zoom_to((12 * times, 9 * times))[: -times // 2, : 1 - times]
    values = power(7, fine.shape)[0]
    values[np.random.default_rng(7).uniform(size=fine.shape) < 0.1] = np.nan
    truth = 10.0 * np.log10(means(means(values, times // 2), 2))
    for unit, layer in {
        "linear power": values,
        "dB": 10.0 * np.log10(values),
        "amplitude": np.sqrt(values),
    }.items():
        path = tmp_path / f"{unit}.tif"
        write_cog(path, layer, fine, nodata=None)
        found, _ = read_fused([Layer(str(path), 1, unit, "scene")], grid, "average", REMOTE)
        np.testing.assert_allclose(found, truth, atol=1e-3)


def test_the_level_of_speckle_does_not_depend_on_unit_and_spacing(tmp_path: Path) -> None:
    """At 4.4 looks, means of decibels would be half a decibel too low, of amplitudes a quarter."""
    fine = GRID.zoom_to((GRID.height * 4, GRID.width * 4))
    values = power(8, fine.shape)[0]
    for unit, layer in {"dB": 10.0 * np.log10(values), "amplitude": np.sqrt(values)}.items():
        write_cog(tmp_path / f"{unit}.tif", layer, fine)
        layer_of_unit = Layer(str(tmp_path / f"{unit}.tif"), 1, unit, "scene")
        found, _ = read_fused([layer_of_unit], GRID, "bilinear", REMOTE)
        level = 10.0 * np.log10(np.mean(10.0 ** (found / 10.0)))
        assert level == pytest.approx(10.0 * np.log10(values.mean(dtype=float)), abs=0.02)


@pytest.mark.parametrize("unit", ["linear power", "degree"])
def test_nodata_that_only_an_item_declares_is_left_out_of_means(unit: str, tmp_path: Path) -> None:
    fine = GRID.zoom_to((GRID.height * 8, GRID.width * 8))
    level = 38.0 if unit == "degree" else 0.1
    values = np.full(fine.shape, level, dtype=np.float32)
    values[np.random.default_rng(9).uniform(size=fine.shape) < 0.2] = -9999.0
    values[:16] = -9999.0
    for name, nodata in (("declared", -9999.0), ("undeclared", None)):
        write_cog(tmp_path / f"{name}.tif", values, fine, nodata=nodata)
        layer = Layer(str(tmp_path / f"{name}.tif"), 1, unit, "scene", -9999.0)
        found = read_layer(layer, GRID, "average", REMOTE)
        assert np.isnan(found[:2]).all()
        np.testing.assert_allclose(found[2:], level, rtol=1e-5)


def test_overviews_of_linear_power_are_used(tmp_path: Path) -> None:
    """A raster of linear power with nodata: overviews that were set to 7 are read instead."""
    fine = GRID.zoom_to((GRID.height * 8, GRID.width * 8))
    path = tmp_path / "fine.tif"
    write_cog(path, np.full(fine.shape, 0.1, dtype=np.float32), fine)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    with rasterio.open(path, "r+", OVERVIEW_LEVEL=1, IGNORE_COG_LAYOUT_BREAK="YES") as overview:
        overview.write(np.full(overview.shape, 7.0, dtype=np.float32), 1)
    found = read_layer(Layer(str(path), 1, "linear power", "scene"), GRID, "average", REMOTE)
    np.testing.assert_array_equal(found, 7.0)


def test_a_bright_corner_has_the_unit_of_its_raster(tmp_path: Path) -> None:
    """Decibels over 0 in a corner of a block look like power; the whole band decides the unit."""
    decibels = np.full(GRID.shape, 1.0, dtype=np.float32)
    decibels[::5, ::5] = -12.0
    decibels[-12:, -12:] = 4.0
    bands = np.stack([np.full(GRID.shape, 0.1, dtype=np.float32), decibels])
    write_cog(tmp_path / "scene.tif", bands, GRID, nodata=None)
    layer = Layer(str(tmp_path / "scene.tif"), 2, "dB", "scene", 1.0)
    found, _ = read_fused([layer], GRID[-20:, -12:], "bilinear", REMOTE)
    truth = decibels[-20:, -12:]
    np.testing.assert_allclose(found, np.where(truth == 1.0, np.nan, truth), atol=1e-4)


def test_decibels_among_zeros_that_mark_missing_data(tmp_path: Path) -> None:
    """A swath that covers 3 % of its raster is indexed and built, whatever the block."""
    decibels = np.zeros((2, *GRID.shape), dtype=np.float32)
    decibels[:, :, :2] = 10.0 * np.log10(power(10)[:, :, :2])
    name = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031482_03A0B2_1B2C.tif"
    write_cog(tmp_path / name, decibels, GRID, bands=BANDS)
    (item,) = find_items([tmp_path], IndexOptions(unit="dB"))
    cube = build([item], tmp_path / "cube.zarr")
    np.testing.assert_allclose(cube["backscatter"][0, ..., :2], decibels[..., :2], atol=0.0051)


@pytest.mark.parametrize("declared", ["linear power", "amplitude", "dB"])
def test_another_unit_than_that_of_all_values_is_refused(declared: str, tmp_path: Path) -> None:
    values = power(11)[0] if declared == "dB" else 10.0 * np.log10(power(11)[0])
    actual = "linear power" if declared == "dB" else "dB"
    write_cog(tmp_path / "scene.tif", values, GRID)
    layer = Layer(str(tmp_path / "scene.tif"), 1, declared, "scene")
    line = f"scene is declared in {declared}, but its values are those of {actual}; index it again"
    with pytest.raises(SarcastError, match=line):
        read_fused([layer], GRID[20:, 20:], "bilinear", REMOTE)


@pytest.mark.parametrize("grid", [GRID, GRID.translate_pix(0.5, 0.5), GRID.zoom_out(8)])
@pytest.mark.parametrize(("unit", "scale"), [("dB", 0.01), ("linear power", 1e-4)])
def test_scale_and_offset_of_a_file_are_applied(
    unit: str, scale: float, grid: GeoBox, tmp_path: Path
) -> None:
    """Scaled integers, with 7 as nodata, equal the same values stored as floats."""
    values = power(12)[0]
    stored = np.round(((10.0 * np.log10(values) if unit == "dB" else values) + 0.5) / scale)
    holes = np.s_[:16, :16]
    values = (stored * scale - 0.5).astype(np.float32)
    stored[holes], values[holes] = 7, np.nan
    write_cog(tmp_path / "plain.tif", values, GRID)
    plain = Layer(str(tmp_path / "plain.tif"), 1, unit, "scene")
    truth = read_layer(plain, grid, "average", REMOTE)
    assert np.isnan(truth).any() and np.isfinite(truth).any()
    for name, nodata in (("declared", 7), ("undeclared", None)):
        path = tmp_path / f"{name}.tif"
        write_cog(path, stored.astype(np.int16), GRID, nodata=nodata)
        set_scaling(path, scale, -0.5)
        found = read_layer(Layer(str(path), 1, unit, "scene", 7.0), grid, "average", REMOTE)
        np.testing.assert_allclose(found, truth, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(read_sample(path, nodata=7.0), values, rtol=1e-5, atol=1e-6)


def test_a_raster_of_scaled_zeros_has_no_data(tmp_path: Path) -> None:
    """The third band is stored as 0, which its offset makes decibels."""
    path = tmp_path / "scene.tif"
    write_cog(path, np.stack([np.full(GRID.shape, n, np.int16) for n in (5, 6, 0)]), GRID, nodata=9)
    set_scaling(path, 2.0, -10.0)
    assert [has_data(path, band) for band in (1, 2, 3)] == [False, True, True]


def test_packing_loses_half_a_step() -> None:
    decibels = np.array([-80.0, -12.3456, 0.004, np.nan, 30.0], dtype=np.float32)
    packed = pack(decibels)
    assert packed.dtype == np.int16
    assert packed[3] == MISSING
    np.testing.assert_allclose(np.delete(packed, 3) / 100.0, np.delete(decibels, 3), atol=0.00501)


# --- missing files --------------------------------------------------------------------------------


def test_a_missing_file(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported; its date is left out if allowed, and added when the file is back."""
    names = [opera_name(f"2020030{day}T154005") for day in range(1, 8)]
    folder = scene_folder({name: power(day) for day, name in enumerate(names)})
    items = items_of(folder)
    whole = build(items, tmp_path / "whole.zarr").load()
    gone = folder / f"{names[1]}_VH.tif"
    kept = gone.read_bytes()
    gone.unlink()
    with pytest.raises(SarcastError, match=rf"{gone.name} cannot be read.*--allow-missing"):
        build(items, tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").sizes["time"] == 1
    capsys.readouterr()
    left = build(items, tmp_path / "cube.zarr", allow_missing=True)
    output = capsys.readouterr().err
    assert f"warning: 2020-03-02T15:40:05 is left out: {gone}" in output
    assert f"warning: 1 dates were left out ({names[1]} first)" in output
    assert left["scene_id"].values.tolist() == [names[0], *names[2:]]
    np.testing.assert_array_equal(
        left["backscatter"], whole["backscatter"].isel(time=[0, *range(2, 7)])
    )
    gone.write_bytes(kept)
    xr.testing.assert_identical(build(items, tmp_path / "cube.zarr").load(), whole)


def test_images_of_dates_that_were_left_out_are_deleted(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Images written ahead of a date that had to be left out are deleted."""
    folder = scene_folder({opera_name(f"2020030{day}T154005"): power(day) for day in range(1, 5)})
    items = items_of(folder)
    build(items[:2], tmp_path / "cube.zarr")
    images = tmp_path / "cube.zarr" / "backscatter" / "c"
    shutil.copytree(images / "1", images / "7")
    build(items, tmp_path / "cube.zarr")
    assert {path.name for path in images.iterdir()} == {"0", "1", "2", "3"}


def test_weather_is_read_once(
    scene_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stored dates and two to be added: the weather of each of the four is read once."""
    folder = scene_folder({opera_name(f"2020030{day}T154005"): power(day) for day in range(1, 5)})
    items = items_of(folder)
    daily_weather(tmp_path / "weather.nc")
    sources = Sources(weather=(tmp_path / "weather.nc",))
    build(items[2:], tmp_path / "cube.zarr")
    requested: list[np.datetime64] = []
    read = Weather.read

    def record(self: Weather, grid: GeoBox, dates: Sequence[np.datetime64]) -> xr.Dataset:
        requested.extend(dates)
        return read(self, grid, dates)

    monkeypatch.setattr(Weather, "read", record)
    build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), sources)
    assert [str(date)[:10] for date in requested] == [f"2020-03-0{day}" for day in (3, 4, 1, 2)]
    assert np.isfinite(open_cube(tmp_path / "cube.zarr")["temperature"]).all()


# --- workers --------------------------------------------------------------------------------------


@pytest.fixture
def scheduler() -> Iterator[str]:
    """A Dask cluster on loopback, with one worker of two threads."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_builds_the_same_cube(
    scheduler: str, scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    names = [opera_name(f"2020030{day}T154005") for day in range(1, 5)]
    folder = scene_folder({name: power(day) for day, name in enumerate(names)})
    items, cluster = items_of(folder), WorkerOptions(scheduler=scheduler)
    here = build(items, tmp_path / "here.zarr", workers=WorkerOptions(workers=1))
    there = build(items, tmp_path / "there.zarr", workers=cluster)
    xr.testing.assert_identical(there.load(), here.load())
    (folder / f"{names[1]}_VV.tif").unlink()
    with pytest.raises(SarcastError, match=rf"{names[1]}_VV\.tif cannot be read"):
        build(items, tmp_path / "third.zarr", workers=cluster)


def test_a_cluster_leaves_a_date_out_as_this_process_does(
    scheduler: str,
    scene_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks of later dates, at work when a date is left out, do not write over what follows."""
    names = [opera_name(f"2020030{day}T154005") for day in range(1, 6)]
    folder = scene_folder({name: power(day) for day, name in enumerate(names)})
    items = items_of(folder)
    (folder / f"{names[1]}_VV.tif").unlink()
    here = build(items, tmp_path / "here.zarr", allow_missing=True)
    process, late, begun, ended = block.process_block, names[2], tmp_path / "b", tmp_path / "e"

    def slowly(each: block.Block) -> block.BlockStatistics:
        """The first block of the date after the one that is left out takes long."""
        if late not in str(each.bands) or begun.exists():
            return process(each)
        begun.touch()
        time.sleep(1.0)
        statistics = process(each)
        ended.touch()
        return statistics

    monkeypatch.setattr(block, "process_block", slowly)
    cluster = WorkerOptions(scheduler=scheduler)
    there = build(items, tmp_path / "there.zarr", workers=cluster, allow_missing=True)
    while begun.exists() and not ended.exists():
        time.sleep(0.01)
    assert ended.exists()
    xr.testing.assert_identical(there.load(), here.load())


def work(folder: Path, name: str, seconds: float) -> str:
    """A task that says when it begins and when it has ended."""
    (folder / f"{name} begun").touch()
    time.sleep(seconds)
    (folder / f"{name} ended").touch()
    return name


@pytest.mark.parametrize("on_cluster", [False, True])
def test_cancelled_tasks_do_not_begin_and_those_at_work_are_awaited(
    on_cluster: bool, scheduler: str, tmp_path: Path
) -> None:
    options = WorkerOptions(scheduler=scheduler) if on_cluster else WorkerOptions(workers=2)
    with start_workers(options) as workers:
        tasks = [workers.submit(work, tmp_path, name, 0.5) for name in "abcdef"]
        while len([*tmp_path.glob("* begun")]) < 2:
            time.sleep(0.01)
        workers.cancel()
        ended = {path.name for path in tmp_path.glob("* ended")}
        assert ended == {path.name.replace("begun", "ended") for path in tmp_path.glob("* begun")}
        assert 2 <= len(ended) < len(tasks)
        assert workers.submit(work, tmp_path, "another", 0.0).result() == "another"
    assert {path.name for path in tmp_path.glob("* ended")} == ended | {"another ended"}


def test_tasks_that_outlast_the_wait_are_warned_of(
    scheduler: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start_workers(WorkerOptions(scheduler=scheduler)) as workers:
        workers.submit(work, tmp_path, "long", 1.0)
        while not (tmp_path / "long begun").exists():
            time.sleep(0.01)
        workers.cancel(0.1)
        assert not (tmp_path / "long ended").exists()
        assert "still at cancelled tasks after 0.1 s" in caplog.text


def test_no_scheduler_answers(
    scene_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sarcast.cube.executor.CONNECT_TIMEOUT_S", 0.5)
    folder = scene_folder({opera_name("20200301T154005"): power(0)})
    run("index", folder, "--to", tmp_path / "catalogue")
    for address in ("tcp://127.0.0.1:1", "here"):
        words = ("--to", tmp_path / "cube.zarr", "--scheduler", address)
        assert run("cube", tmp_path / "catalogue", *words) == 1
        assert f"no Dask scheduler answers at {address}" in capsys.readouterr().err
    assert dask.base.get_scheduler() is None  # other uses of Dask are not affected


# --- the command line -----------------------------------------------------------------------------


def test_one_command_builds_a_cube_from_rasters(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scene_folder({opera_name(f"2020030{day}T154005"): power(day) for day in range(1, 4)})
    to = tmp_path / "area.zarr"
    assert run("--quiet", "cube", folder, "--to", to, "--workers", 1) == 0
    assert open_cube(to).sizes["time"] == 3
    assert run("--quiet", "cube", tmp_path / "area-catalogue", "--to", tmp_path / "b.zarr") == 0
    xr.testing.assert_identical(open_cube(tmp_path / "b.zarr").load(), open_cube(to).load())
    capsys.readouterr()
    assert run("cube", tmp_path / "area-catalogue", "--to", to, "--unit", "dB") == 2
    assert "is a catalogue and specifies them" in capsys.readouterr().err


def test_scenes_of_a_folder_used_earlier_are_not_added(
    scene_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """The catalogue beside the cube keeps them; the cube has only what was requested for it."""
    wrong, right, later = (
        scene_folder({opera_name(f"2020030{day}T154005"): power(day)}).rename(tmp_path / f"{day}")
        for day in (1, 2, 3)
    )
    to = tmp_path / "area.zarr"
    assert run("--quiet", "cube", wrong, "--to", to) == 0
    shutil.rmtree(to)
    shutil.rmtree(wrong)
    for folder, days in ((right, ["2"]), (later, ["2", "3"])):
        assert run("--quiet", "cube", folder, "--to", to) == 0
        assert [str(time)[9:10] for time in open_cube(to)["time"].values] == days


def test_a_check_from_the_command_line(
    scene_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scene_folder({opera_name(f"2020030{day}T154005"): power(day) for day in range(1, 4)})
    to = tmp_path / "area.zarr"
    run("--quiet", "cube", folder, "--to", to)
    capsys.readouterr()
    assert run("cube", "--check", to) == 0
    output = capsys.readouterr()
    assert "2020-03-02 15:40  S1A  ascending  58     100.0 %" in output.out
    assert "warning: snow_depth is missing" in output.err
    assert f"{to}: no fault in 3 dates, 4 warnings" in output.err
    (to / "backscatter" / "c" / "1" / "0" / "0" / "0").unlink()
    assert run("cube", "--check", to) == 1
    assert "fault: backscatter has lost 1 of its files, on 1 dates" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a CATALOGUE and --to CUBE to build a cube, or --check CUBE"),
        (("somewhere",), "give a CATALOGUE and --to CUBE"),
        (("somewhere", "--check", "cube.zarr"), "leave out CATALOGUE and --to"),
        (("--check", "cube.zarr", "--to", "b"), "leave out CATALOGUE and --to"),
        (("somewhere", "--to", "b", "--workers", "0"), "--workers: "),
    ],
)
def test_invalid_command_lines(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cube", *words) == 2
    assert message in capsys.readouterr().err


def test_a_check_without_a_cube(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cube", "--check", tmp_path / "nowhere") == 1
    assert "nowhere is not a cube" in capsys.readouterr().err


@pytest.mark.parametrize("area", [(), ("--area", "27.002,62.227,27.01,62.23")])
def test_a_cube_is_extended_on_its_own_grid(
    scene_folder: Callable[..., Path], tmp_path: Path, area: tuple[str, ...]
) -> None:
    """By scenes on a shifted grid, without those that it was built from."""
    first = scene_folder({opera_name("20200301T154005"): power(0)}, name="first")
    moved = GRID.translate_pix(0.3, -0.4)
    second = scene_folder({opera_name("20200302T154005"): power(1)}, moved, name="second")
    to = tmp_path / "area.zarr"
    assert run("--quiet", "cube", first, "--to", to, *area) == 0
    before = open_cube(to).odc.geobox
    assert run("--quiet", "cube", second, "--to", to, *area) == 0
    after = open_cube(to)
    assert after.sizes["time"] == 2
    assert after.odc.geobox == before
