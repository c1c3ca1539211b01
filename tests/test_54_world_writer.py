"""A world written to files: their contents, and equal statistics with the stream."""

import dataclasses
import datetime as dt
import errno
import filecmp
import os
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import torch
import xarray as xr
from pydantic import ValidationError
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate

from sarcast.catalogue import FolderCatalogue
from sarcast.errors import SarcastError
from sarcast.ingest.weather import read_weather
from sarcast.sensor.units import to_db
from sarcast.world import WorldOptions, changes, writer
from sarcast.world.options import StreamOptions
from sarcast.world.stream import WindowStream
from sarcast.world.writer import make_area, render, write_changes, write_world

OPTIONS = WorldOptions(
    size_km=1.5, start=dt.date(2020, 5, 1), end=dt.date(2020, 5, 30), changes_per_km2=10.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, OPTIONS, seed=3)
    return folder


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def test_all_parts_are_written_and_every_raster_is_a_cog_on_a_utm_grid(folder):
    for name in ("dem.tif", "cover.tif", "weather.nc", "items.parquet"):
        assert (folder / name).is_file()
    rasters = sorted(folder.rglob("*.tif"))
    assert len(rasters) == 2 + 5 * 10
    for path in rasters:
        assert cog_validate(path, quiet=True)[0]
        with rasterio.open(path) as source:
            assert source.crs.to_epsg() == 32635
    with rasterio.open(folder / "dem.tif") as source:
        assert source.shape == (150, 150) and source.res == (10.0, 10.0)


def test_items_are_valid_and_describe_the_acquisition(folder):
    items = FolderCatalogue(folder).search()
    assert len(items) == 10
    passes = {item.properties["sat:orbit_state"] for item in items}
    assert passes == {"ascending", "descending"}
    assert {item.properties["platform"] for item in items} == {"sentinel-1a", "sentinel-1b"}
    for item in items:
        assert set(item.assets) == {"vv", "vh", "vv-expected", "vh-expected", "incidence"}
        assert item.assets["vv-expected"].roles == ["truth"]
        assert Path(item.assets["vv"].href).is_file()
        assert 29.0 < item.properties["view:incidence_angle"] < 46.1
    written = pystac.Item.from_file(folder / "scenes" / f"{items[0].id}.json")
    assert written.id == items[0].id
    assert (folder / "scenes" / written.assets["vv"].href).is_file()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    for seed, alike in ((3, True), (4, False)):
        other = tmp_path / str(seed)
        other.mkdir()
        write_world(other, OPTIONS, seed=seed)
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        there = [name for name in names if (other / name).is_file()]
        _, differ, _ = filecmp.cmpfiles(folder, other, there, shallow=False)
        if alike:
            assert sorted(there) == sorted(names) and differ == []
        else:
            assert {"dem.tif", "cover.tif", "weather.nc"} <= set(differ)


def test_truth_is_the_scene_without_speckle(folder):
    for path in sorted((folder / "truth").glob("*_VV.tif")):
        actual, truth = (to_db(read(folder / part / path.name)) for part in ("scenes", "truth"))
        assert abs(float(np.mean(actual - truth))) < 2.5
        assert 0.5 < float(np.std(actual - truth)) < 3.5
        assert np.isfinite(truth).all()


def test_weather_covers_the_area_with_three_days_before_the_first(folder):
    item = FolderCatalogue(folder).search()[0]
    from sarcast.catalogue.scene import grid_of

    grid = grid_of(Path(item.assets["incidence"].href))
    day = np.datetime64(item.datetime.replace(tzinfo=None))
    found = read_weather(folder / "weather.nc", grid, [day])
    assert not any(bool(values.isnull().any()) for values in found.values())
    with xr.open_dataset(folder / "weather.nc") as data:
        assert data["precipitation"].attrs["units"] == "mm day-1"
        assert (data["precipitation"].std(("y", "x")) > 0).any()


def test_changes_are_polygons_with_kind_and_date_where_the_ground_changed(folder):
    polygons = gpd.read_file(folder / "truth" / "changes.gpkg")
    assert len(polygons) >= 1 and polygons.crs.to_epsg() == 32635
    assert (polygons["area_m2"] > 0).all()
    assert all("2020-05-01" <= date <= "2020-05-30" for date in polygons["date"].astype(str))


