import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from conftest import GRID
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.weather import Weather, WeatherOptions, daily, read_weather
from sarcast.ingest.weather.layouts import WeatherVariable
from sarcast.io.grid import conditions_grid
from small_weather import degrees, slope, weather

AT = conditions_grid(GRID)
EVENING = np.datetime64("2020-03-07T15:40")
HOURS = np.arange("2020-03-01", "2020-03-12", dtype="datetime64[h]")


def first(read: xr.Dataset, name: str) -> list[float]:
    """Values of the first cell."""
    return read[name].values.reshape(*read[name].shape[:-2], -1)[..., 0].tolist()


def test_weather_by_day_and_position(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc")
    dates = [EVENING, np.datetime64("2020-03-02T04:00")]
    read = read_weather(tmp_path / "weather.nc", AT, dates)
    np.testing.assert_array_equal(read["precipitation"][0, :, 0, 0], [7, 6, 5, 4])
    np.testing.assert_array_equal(read["precipitation"][1, :, 0, 0], [2, 1, np.nan, np.nan])
    np.testing.assert_allclose(read["temperature"][0], slope(AT), atol=1e-5)
    assert read["snow_depth"].dims == ("time", "cy", "cx")
    assert (read["snow_depth"] == 12.0).all()


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"temperature": "degF"}, (-32.0 / 1.8, 7.0, 12.0)),
        ({"precipitation": "m"}, (0.0, 7000.0, 12.0)),
        ({"precipitation": "kg m-2"}, (0.0, 7.0, 12.0)),
        ({"precipitation": "kg m-2 s-1"}, (0.0, 7.0 * 86400.0, 12.0)),
        ({"precipitation": "mm h-1"}, (0.0, 7.0 * 24.0, 12.0)),
        ({"snow_depth": "m"}, (0.0, 7.0, 1200.0)),
        ({"snow_depth": "mm"}, (0.0, 7.0, 1.2)),
    ],
)
def test_units(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    units: dict[str, str],
    expected: tuple[float, float, float],
) -> None:
    monkeypatch.setattr("sarcast.ingest.weather.reading._check_range", lambda *_: None)
    weather(tmp_path / "weather.nc", slopes=0.0, **units)
    read = read_weather(tmp_path / "weather.nc", AT, [EVENING])
    found = (first(read, "temperature")[0], first(read, "precipitation")[0][0])
    assert (*found, first(read, "snow_depth")[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("offset", [(3e5, 0.0), (0.0, 3e5), (3e5, 3e5), (-1100.0, 0.0)])
def test_weather_elsewhere_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: tuple[float, float]
) -> None:
    """The file lies to the side, above, both, or just beside the area."""
    origin = 498_000.0 + offset[0], 6_902_000.0 + offset[1]
    there = GeoBox((5, 3), Affine(1000.0, 0, origin[0], 0, -1000.0, origin[1]), "EPSG:32635")
    weather(tmp_path / "weather.nc", there, slopes=0.01)
    read = read_weather(tmp_path / "weather.nc", AT, [EVENING])
    assert all(np.isnan(read[name]).all() for name in read)
    assert "weather: temperature is missing on 1 of 1 dates" in capsys.readouterr().err


def test_weather_of_half_the_period(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weather(tmp_path / "weather.nc")
    dates = np.arange("2020-03-01T16", "2020-03-21T16", dtype="datetime64[D]")
    read = read_weather(tmp_path / "weather.nc", AT, list(dates))
    known = np.isfinite(read["temperature"].values).all(axis=(1, 2))
    np.testing.assert_array_equal(known, np.arange(20) < 10)
    output = capsys.readouterr().err
    assert "temperature is missing on 10 of 20 dates, the first 2020-03-11" in output
    assert (
        "precipitation is missing on 7 and partly missing on 6 of 20 dates, the first 2020-03-01"
        in output
    )


def test_dates_read_in_parts_are_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weather(tmp_path / "weather.nc")
    dates = list(np.arange("2020-03-05", "2020-03-15", dtype="datetime64[D]"))
    source = Weather([tmp_path / "weather.nc"], WeatherOptions())
    whole = source.read(AT, dates)
    parts = xr.concat([source.read(AT, dates[:4]), source.read(AT, dates[4:])], dim="time")
    xr.testing.assert_identical(parts, whole)
    source.summarise()
    assert "temperature is missing on 4 of 10 dates" in capsys.readouterr().err


def test_the_first_file_with_a_value_takes_precedence(tmp_path: Path) -> None:
    weather(tmp_path / "warm.nc", slopes=0.0, temperature="degF")
    weather(tmp_path / "cold.nc", slopes=0.0)
    with xr.open_dataset(tmp_path / "warm.nc", decode_coords="all") as opened:
        opened.isel(time=slice(0, 5))[["temperature"]].to_netcdf(tmp_path / "early.nc")
    dates = [np.datetime64("2020-03-03"), EVENING]
    read = read_weather([tmp_path / "early.nc", tmp_path / "cold.nc"], AT, dates)
    assert first(read, "temperature") == pytest.approx([-32.0 / 1.8, 0.0], rel=1e-6)
    assert first(read, "snow_depth") == [12.0, 12.0]


def test_neighbours_without_a_value_have_no_weight(tmp_path: Path) -> None:
    """A cell at the coast takes the value of the land beside it; a cell at sea has none."""
    dataset = degrees({"tas": (np.full(11, 280.0), {"units": "K"})}, HOURS[::24][:11])
    dataset["tas"][:, :, 4:] = np.nan
    dataset.to_netcdf(tmp_path / "coast.nc")
    for east, known in ((27.04, True), (27.17, False)):
        lon = GeoBox.from_bbox((east, 62.2, east + 0.001, 62.201), "EPSG:4326", resolution=0.001)
        read = read_weather(tmp_path / "coast.nc", lon, [EVENING])
        assert np.isfinite(read["temperature"]).all() == known
        assert not known or first(read, "temperature")[0] == pytest.approx(6.85, abs=1e-3)


# --- published layouts --------------------------------------------------------------------------


def test_era5_land(tmp_path: Path) -> None:
    """Rain runs from 0 UTC up to the total of the day, which stands at 0 UTC of the next."""
    hour = (HOURS - HOURS.astype("datetime64[D]")).astype(int)
    day = (HOURS.astype("datetime64[D]") - np.datetime64("2020-03-01")).astype(int) + 1
    running = np.where(hour == 0, (day - 1) * 1e-3, day * 1e-3 * hour / 24.0)
    fields = {
        "t2m": (273.15 + day + (hour - 11.5) / 10.0, {"units": "K"}),
        "tp": (running, {"units": "m"}),
        "sde": (day * 0.1, {"units": "m"}),
        "sd": (day * 9.0, {"units": "m of water equivalent"}),
    }
    names = ("valid_time", "latitude", "longitude")
    dataset = degrees(fields, HOURS, names)
    dataset.to_netcdf(tmp_path / "land.nc")
    dataset.to_zarr(tmp_path / "land.zarr", zarr_format=2)
    for name in ("land.nc", "land.zarr"):
        read = read_weather(tmp_path / name, AT, [EVENING])
        assert first(read, "temperature") == pytest.approx([7.0], abs=1e-3)
        assert first(read, "precipitation")[0] == pytest.approx([7, 6, 5, 4], rel=1e-5)
        assert first(read, "snow_depth") == pytest.approx([70.0], rel=1e-5)


def test_era5(tmp_path: Path) -> None:
    """Rain is that of the hour that ends; snow is water, made a depth by its density."""
    rain = np.where(np.datetime64("2020-03-07T00") == HOURS, 5e-3, 0.0)
    rain += np.where(np.datetime64("2020-03-07T01") == HOURS, 2e-3, 0.0)
    fields = {
        "t2m": (np.full(HOURS.size, 270.0), {"units": "K"}),
        "tp": (rain, {"units": "m"}),
        "sd": (np.full(HOURS.size, 0.06), {"units": "m of water equivalent"}),
        "rsn": (np.full(HOURS.size, 200.0), {"units": "kg m**-3"}),
    }
    degrees(fields, HOURS, spacing=0.25).to_netcdf(tmp_path / "era5.nc")
    read = read_weather(tmp_path / "era5.nc", AT, [EVENING])
    assert first(read, "precipitation")[0] == pytest.approx([2.0, 5.0, 0.0, 0.0], rel=1e-5)
    assert first(read, "snow_depth") == pytest.approx([30.0], rel=1e-5)


def test_glaciers_of_era5_have_no_depth_of_snow(tmp_path: Path) -> None:
    """They are stored as 10 m of water; their temperature is used."""
    kelvin = {"t2m": (np.full(HOURS.size, 270.0), {"units": "K"})}
    water = (np.full(HOURS.size, 10.0), {"units": "m of water equivalent"})
    density = (np.full(HOURS.size, 300.0), {"units": "kg m**-3"})
    depth = (np.full(HOURS.size, 33.3), {"units": "m"})
    for spacing, snow in ((0.25, {"sd": water, "rsn": density}), (0.1, {"sde": depth})):
        path = tmp_path / f"{spacing}.nc"
        degrees({**kelvin, **snow}, HOURS, spacing=spacing).to_netcdf(path)
        read = read_weather(path, AT, [EVENING])
        assert first(read, "temperature") == pytest.approx([-3.15], abs=1e-3)
        assert np.isnan(read["snow_depth"]).all()


def test_a_spacing_of_neither_era5_needs_a_profile_by_name(tmp_path: Path) -> None:
    fields = {"t2m": (np.full(HOURS.size, 270.0), {"units": "K"})}
    degrees(fields, HOURS, spacing=0.5).to_netcdf(tmp_path / "half.nc")
    with pytest.raises(UsageError, match=r"fits more than one profile \(era5-land, era5\); choose"):
        read_weather(tmp_path / "half.nc", AT, [EVENING])
    named = WeatherOptions(weather_profile=("era5-land",))
    read = read_weather(tmp_path / "half.nc", AT, [EVENING], named)
    assert first(read, "temperature") == pytest.approx([-3.15], abs=1e-3)


def test_snow_water_without_its_density_is_ignored(tmp_path: Path) -> None:
    """ERA5-Land with ``sd`` stays ERA5-Land: its rain runs from 0 UTC, and water is no depth."""
    fields = {
        "t2m": (np.full(HOURS.size, 270.0), {"units": "K"}),
        "tp": (np.where(np.datetime64("2020-03-08T00") == HOURS, 5e-3, 1e-3), {"units": "m"}),
        "sd": (np.full(HOURS.size, 0.06), {"units": "m of water equivalent"}),
    }
    degrees(fields, HOURS).to_netcdf(tmp_path / "land.nc")
    read = read_weather(tmp_path / "land.nc", AT, [EVENING])
    assert first(read, "precipitation")[0] == pytest.approx([5.0, 1.0, 1.0, 1.0], rel=1e-5)
    assert "snow_depth" not in read
    degrees(fields, HOURS, spacing=0.25).to_netcdf(tmp_path / "era5.nc")
    read = read_weather(tmp_path / "era5.nc", AT, [EVENING])
    assert first(read, "precipitation")[0] == pytest.approx([28.0, 24.0, 24.0, 24.0], rel=1e-5)
    assert "snow_depth" not in read
    degrees(fields, HOURS, spacing=0.5).to_netcdf(tmp_path / "half.nc")
    with pytest.raises(UsageError, match="fits more than one profile"):
        read_weather(tmp_path / "half.nc", AT, [EVENING])


def test_e_obs_and_fmi_grids_in_several_files(tmp_path: Path) -> None:
    days = np.arange("2020-03-01", "2020-03-11", dtype="datetime64[D]")
    rain = np.arange(1.0, 11.0)
    degrees({"tg": (rain, {"units": "Celsius"})}, days).to_netcdf(tmp_path / "tg_ens_mean.nc")
    degrees({"rr": (rain, {"units": "mm"})}, days).to_netcdf(tmp_path / "rr_ens_mean.nc")
    read = read_weather([tmp_path / "tg_ens_mean.nc", tmp_path / "rr_ens_mean.nc"], AT, [EVENING])
    assert first(read, "temperature") == [7.0]
    assert first(read, "precipitation") == [[7.0, 6.0, 5.0, 4.0]]

    x, y = GRID.extent.to_crs("EPSG:3067").centroid.coords[0]
    size = (10, 7, 7)
    fmi = xr.Dataset(
        {"RRday": (("Time", "Lat", "Lon"), np.broadcast_to(rain[:, None, None], size))},
        coords={
            "Time": days.astype("datetime64[ns]"),
            "Lat": y + 1000.0 * np.arange(-3, 4),
            "Lon": x + 1000.0 * np.arange(-3, 4),
        },
    )
    fmi.to_netcdf(tmp_path / "rrday.nc")
    morning = np.datetime64("2020-03-07T04:30")  # the day of the rain starts at 6 UTC
    read = read_weather(tmp_path / "rrday.nc", AT, [EVENING, morning])
    assert first(read, "precipitation") == [[7, 6, 5, 4], [6, 5, 4, 3]]


def test_agera5_has_local_days(tmp_path: Path) -> None:
    days = np.arange("2020-03-01", "2020-03-11", dtype="datetime64[D]")
    fields = {
        "Temperature_Air_2m_Mean_24h": (270.0 + np.arange(10.0), {"units": "K"}),
        "Precipitation_Flux": (np.arange(1.0, 11.0), {"units": "mm d-1"}),
        "Snow_Thickness_Mean": (np.arange(1.0, 11.0), {"units": "cm"}),
    }
    degrees(fields, days, ("time", "lat", "lon")).to_netcdf(tmp_path / "agera5.nc")
    late = np.datetime64("2020-03-07T22:30")  # after midnight at 27 E
    read = read_weather(tmp_path / "agera5.nc", AT, [EVENING, late])
    assert first(read, "snow_depth") == [7.0, 8.0]
    assert first(read, "temperature") == pytest.approx([2.85, 3.85], abs=1e-3)


def test_longitudes_from_0_to_360(tmp_path: Path) -> None:
    dataset = degrees({"tas": (np.full(11, 280.0), {"units": "K"})}, HOURS[::24][:11])
    dataset = dataset.assign_coords(longitude=dataset["longitude"] - 30.0 + 360.0)
    dataset.to_netcdf(tmp_path / "west.nc")
    west = GeoBox.from_bbox((-3.01, 62.19, -3.0, 62.2), "EPSG:4326", resolution=0.01)
    assert np.isfinite(read_weather(tmp_path / "west.nc", west, [EVENING])["temperature"]).all()


# --- stations -----------------------------------------------------------------------------------


def stations(path: Path, separator: str = ",", decimal: str = ".") -> None:
    """Two stations, 62.2 N 26.9 E and 27.1 E, with 1 and 3 degrees and some rain."""
    rows = [
        {"time": f"2020-03-{day:02d}", "station": name, "latitude": 62.2, "longitude": east}
        | {"temperature": warm + 0.5, "precipitation": day, "snow_depth": 12.5}
        for day in range(1, 11)
        for name, east, warm in (("west", 26.9, 1.0), ("east", 27.1, 3.0))
    ]
    pd.DataFrame(rows).to_csv(path, sep=separator, decimal=decimal, index=False)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_stations(tmp_path: Path, separator: str) -> None:
    stations(tmp_path / "stations.csv", separator)
    east = np.array([26.9, 27.0, 27.06])
    for lon, expected in zip(east, (1.5, 2.5, 3.17), strict=True):
        cell = GeoBox((1, 1), Affine(1e-4, 0, lon - 5e-5, 0, -1e-4, 62.20005), "EPSG:4326")
        read = read_weather(tmp_path / "stations.csv", cell, [EVENING])
        # one over distance squared: at 27.06 the weights are 1/0.16^2 and 1/0.04^2
        assert first(read, "temperature")[0] == pytest.approx(expected + 0.0, abs=0.25)
        assert first(read, "precipitation")[0] == pytest.approx([7, 6, 5, 4])


def test_stations_by_hand() -> None:
    from sarcast.ingest.weather.stations import interpolate

    positions = (np.array([62.0, 62.0, 62.0]), np.array([26.9, 27.1, 29.5]))
    cell = (np.array([[62.0]]), np.array([[27.05]]))
    values = np.array([[1.0, 3.0, 100.0], [np.nan, 3.0, 100.0], [np.nan, np.nan, 100.0]])
    found = interpolate(values, positions, cell)[:, 0, 0]
    by_hand = (1.0 / 0.15**2 + 3.0 / 0.05**2) / (1.0 / 0.15**2 + 1.0 / 0.05**2)
    np.testing.assert_allclose(found, [by_hand, 3.0, np.nan], rtol=1e-4)  # 29.5 E is 128 km away


def test_only_the_four_nearest_stations_are_used() -> None:
    from sarcast.ingest.weather.stations import interpolate

    positions = (np.full(6, 62.0), 27.0 + np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    values = np.array([[1.0, 1.0, 1.0, 1.0, 99.0, 99.0]])
    assert interpolate(values, positions, (np.array([[62.0]]), np.array([[27.0]]))).item() == 1.0


def haversine_km(one: np.ndarray, other: np.ndarray) -> float:
    """Great-circle distance of two points given by latitude and longitude, degrees."""
    (lat, lon), (other_lat, other_lon) = np.radians(one), np.radians(other)
    half = (
        np.sin((lat - other_lat) / 2.0) ** 2
        + np.cos(lat) * np.cos(other_lat) * np.sin((lon - other_lon) / 2.0) ** 2
    )
    return float(2.0 * 6371.0 * np.arcsin(np.sqrt(half)))


@pytest.mark.parametrize(("lat", "lon"), [(62.0, 27.0), (-17.0, 179.9), (89.0, 0.0)])
def test_station_weights_equal_the_haversine_formula(lat: float, lon: float) -> None:
    """Also across the date line and at the pole, and with a station of unknown position."""
    from sarcast.ingest.weather.stations import interpolate

    rng = np.random.default_rng(0)
    stations = np.array([lat, lon]) + rng.uniform(-0.5, 0.5, (40, 2)) * [1.0, 4.0]
    stations[stations[:, 1] > 180.0, 1] -= 360.0
    stations[0] = np.nan
    cells = np.array([lat, lon]) + rng.uniform(-0.4, 0.4, (3, 5, 2))
    values = rng.normal(size=(2, 40))
    values[1, ::3] = np.nan
    found = interpolate(values, (stations[:, 0], stations[:, 1]), (cells[..., 0], cells[..., 1]))
    for day, row, column in np.ndindex(found.shape):
        apart = np.array([haversine_km(cells[row, column], station) for station in stations])
        usable = np.flatnonzero(np.isfinite(values[day]) & (apart <= 100.0))
        nearest = usable[np.argsort(apart[usable])][:4]
        expected = np.average(values[day, nearest], weights=1.0 / apart[nearest] ** 2)
        assert found[day, row, column] == pytest.approx(expected, rel=1e-9)


def test_stations_without_a_known_position_have_no_weight() -> None:
    from sarcast.ingest.weather.stations import interpolate

    cell = (np.array([[62.0]]), np.array([[27.0]]))
    for size in (0, 2):
        nowhere = (np.full(size, np.nan), np.full(size, np.nan))
        assert np.isnan(interpolate(np.ones((1, size)), nowhere, cell)).all()


def test_a_decimal_comma(tmp_path: Path) -> None:
    stations(tmp_path / "comma.csv", ";", ",")
    with pytest.raises(SarcastError, match=r"has decimal commas, such as '1,5': add --w"):
        read_weather(tmp_path / "comma.csv", AT, [EVENING])
    options = WeatherOptions(weather_decimal=",")
    with_comma = read_weather(tmp_path / "comma.csv", AT, [EVENING], options)
    stations(tmp_path / "point.csv")
    xr.testing.assert_identical(with_comma, read_weather(tmp_path / "point.csv", AT, [EVENING]))


def test_fmi_stations(tmp_path: Path) -> None:
    """-1 stands for no rain and no snow."""
    rows = ["place,location,time,rrday,snow,tday"]
    rows += [f"Mikkeli,62.2 27.0,2020-03-{d:02d},{-1 if d % 2 else d},-1,{d}" for d in range(1, 11)]
    (tmp_path / "fmi.csv").write_text("\n".join(rows))
    read = read_weather(tmp_path / "fmi.csv", AT, [EVENING])
    assert first(read, "precipitation") == [[0.0, 6.0, 0.0, 4.0]]
    assert first(read, "snow_depth") == [0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,latitude,longitude,temperature\n2020-03-01,62,27,warm\n", r"has 'warm' in line 2"),
        ("time,latitude,longitude,temperature\n1.3.20,62,27,1\n", r"must have times, ISO 8601"),
        ("time,temperature\n2020-03-01,1\n", "does not specify where its stations are"),
        (
            "time;latitude;longitude;snow_depth\n2020-03-01;62,2;27;1\n",
            "station latitude .* decimal comma",
        ),
        ("time,latitude,longitude,snow_depth\n2020-03-01,6880000,27,1\n", "station of line 2 is"),
        ("time,place,location,snow\n2020-03-01,Oulu,somewhere,1\n", "station of line 2 is"),
        ("time,wind\n2020-03-01,1\n", r"has no known weather variable: .* found time, wind"),
        (
            "time,latitude,longitude,temperature\n2020-03-01,62,27,1,5,6\n",
            "lines with more fields than",
        ),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "stations.csv").write_text(text)
    with pytest.raises(SarcastError, match=message):
        read_weather(tmp_path / "stations.csv", AT, [EVENING])


def test_a_profile_of_the_user(tmp_path: Path) -> None:
    rows = ["päivä;lämpö"] + [f"{d:02d}.03.2020;{d},5" for d in range(1, 11)]
    (tmp_path / "own.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "own.yaml").write_text(
        "title: A station of our own\n"
        "table: {time: päivä, time_format: '%d.%m.%Y', decimal: ',', place: [62.2, 27.0]}\n"
        "variables: {temperature: {names: [lämpö], units: degC}}\n",
        encoding="utf-8",
    )
    options = WeatherOptions(weather_profile=(str(tmp_path / "own.yaml"),))
    assert first(read_weather(tmp_path / "own.csv", AT, [EVENING], options), "temperature") == [7.5]


# --- bad input ----------------------------------------------------------------------------------


def test_weather_that_cannot_be_read(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc", temperature="smoots")
    with pytest.raises(SarcastError, match="temperature .* is in 'smoots', which is not a CF unit"):
        read_weather(tmp_path / "weather.nc", AT, [EVENING])
    weather(tmp_path / "weather.nc", temperature="mm")
    with pytest.raises(SarcastError, match="is in millimeter, which cannot be converted to degC"):
        read_weather(tmp_path / "weather.nc", AT, [EVENING])
    weather(tmp_path / "weather.nc", snow_depth="kg m-2")
    with pytest.raises(SarcastError, match="an amount of water, not a depth of snow"):
        read_weather(tmp_path / "weather.nc", AT, [EVENING])
    xr.Dataset({"wind": ("x", [1.0])}).to_netcdf(tmp_path / "wind.nc", engine="h5netcdf")
    with pytest.raises(SarcastError, match=r"has no known weather variable: .* found wind"):
        read_weather(tmp_path / "wind.nc", AT, [EVENING])
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(SarcastError, match="cannot be read as NetCDF"):
        read_weather(tmp_path / "text.nc", AT, [EVENING])
    (tmp_path / "text.nc").write_bytes(b"GRIB\0\0\0\2 7777")
    with pytest.raises(SarcastError, match="as NetCDF: it is GRIB; request NetCDF, or convert"):
        read_weather(tmp_path / "text.nc", AT, [EVENING])
    (tmp_path / "text.nc").write_text("\n<!DOCTYPE html><html>")
    with pytest.raises(SarcastError, match="as NetCDF: it is a web page, such as that of a login"):
        read_weather(tmp_path / "text.nc", AT, [EVENING])
    with pytest.raises(SarcastError, match="does not exist"):
        read_weather(tmp_path / "nowhere.nc", AT, [EVENING])


def test_kelvin_declared_as_celsius(tmp_path: Path) -> None:
    fields = {"tas": (np.full(11, 280.0), {"units": "degC"})}
    degrees(fields, HOURS[::24][:11]).to_netcdf(tmp_path / "wrong.nc")
    with pytest.raises(SarcastError, match=r"must lie in -80..60 degC, but has 280: check"):
        read_weather(tmp_path / "wrong.nc", AT, [EVENING])


def test_monthly_weather_is_refused(tmp_path: Path) -> None:
    months = np.arange("2019-09", "2020-09", dtype="datetime64[M]").astype("datetime64[D]")
    degrees({"tas": (np.full(12, 280.0), {"units": "K"})}, months).to_netcdf(tmp_path / "month.nc")
    with pytest.raises(SarcastError, match="must be daily or finer, but its steps are 31 days"):
        read_weather(tmp_path / "month.nc", AT, [EVENING])


def test_times_that_are_no_dates(tmp_path: Path) -> None:
    days = degrees({"tas": (np.full(11, 280.0), {"units": "K"})}, HOURS[::24][:11])
    for units, message in (
        ("", "are no dates: expected a CF unit such as"),
        ("days since 2020-01-01", "are no dates|cannot be read as NetCDF: .*calendar"),
    ):
        attrs = {"units": units, "calendar": "noleap"} if units else {}
        path = tmp_path / f"{len(units)}.nc"
        days.assign_coords(time=("time", np.arange(11), attrs)).to_netcdf(path)
        with pytest.raises(SarcastError, match=message):
            read_weather(path, AT, [EVENING])


def test_a_grid_without_crs(tmp_path: Path) -> None:
    weather(tmp_path / "weather.nc")
    with xr.open_dataset(tmp_path / "weather.nc") as opened:
        bare = opened.drop_vars("spatial_ref")
        for name in bare.data_vars:
            bare[name].attrs.pop("grid_mapping", None)
            bare[name].encoding.pop("grid_mapping", None)
        bare.to_netcdf(tmp_path / "bare.nc")
    with pytest.raises(SarcastError, match="has no CRS; add a CF grid mapping"):
        read_weather(tmp_path / "bare.nc", AT, [EVENING])


# --- days ---------------------------------------------------------------------------------------


@given(st.integers(1, 24), st.integers(0, 3), st.sampled_from(["mean", "sum"]))
def test_days_against_a_slow_twin(every: int, cut: int, day: str) -> None:
    """Only complete days have a value, whatever the step and the start of the record."""
    if 24 % every:
        return
    times = np.arange("2020-03-01", "2020-03-05", dtype="datetime64[h]")[::every][cut:]
    values = np.random.default_rng(every).normal(size=(times.size, 2))
    values[times.size // 2, 1] = np.nan
    variable = WeatherVariable(names=("x",), day=day)
    days, found = daily.to_days(values, times, variable, np.timedelta64(every, "h"))
    for index, date in enumerate(days):
        of_day = values[times.astype("datetime64[D]") == date]
        expected = of_day.mean(axis=0) if day == "mean" else of_day.sum(axis=0)
        if len(of_day) < 24 // every:
            expected = np.full(2, np.nan)
        np.testing.assert_allclose(found[index], expected)


# --- real files ---------------------------------------------------------------------------------


def around(lon: float, lat: float) -> GeoBox:
    return GeoBox.from_bbox((lon, lat, lon + 0.02, lat + 0.02), "EPSG:4326", resolution=0.01)


def test_the_real_stations_of_fmi(data_dir: Path) -> None:
    dates = [np.datetime64("2010-01-03T16:00"), np.datetime64("2018-01-01")]
    read = read_weather(data_dir / "weather" / "fmi_ouludaily10.csv", around(25.39, 65.0), dates)
    assert first(read, "temperature") == pytest.approx([-15.3, np.nan], nan_ok=True)
    far = read_weather(data_dir / "weather" / "fmi_ouludaily10.csv", around(24.9, 60.2), dates)
    assert np.isnan(far["temperature"]).all()


def test_the_real_hours_of_sodankyla(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "weather"
    (tmp_path / "own.yaml").write_text(
        "title: Sodankylä, hourly\n"
        "table: {time: obs_time, place: [67.37, 26.63]}\n"
        "variables:\n"
        "  temperature: {names: [temp], units: degC}\n"
        "  snow_depth: {names: [snowdepth], units: cm}\n",
        encoding="utf-8",
    )
    options = WeatherOptions(weather_profile=(str(tmp_path / "own.yaml"),))
    files = [folder / "sodankyla_climdata.csv", folder / "sodankyla_snowdepth.csv"]
    read = read_weather(files, around(26.63, 67.37), [np.datetime64("2018-01-05T16:00")], options)
    table = pd.read_csv(files[0]).set_index("obs_time")["temp"]
    assert first(read, "temperature") == pytest.approx(
        [table[table.index.str.startswith("2018-01-05")].mean()], abs=1e-4
    )
    assert 40.0 < first(read, "snow_depth")[0] < 70.0
    with pytest.raises(SarcastError, match=re.escape("found e[[n]]")):
        read_weather(folder / "sodankyla_precd.csv", around(26.63, 67.37), [EVENING], options)


def test_the_real_era5_of_cities(data_dir: Path) -> None:
    path = data_dir / "weather" / "daily_surface_cancities_1990-1993.nc"
    with xr.open_dataset(path) as opened:
        city = opened.isel(location=1).load()
    area = around(float(city["lon"]) - 0.01, float(city["lat"]) - 0.01)
    date = np.datetime64("1993-01-20T22:40")
    read = read_weather(path, area, [date])
    day = city.sel(time="1993-01-20")
    assert first(read, "temperature")[0] == pytest.approx(float(day["tas"]) - 273.15, abs=1e-3)
    assert first(read, "snow_depth")[0] == pytest.approx(100.0 * float(day["snd"]), rel=1e-4)
    rain = city["pr"].sel(time=slice("1993-01-17", "1993-01-20")).values[::-1] * 86400.0
    assert first(read, "precipitation")[0] == pytest.approx(rain, rel=1e-4)


def test_the_real_agera5(data_dir: Path) -> None:
    (path,) = data_dir.glob("worldcereal/0000280849BAC91C/AgERA5*.nc")
    with xr.open_dataset(path) as opened:
        cell = opened.isel(x=0, y=0).load()
    crs = f"EPSG:{cell.attrs['epsg']}"
    x, y = float(cell["x"]), float(cell["y"])
    area = GeoBox.from_bbox((x - 320, y - 320, x + 320, y + 320), crs, resolution=20)
    read = read_weather(path, conditions_grid(area), [np.datetime64("2018-11-11T17:32")])
    day = cell.sel(timestamp="2018-11-11")
    assert first(read, "temperature")[0] == pytest.approx(
        float(day["temperature_mean"]) - 273.15, abs=1e-3
    )
    assert first(read, "precipitation")[0][0] == pytest.approx(float(day["precipitation_flux"]))


def test_times_that_occur_twice() -> None:
    days = np.array(["2020-03-01", "2020-03-01", "2020-03-02"], dtype="datetime64[s]")
    with pytest.raises(SarcastError, match="1 of its 3 times more than once; keep one"):
        daily.step_of(days, "twice.nc")


def test_an_empty_file_of_weather(tmp_path: Path) -> None:
    (tmp_path / "weather.nc").write_bytes(b"")
    with pytest.raises(SarcastError, match="weather.nc is empty; fetch it again"):
        read_weather(tmp_path / "weather.nc", AT, [EVENING])
