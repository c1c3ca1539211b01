"""From real-world source formats to a cube, on the command line."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from conftest import GRID
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.io.cogs import write_cog
from sarcast.io.grid import conditions_grid
from small_weather import COARSE, degrees, slope, weather
from test_31_ingest import plane

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed; return its messages."""

    def command(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        messages = capsys.readouterr().err
        assert stopped.value.code in (0, None), messages
        return messages

    return command


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must fail; return its error line."""

    def command(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert stopped.value.code in (1, 2)
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if line.startswith("sarcast: ")]
        return line

    return command


def hyp3(folder: Path, days: int = 5) -> np.ndarray:
    """Write HyP3 scenes in amplitude, one a day from 5 March 2020; return their power."""
    shape = (days, 2, *GRID.shape)
    power = 0.1 * np.random.default_rng(3).gamma(4.4, 1 / 4.4, shape)
    for day, bands in enumerate(power, start=5):
        base = f"S1A_IW_202003{day:02d}T051122_DVP_RTC10_G_gauned_{day:04X}"
        for band, layer in zip(("VV", "VH"), bands, strict=True):
            write_cog(folder / base / f"{base}_{band}.tif", np.sqrt(layer).astype("f4"), GRID)
        write_cog(folder / base / f"{base}_dem.tif", np.zeros(GRID.shape, "f4"), GRID)
    return power


def tiles(folder: Path) -> None:
    """Two height tiles in geographic coordinates; about a fifth of the area is not covered."""
    wide = GeoBox.from_bbox(GRID.pad(20).extent.to_crs("EPSG:4326").boundingbox, resolution=0.0002)
    east = int(wide.shape[1] * 0.7)
    for name, part in (("a", wide[:, : east // 2]), ("b", wide[:, east // 2 : east])):
        write_cog(folder / f"{name}.tif", plane(part), part)


def polygons(path: Path) -> None:
    left, bottom, right, top = GRID.boundingbox.bbox
    shapes = [shapely.box(left, top - 300, right, top), shapely.box(left, bottom, right, top - 300)]
    table = gpd.GeoDataFrame({"use": ["wood", "meadow"]}, geometry=shapes, crs=GRID.crs.to_wkt())
    table.to_file(path)


def test_from_sources_to_a_cube(tmp_path: Path, run: Run) -> None:
    power = hyp3(tmp_path / "scenes")
    tiles(tmp_path / "dem")
    polygons(tmp_path / "land.gpkg")
    weather(tmp_path / "weather.nc")
    with xr.open_dataset(tmp_path / "weather.nc", decode_coords="all") as dataset:
        dataset.isel(time=slice(0, 7)).to_netcdf(tmp_path / "half.nc")
    assert "5 scenes found" in run("index", tmp_path / "scenes", "--to", tmp_path / "catalogue")
    options = ("--dem", tmp_path / "dem", "--weather", tmp_path / "half.nc")
    cover = ("--cover", tmp_path / "land.gpkg", "--cover-column", "use")
    classes = ("--forest-classes", "wood", "--open-land-classes", "meadow")
    to = tmp_path / "area.zarr"
    messages = run("cube", tmp_path / "catalogue", "--to", to, *options, *cover, *classes)
    assert "% of the area; the elevation of the other" in messages
    assert "temperature is missing on 2 of 5 dates, the first 2020-03-08" in messages
    cube = open_cube(to)
    np.testing.assert_allclose(cube["backscatter"], 10.0 * np.log10(power), atol=0.006)
    assert set(cube["orbit_direction"].values) == {"descending"}
    assert set(cube["quantity"].values) == {"gamma0"}
    missing = np.isnan(cube["elevation"].values)
    assert 0.1 < missing.mean() < 0.3
    np.testing.assert_allclose(cube["elevation"].values[~missing], plane(GRID)[~missing], atol=0.5)
    np.testing.assert_array_equal(cube["forest"], np.arange(60)[:, None] * np.ones((1, 80)) < 30)
    np.testing.assert_array_equal(cube["open_land"], ~cube["forest"])
    temperature = slope(conditions_grid(GRID))
    np.testing.assert_allclose(cube["temperature"][0], temperature, atol=1e-4)
    assert np.isnan(cube["temperature"][3:]).all()
    np.testing.assert_array_equal(cube["precipitation"][3, :, 0, 0], [np.nan, 7.0, 6.0, 5.0])


def test_weather_can_be_added_to_an_existing_cube(tmp_path: Path, run: Run) -> None:
    hyp3(tmp_path / "scenes", 2)
    hours = np.arange("2020-03-01", "2020-03-09", dtype="datetime64[h]")
    fields = {"t2m": (np.full(hours.size, 275.15), {"units": "K"})}
    degrees(fields, hours).to_netcdf(tmp_path / "land.nc")
    run("index", tmp_path / "scenes", "--to", tmp_path / "catalogue")
    run("cube", tmp_path / "catalogue", "--to", tmp_path / "area.zarr")
    assert np.isnan(open_cube(tmp_path / "area.zarr")["temperature"]).all()
    weather = ("--weather", tmp_path / "land.nc")
    run("cube", tmp_path / "catalogue", "--to", tmp_path / "area.zarr", *weather)
    np.testing.assert_allclose(open_cube(tmp_path / "area.zarr")["temperature"], 2.0, atol=1e-4)


def test_bad_input_gives_one_error_line(tmp_path: Path, run: Run, fails: Run) -> None:
    hyp3(tmp_path / "scenes", 1)
    run("index", tmp_path / "scenes", "--to", tmp_path / "catalogue")
    cube = ("cube", tmp_path / "catalogue", "--to", tmp_path / "area.zarr")
    (tmp_path / "comma.csv").write_text(
        "time;latitude;longitude;temperature\n2020-03-05;62,2;27;1,5\n"
    )
    assert "has decimal commas" in fails(*cube, "--weather", tmp_path / "comma.csv")
    weather(tmp_path / "weather.nc", COARSE, temperature="smoots")
    with_weather = (*cube, "--weather", tmp_path / "weather.nc")
    assert "not a CF unit" in fails(*with_weather)
    assert "does not exist" in fails(*cube, "--dem", tmp_path / "nowhere.tif")
    assert "no cover profile 'corin'" in fails(*cube, "--cover", "a.tif", "--cover-table", "corin")
    assert "no weather profile 'era6'" in fails(*with_weather, "--weather-profile", "era6")
    assert "no scenes profile 'mine.yaml'" in fails(
        "index", tmp_path, "--to", "x", "--profile", "mine.yaml"
    )
    empty = np.full((2, *GRID.shape), np.nan, dtype=np.float32)
    name = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031482_03A0B2_1B2C.tif"
    write_cog(tmp_path / "empty" / name, empty, GRID, bands=["VV", "VH"])
    line = fails("index", tmp_path / "empty", "--to", tmp_path / "other")
    assert "none of the scenes can be used: 1 left out (no data, every pixel" in line