def test_a_written_world_has_the_statistics_of_the_stream(tmp_path):
    means = []
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        options = OPTIONS.model_copy(
            update={"start": dt.date(2020, 7, 1), "end": dt.date(2020, 7, 13)}
        )
        write_world(folder, options, seed=seed)
        forest = read(folder / "cover.tif") == 10
        for path in (folder / "scenes").glob("*_VV.tif"):
            actual, truth = (to_db(read(folder / part / path.name)) for part in ("scenes", "truth"))
            means.append((actual[forest].mean(), (actual - truth)[forest].std()))
    stream = WindowStream(StreamOptions(preset="boreal", size=100, batch=32), seed=1)
    drawn = stream.draw(0)
    warm = (drawn.conditions[:, -1, 0] > 10.0) & (drawn.forest.sum((1, 2)) > 500)
    others = [
        (
            float(drawn.target[k, 0][drawn.forest[k]].mean()),
            float((drawn.target - drawn.expected)[k, 0][drawn.forest[k]].std()),
        )
        for k in torch.nonzero(warm)[:, 0].tolist()
    ]
    level, noise = np.mean(means, axis=0) - np.mean(others, axis=0)
    assert abs(level) < 0.5
    assert abs(noise) < 0.15


SHORT = OPTIONS.model_copy(update={"size_km": 0.8, "end": dt.date(2020, 5, 8)})


def write(folder: Path, **changed: object) -> dict[str, np.ndarray]:
    """Write a small world and return its backscatter by file name."""
    folder.mkdir()
    write_world(folder, SHORT.model_copy(update=changed), seed=3)
    return {path.name: read(path) for path in sorted((folder / "scenes").glob("*V?.tif"))}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return write(tmp_path_factory.mktemp("plain") / "world")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("quantity", "gamma0"),
        ("speckle_filter", "none"),
        ("speckle_filter", "refined-lee"),
        ("speckle_filter", "tv"),
        ("looks", 50.0),
        ("speckle_correlation", 0.0),
        ("jitter_px", 0.5),
        ("flattening", 1.0),
        ("strips", 1.0),
        ("preset", "temperate"),
        ("preset", "monsoon"),
        ("preset", "dryland"),
        ("preset", "random"),
        ("tracks", 1),
        ("spacing_m", 20.0),
    ],
)
def test_every_option_is_used(plain, tmp_path, option, value):
    found = write(tmp_path / "world", **{option: value})
    alike = found.keys() == plain.keys() and all(
        np.array_equal(found[name], plain[name], equal_nan=True) for name in plain
    )
    assert not alike
    missing = any(np.isnan(image).any() for image in found.values())
    assert missing == (option == "strips") or value == "random"


def test_the_given_share_of_acquisitions_exists():
    counts = []
    for share in (0.4, 1.0):
        changed = {"size_km": 0.5, "end": dt.date(2021, 4, 30), "available": share}
        with torch.inference_mode():
            area = make_area(
                OPTIONS.model_copy(update=changed), rng=torch.Generator().manual_seed(1)
            )
        counts.append(area.views.time.shape[1])
    assert counts[1] == 2 * 2 * 365 // 12 + 1  # two tracks, two satellites
    assert counts[0] / counts[1] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (4.0, 9), (10.0, 23)])
def test_the_given_number_of_changes_happens(tmp_path, rate, count):
    # over 2.25 km2 and a year; some affect no ground that they can change
    year = {"start": dt.date(2020, 1, 1), "end": dt.date(2020, 12, 31), "changes_per_km2": rate}
    with torch.inference_mode():
        area = make_area(OPTIONS.model_copy(update=year), rng=torch.Generator().manual_seed(1))
    assert area.world.changes.kind.shape[1] == count
    write_changes(tmp_path / "changes.gpkg", area)
    found = gpd.read_file(tmp_path / "changes.gpkg")
    assert 0.5 * count <= len(found) <= count


def test_polygons_are_where_the_ground_changed(tmp_path):
    wide = OPTIONS.model_copy(update={"size_km": 4.0, "spacing_m": 20.0})
    with torch.inference_mode():
        area = make_area(wide, rng=torch.Generator().manual_seed(3))
    drawn = area.world.changes
    write_changes(tmp_path / "changes.gpkg", area)
    polygons = gpd.read_file(tmp_path / "changes.gpkg")
    shown = [number for number in range(drawn.kind.shape[1]) if drawn.masks[0, number].any()]
    assert len(polygons) == len(shown) > 3
    assert len({str(drawn.box(number)) for number in shown}) == len(shown)
    for number, (_, row) in zip(shown, polygons.iterrows(), strict=True):
        mask = np.zeros(area.grid.shape.yx, dtype=bool)
        mask[drawn.box(number)] = drawn.masks[0, number].numpy()
        burnt = rasterize([row.geometry], out_shape=mask.shape, transform=area.grid.transform)
        assert np.array_equal(burnt.astype(bool), mask)
        assert row["area_m2"] == pytest.approx(mask.sum() * 400.0)
        assert row["kind"] == changes.NAMES[int(drawn.kind[0, number])]


