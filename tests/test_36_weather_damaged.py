"""Damaged weather: every file that cannot be used is named, with its fault, in one line."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from conftest import GRID
from sarcast.errors import SarcastError
from sarcast.ingest import cf
from sarcast.ingest.weather import read_weather, stations
from sarcast.io.grid import conditions_grid
from sarcast.io.hdf5 import check_heaps
from small_weather import DAYS, degrees

AT = conditions_grid(GRID)
DATES = [np.datetime64("2020-03-05T15:40"), np.datetime64("2020-03-07T05:11")]


def fields() -> xr.Dataset:
    number = np.arange(len(DAYS), dtype=float)
    return degrees({"temperature": (number, {"units": "degC"})}, DAYS)


def refused(path: Path, match: str) -> None:
    with pytest.raises(SarcastError, match=match) as caught:
        read_weather(path, AT, DATES)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_flipped_bytes_give_values_or_one_line(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    packing = {"zlib": True} if engine == "h5netcdf" else {}
    fields().to_netcdf(path, engine=engine, encoding={"temperature": packing})
    plain = path.read_bytes()
    read_weather(path, AT, DATES)
    rng = np.random.default_rng(0)
    messages = set()
    for _ in range(40):
        content = bytearray(plain)
        for place in rng.integers(len(content), size=4):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            read_weather(path, AT, DATES)
        except SarcastError as error:
            assert "\n" not in str(error)
            messages.add(str(error))
    assert messages


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    noise = np.random.default_rng(0).normal(size=(len(DAYS), 7, 7)).astype("f4")
    data = fields()
    data["temperature"] = data["temperature"].copy(data=noise)
    data.to_netcdf(path, engine="h5netcdf", encoding={"temperature": {"zlib": True}})
    with h5py.File(path) as file:
        start = file["temperature"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    refused(path, r"temperature in .*a\.nc cannot be read, fetch it again")


def test_free_space_of_no_size_among_strings_is_refused(tmp_path: Path) -> None:
    """HDF5 2.0 itself reads it for ever."""
    path = tmp_path / "a.nc"
    fields().to_netcdf(path, engine="h5netcdf")
    check_heaps(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    while index := struct.unpack_from("<H", content, at)[0]:
        assert index > 0
        at += 16 + -(-struct.unpack_from("<Q", content, at + 8)[0] // 8) * 8
    content[at + 8 : at + 16] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="free space"):
        check_heaps(path)
    refused(path, r"a\.nc cannot be read as NetCDF: the free space among its strings is damaged")


ODD: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "no times": (lambda data: data.isel(time=slice(0)), "its time has no values"),
    "no rows": (lambda data: data.isel(latitude=slice(0)), "its y has no values"),
    "no columns": (lambda data: data.isel(longitude=slice(0)), "its x has no values"),
    "a time missing": (
        lambda data: data.assign_coords(time=np.where(DAYS[3] == DAYS, np.datetime64("NaT"), DAYS)),
        "has 1 times that are no dates",
    ),
    "a row of NaN": (
        lambda data: data.assign_coords(latitude=[62.5, np.nan, *data.latitude.values[2:]]),
        "coordinate y with values that are no numbers",
    ),
    "rows as text": (
        lambda data: data.assign_coords(latitude=list("abcdefg")),
        "coordinate y with values that are no numbers",
    ),
    "rows in disorder": (
        lambda data: data.assign_coords(latitude=data.latitude.values[[1, 0, 2, 3, 4, 5, 6]]),
        "coordinate y that neither rises nor falls",
    ),
    "values as text": (
        lambda data: data.assign(temperature=data.temperature.astype(str)),
        "must have numbers",
    ),
    "times of a second": (
        lambda data: data.assign_coords(time=DAYS[0] + np.arange(10).astype("m8[s]")),
        "has steps of 1 s, expected a minute or more",
    ),
    "another unit": (
        lambda data: data.assign(temperature=data.temperature.assign_attrs(units="m s-1")),
        "cannot be converted to",
    ),
}


@pytest.mark.parametrize(("change", "message"), ODD.values(), ids=ODD)
def test_what_cannot_be_weather_is_named(
    change: Callable[[xr.Dataset], xr.Dataset], message: str, tmp_path: Path
) -> None:
    change(fields()).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    refused(tmp_path / "a.nc", message)


@pytest.mark.parametrize("unit", ["9**9**9**9", "((9**99)**99)**99", "m**999999999", "m" * 10_000])
def test_units_that_take_for_ever_are_refused(unit: str) -> None:
    start = time.process_time()
    with pytest.raises(SarcastError, match="which is not a CF unit"):
        cf.parse_unit(unit, "a")
    assert time.process_time() - start < 3.0


@pytest.mark.parametrize("unit", ["mm day-1", "kg m**-2 s**-1", "m^2", "W m-2", "m2 (s-1)"])
def test_plain_units_are_read(unit: str) -> None:
    cf.parse_unit(unit, "a")


def test_units_that_are_numbers_are_named(tmp_path: Path) -> None:
    data = fields()
    for name in set(data.variables) - {"time"}:
        data[name].attrs["units"] = np.float64(3.0)
    data.to_netcdf(tmp_path / "a.nc", engine="scipy")
    refused(tmp_path / "a.nc", "3.0")


# --- lying shapes ---------------------------------------------------------------------------------


def write_hdf5(path: Path, columns: int, chunks: tuple[int, int, int]) -> None:
    """Write a small file that states a grid of any size, most of which is never written."""
    size = {"time": len(DAYS), "latitude": 10_000, "longitude": columns}
    with h5py.File(path, "w") as file:
        field = file.create_dataset("temperature", tuple(size.values()), "f4", chunks=chunks)
        field.attrs["units"] = "degC"
        for number, (name, length) in enumerate(size.items()):
            axis = file.create_dataset(name, (length,), "f8", chunks=(min(length, 10**6),))
            if name != "longitude":
                axis[:] = np.linspace(0.0, 63.0, length)
            axis.make_scale(name)
            field.dims[number].attach_scale(axis)
        file["time"].attrs["units"] = "days since 2020-03-01"
    assert path.stat().st_size < 10**6


def test_coordinates_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "a.nc", 10**9, (1, 100, 100))
    refused(tmp_path / "a.nc", r"a\.nc states coordinates of 7\.45 GiB, expected at most 0\.25")


def test_chunks_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "a.nc", 10_000, (9, 9999, 9999))
    refused(tmp_path / "a.nc", r"temperature in .*a\.nc is stored in chunks of 3\.35 GiB")


# --- tables ---------------------------------------------------------------------------------------

HEADER = "time,station,latitude,longitude,temperature"


@pytest.mark.parametrize("missing", ["nan", "NaT", "", "NA"])
def test_a_row_without_a_time_is_named(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [HEADER, "2020-03-05,a,62.2,27.0,1.0", f"{missing},a,62.2,27.0,2.0"]
    path.write_text("\n".join(rows))
    refused(path, r"has no time in line 3|must have times")


def test_a_table_with_a_station_a_row_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    lines = [
        f"2020-03-05T{n // 60:02d}:{n % 60:02d},{n},{60 + n / 1000},27.0,1" for n in range(900)
    ]
    path.write_text("\n".join([HEADER, *lines]))
    monkeypatch.setattr(stations, "MOST_VALUES", 8e5)
    refused(path, "has 900 times and 900 stations, expected at most 8e\\+05 values")


def test_names_with_spaces_around_them_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER.replace(',', ' , ')}\n2020-03-05,a,62.2,27.0,3.5\n")
    assert (read_weather(path, AT, DATES)["temperature"][0] == 3.5).all()


def test_a_number_beyond_all_floats_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n2020-03-05,a,62.2,27.0,{'9' * 400}\n2020-03-06,a,62.2,27.0,1\n")
    refused(path, r"temperature in .*a\.csv has a number of more than 300 digits")
