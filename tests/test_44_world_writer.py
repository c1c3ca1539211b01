"""A world as files: what lies there, and that it is the world of the stream."""

import datetime as dt
import filecmp
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import torch
import xarray as xr
from pydantic import ValidationError
from rio_cogeo.cogeo import cog_validate

from sarcast.catalogue import FolderCatalogue
from sarcast.errors import SarcastError
from sarcast.ingest.weather import read_weather
from sarcast.units import to_db
from sarcast.world import WorldOptions
from sarcast.world.options import StreamOptions
from sarcast.world.stream import WindowStream
from sarcast.world.writer import write_world

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


def test_all_parts_are_there_and_every_raster_is_a_cog_on_a_utm_grid(folder):
    for name in ("dem.tif", "cover.tif", "weather.nc", "items.parquet", "world.yaml"):
        assert (folder / name).is_file()
    rasters = sorted(folder.rglob("*.tif"))
    assert len(rasters) == 2 + 5 * 10
    for path in rasters:
        assert cog_validate(path, quiet=True)[0]
        with rasterio.open(path) as source:
            assert source.crs.to_epsg() == 32635
    with rasterio.open(folder / "dem.tif") as source:
        assert source.shape == (150, 150) and source.res == (10.0, 10.0)


def test_items_are_valid_and_tell_the_acquisition(folder):
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


@pytest.mark.parametrize(
    ("option", "value", "differs"),
    [
        ("quantity", "gamma0", True),
        ("speckle_filter", "none", True),
        ("looks", 50.0, True),
        ("speckle_correlation", 0.0, True),
        ("jitter_px", 0.5, True),
        ("flattening", 1.0, True),
        ("strips", 1.0, True),
        ("preset", "temperate", True),
        ("available", 0.5, True),
        ("tracks", 1, True),
        ("changes_per_km2", 0.0, False),
    ],
)
def test_every_option_is_used(folder, tmp_path, option, value, differs):
    end = dt.date(2020, 5, 30 if option == "available" else 8)
    options = OPTIONS.model_copy(update={option: value, "end": end})
    write_world(tmp_path, options, seed=3)
    base = OPTIONS.model_copy(update={"end": end})
    other = tmp_path / "base"
    other.mkdir()
    write_world(other, base, seed=3)
    one, two = (
        {path.name: read(path) for path in sorted((each / "scenes").glob("*V?.tif"))}
        for each in (tmp_path, other)
    )
    alike = one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)
    assert not alike or not differs
    if option == "strips":
        assert any(np.isnan(image).any() for image in one.values())
    if option == "changes_per_km2":
        assert len(gpd.read_file(tmp_path / "truth" / "changes.gpkg")) == 0


@pytest.mark.parametrize("spacing_m", [10.0, 20.0, 30.0])
def test_spacing_is_that_of_the_grid(tmp_path, spacing_m):
    options = OPTIONS.model_copy(update={"spacing_m": spacing_m, "end": dt.date(2020, 5, 4)})
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