def test_a_change_is_in_the_first_image_after_it_and_in_no_expected_image_before(tmp_path):
    options = SHORT.model_copy(update={"end": dt.date(2020, 6, 10), "changes_per_km2": 10.0})
    with torch.inference_mode():
        area = make_area(options, rng=torch.Generator().manual_seed(8))
        none = dataclasses.replace(area.world.changes, day=area.world.changes.day + torch.inf)
        still = dataclasses.replace(area, world=dataclasses.replace(area.world, changes=none))
        count = area.views.time.shape[1]
        (_, shown), (_, without) = (
            render(each, slice(0, count), rng=torch.Generator().manual_seed(1))
            for each in (area, still)
        )
    time, days = area.views.time[0], area.world.changes.day[0]
    mask = area.world.changes.masks[0].any((1, 2))
    first = torch.searchsorted(time, days[mask].min())
    differs = (shown != without).any(-1).any(-1).any(-1)[0]
    assert 0 < first < count - 1
    assert not differs[: first + 1].any() and differs[first + 1 :].all()


def test_scenes_wait_for_the_disk_instead_of_filling_the_memory(tmp_path, monkeypatch):
    made, done, most = 0, 0, 0
    make, save = writer._images, writer._write_scene

    def count_made(*parts: object, **more: object):
        nonlocal made, most
        for images in make(*parts, **more):
            made += 1
            most = max(most, made - done)
            yield images

    def slow(*parts: object):
        nonlocal done
        time.sleep(0.02)
        scene = save(*parts)
        done += 1
        return scene

    monkeypatch.setattr(writer, "_images", count_made)
    monkeypatch.setattr(writer, "_write_scene", slow)
    write_world(tmp_path, SHORT.model_copy(update={"end": dt.date(2020, 6, 30)}), seed=3)
    assert made == done > 15
    assert writer._WRITERS < most <= writer._WAITING + 2


def test_a_scene_that_cannot_be_written_ends_the_run_at_once(tmp_path, monkeypatch):
    made = 0
    make = writer._images

    def count_made(*parts: object, **more: object):
        nonlocal made
        for images in make(*parts, **more):
            made += 1
            yield images

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "_images", count_made)
    monkeypatch.setattr(writer, "_write_scene", fail)
    with pytest.raises(SarcastError, match="no space left on the disk"):
        write_world(tmp_path, SHORT.model_copy(update={"end": dt.date(2020, 12, 31)}), seed=3)
    assert made <= writer._WAITING + 2


@pytest.mark.parametrize("spacing_m", [10.0, 20.0, 30.0])
def test_spacing_is_that_of_the_grid(tmp_path, spacing_m):
    options = SHORT.model_copy(update={"spacing_m": spacing_m})
    write_world(tmp_path, options, seed=1)
    with rasterio.open(next((tmp_path / "scenes").glob("*_VV.tif"))) as source:
        assert source.res == (spacing_m, spacing_m)


def test_no_satellite_in_service_is_an_error_that_says_so(tmp_path):
    options = WorldOptions(start=dt.date(2014, 3, 1), end=dt.date(2014, 3, 20), size_km=1.0)
    with pytest.raises(SarcastError, match="no satellite was in service"):
        write_world(tmp_path, options, seed=1)


def test_impossible_options_are_refused():
    with pytest.raises(ValidationError, match="must not lie before the first, 2020-05-02"):
        WorldOptions(start=dt.date(2020, 5, 2), end=dt.date(2020, 5, 1))
    with pytest.raises(ValidationError, match="16 to 4000 pixels a side, but 90 km at 10 m are 90"):
        WorldOptions(size_km=90.0, spacing_m=10.0)
    with pytest.raises(ValidationError, match="1 km at 100 m are 10; change one of them"):
        WorldOptions(size_km=1.0, spacing_m=100.0)
