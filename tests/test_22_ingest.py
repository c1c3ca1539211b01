from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from conftest import GRID
from sarcast.errors import SarcastError
from sarcast.grid import axes, conditions_grid
from sarcast.ingest.cover import read_cover
from sarcast.ingest.dem import read_dem
from sarcast.ingest.weather import read_weather
from sarcast.rasters import write_cog


def plane(grid: GeoBox) -> np.ndarray:
    """Heights that are linear in the coordinates of UTM zone 35: any warp can be checked."""
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


def test_a_dem_that_covers_half(tmp_path: Path) -> None:
    half = GRID[:, :40]
    write_cog(tmp_path / "dem.tif", plane(half), half)
    with pytest.raises(SarcastError, match=r"covers 50\.\d % of the area"):
        read_dem(tmp_path / "dem.tif", GRID)
    with pytest.raises(SarcastError, match="does not exist"):
        read_dem(tmp_path / "nowhere.tif", GRID)


def test_land_cover(tmp_path: Path) -> None:
    classes = np.full(GRID.shape, 80, dtype=np.uint8)
    classes[:20], classes[20:30], classes[30:40] = 10, 30, 40
    write_cog(tmp_path / "cover.tif", classes, GRID, nodata=0)
    cover = read_cover(tmp_path / "cover.tif", GRID)
    np.testing.assert_array_equal(cover["forest"], classes == 10)
    np.testing.assert_array_equal(cover["open_land"], (classes == 30) | (classes == 40))
    other = read_cover(tmp_path / "cover.tif", GRID, forest=(80,), open_land=(10,))
    np.testing.assert_array_equal(other["forest"], classes == 80)
    with pytest.raises(SarcastError, match="expected class 95, found 10, 30, 40, 80"):
        read_cover(tmp_path / "cover.tif", GRID, forest=(95,))


COARSE = GeoBox((5, 6), Affine(1000.0, 0, 498_000.0, 0, -1000.0, 6_902_000.0), "EPSG:32635")
DAYS = np.arange("2020-03-01", "2020-03-11", dtype="datetime64[D]")


def weather(path: Path, grid: GeoBox = COARSE, **units: str) -> None:
    """Rain is the day of March; temperature is linear in x and y, degC; snow is a constant."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    warm = ((x - 500_000.0) + 2.0 * (y - 6_900_000.0)) / 1000.0
    shape = (len(DAYS), *grid.shape)
    fields = {
        "precipitation": np.broadcast_to(np.arange(1.0, 11.0)[:, None, None], shape),
        "temperature": np.broadcast_to(warm, shape),
        "snow_depth": np.full(shape, 12.0),
    }
    known = {"precipitation": "mm day-1", "temperature": "degC", "snow_depth": "cm", **units}
    dataset = xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                values,
                {"units": known[name], "grid_mapping": "spatial_ref"},
            )
            for name, values in fields.items()
        },
        coords={"time": DAYS.astype("datetime64[ns]"), **xr_coords(grid)},
    )
    dataset.to_netcdf(path, engine="h5netcdf")


def test_weather_by_day_and_place(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc")
    at = conditions_grid(GRID)
    dates = [np.datetime64("2020-03-07T15:40"), np.datetime64("2020-03-02T04:00")]
    read = read_weather(tmp_path / "weather.nc", at, dates)
    np.testing.assert_array_equal(read["precipitation"][0, :, 0, 0], [7, 6, 5, 4])
    np.testing.assert_array_equal(read["precipitation"][1, :, 0, 0], [2, 1, np.nan, np.nan])
    x, y = at.coordinates["x"].values[0], at.coordinates["y"].values[0]
    expected = ((x - 500_000.0) + 2.0 * (y - 6_900_000.0)) / 1000.0
    np.testing.assert_allclose(read["temperature"][:, 0, 0], expected, atol=1e-5)
    assert read["snow_depth"].dims == ("time", "cy", "cx")
    assert (read["snow_depth"] == 12.0).all()


def test_weather_in_other_units(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc", temperature="K", precipitation="m", snow_depth="m")
    read = read_weather(
        tmp_path / "weather.nc", conditions_grid(GRID), [np.datetime64("2020-03-07")]
    )
    assert float(read["precipitation"][0, 0, 0, 0]) == 7000.0
    assert float(read["snow_depth"][0, 0, 0]) == 1200.0
    assert float(read["temperature"][0, 0, 0]) < -200.0


def test_weather_elsewhere_is_missing(tmp_path: Path) -> None:
    away = GeoBox((5, 6), Affine(1000.0, 0, 800_000.0, 0, -1000.0, 6_902_000.0), "EPSG:32635")
    weather(tmp_path / "weather.nc", away)
    read = read_weather(
        tmp_path / "weather.nc", conditions_grid(GRID), [np.datetime64("2020-03-07")]
    )
    assert all(np.isnan(read[name]).all() for name in read)


def test_weather_that_cannot_be_read(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc", temperature="smoots")
    dates = [np.datetime64("2020-03-07")]
    with pytest.raises(SarcastError, match="temperature .* is in 'smoots', which cannot be conv"):
        read_weather(tmp_path / "weather.nc", conditions_grid(GRID), dates)
    xr.Dataset({"wind": ("x", [1.0])}).to_netcdf(tmp_path / "wind.nc", engine="h5netcdf")
    with pytest.raises(SarcastError, match="holds no weather that is known: .* found wind"):
        read_weather(tmp_path / "wind.nc", conditions_grid(GRID), dates)
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(SarcastError, match="cannot be read as NetCDF"):
        read_weather(tmp_path / "text.nc", conditions_grid(GRID), dates)
