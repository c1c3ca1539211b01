"""ERA5 with final and preliminary values in one file, and files of one source in a zip."""

import logging
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import GRID
from sarcast.errors import SarcastError
from sarcast.ingest.weather import read_weather
from sarcast.io import containers
from sarcast.io.grid import conditions_grid
from small_weather import degrees

AT = conditions_grid(GRID)
EVENING = np.datetime64("2020-03-07T15:40")
DATES = [EVENING - np.timedelta64(2, "D"), EVENING]
HOURS = np.arange("2020-03-01", "2020-03-12", dtype="datetime64[h]")
PRELIMINARY = np.datetime64("2020-03-06T00")
CDS = ("valid_time", "latitude", "longitude")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def era5(spacing: float = 0.1, names: tuple[str, str, str] = CDS) -> xr.Dataset:
    """Values that differ from hour to hour, in the layout of ERA5 or ERA5-Land."""
    hour = np.arange(HOURS.size)
    fields = {
        "t2m": (270.0 + hour / 24.0, {"units": "K"}),
        "tp": (hour * 1e-5, {"units": "m"}),
    }
    if spacing == 0.1:
        fields["sde"] = (0.1 + hour / 1000.0, {"units": "m"})
    else:
        fields["sd"] = (0.1 + hour / 1000.0, {"units": "m of water equivalent"})
        fields["rsn"] = (200.0 + hour / 10.0, {"units": "kg m**-3"})
    return degrees(fields, HOURS, names, spacing)


def assert_reads_as(path: Path, data: xr.Dataset) -> None:
    """A file gives exactly what the same data give in one plain file."""
    plain = path.with_name("plain.nc")
    data.to_netcdf(plain)
    expected = read_weather(plain, AT, DATES)
    assert set(expected) == {"temperature", "precipitation", "snow_depth"}
    assert np.isfinite(expected["temperature"]).all()
    found = read_weather(path, AT, DATES)
    xr.testing.assert_identical(found, expected[list(found)])
    assert set(found) == set(expected)


# --- versions -----------------------------------------------------------------------------------


def layers(data: xr.Dataset, values: list[object], time: str) -> xr.Dataset:
    """Final values before ``PRELIMINARY`` and preliminary ones after it, in layers of expver."""
    final = data.where(data[time] < PRELIMINARY)
    early = data.where(data[time] >= PRELIMINARY)
    parts = dict(zip(sorted(values, key=str), (final, early), strict=True))
    return xr.concat([parts[each] for each in values], pd.Index(values, name="expver"))


@pytest.mark.parametrize("values", [[1, 5], [5, 1], ["0001", "0005"], ["0005", "0001"]])
@pytest.mark.parametrize("spacing", [0.1, 0.25])
@pytest.mark.parametrize("first", ["expver", "time"])
def test_layers_of_final_and_preliminary_values(
    tmp_path: Path, values: list[object], spacing: float, first: str
) -> None:
    data = era5(spacing, ("time", "latitude", "longitude"))
    joined = layers(data, values, "time").transpose(first, ...)
    joined.to_netcdf(tmp_path / "era5.nc")
    assert_reads_as(tmp_path / "era5.nc", data)


def test_final_values_take_precedence(tmp_path: Path) -> None:
    """The layer of 1 is taken where both have values; the first one without numbers."""
    data = era5()
    both = xr.concat([data + 5.0, data], pd.Index([5, 1], name="expver"), combine_attrs="drop")
    for name in data:
        both[name].attrs = data[name].attrs
    both.to_netcdf(tmp_path / "era5.nc")
    assert_reads_as(tmp_path / "era5.nc", data)
    both.isel(expver=[1, 0]).drop_vars("expver").to_netcdf(tmp_path / "era5.nc")
    assert_reads_as(tmp_path / "era5.nc", data)


def test_a_value_in_neither_layer_is_missing(tmp_path: Path) -> None:
    joined = layers(era5(), [1, 5], "valid_time")
    joined["t2m"][:, np.datetime64("2020-03-07T12") == HOURS] = np.nan
    joined.to_netcdf(tmp_path / "era5.nc")
    read = read_weather(tmp_path / "era5.nc", AT, DATES)
    known = np.isfinite(read["temperature"].values).all(axis=(1, 2))
    np.testing.assert_array_equal(known, [True, False])


@pytest.mark.parametrize("text", [str, np.bytes_])
def test_a_version_along_time(tmp_path: Path, text: type) -> None:
    """As in files of the Climate Data Store since 2024, with ``number`` as a scalar."""
    data = era5()
    version = np.where(PRELIMINARY > HOURS, "0001", "0005").astype(text)
    stored = data.assign_coords(expver=("valid_time", version), number=0)
    stored.to_netcdf(tmp_path / "era5.nc")
    assert_reads_as(tmp_path / "era5.nc", data)


def test_times_of_both_versions(tmp_path: Path) -> None:
    """A time that occurs in both versions is not refused; its final value is taken."""
    data = era5()
    later = data.isel(valid_time=slice(100, None))
    early = (later + 3.0).assign_coords(expver=("valid_time", ["0005"] * later.sizes["valid_time"]))
    early["t2m"].attrs = data["t2m"].attrs
    final = data.assign_coords(expver=("valid_time", ["0001"] * HOURS.size))
    both = xr.concat([early, final], "valid_time", combine_attrs="override")
    for name in data:
        both[name].attrs = data[name].attrs
    both.to_netcdf(tmp_path / "era5.nc")
    assert_reads_as(tmp_path / "era5.nc", data)
    twice = xr.concat([final, final], "valid_time")
    twice.to_netcdf(tmp_path / "twice.nc")
    with pytest.raises(SarcastError, match="has 264 of its 528 times more than once"):
        read_weather(tmp_path / "twice.nc", AT, DATES)


# --- zips ---------------------------------------------------------------------------------------


def pack(path: Path, files: dict[str, xr.Dataset | bytes]) -> Path:
    """Write datasets as NetCDF, and bytes as they are, into a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for number, (name, content) in enumerate(files.items()):
            if isinstance(content, xr.Dataset):
                file = path.with_name(f"member-{number}.nc")
                content.to_netcdf(file)
                packed.write(file, name)
            else:
                packed.writestr(name, content)
    return path


INSTANT = "data_stream-oper_stepType-instant.nc"
ACCUM = "data_stream-oper_stepType-accum.nc"


@pytest.mark.parametrize("name", ["era5.nc", "era5.zip", "a1b2c3"])
@pytest.mark.parametrize("spacing", [0.1, 0.25])
def test_a_zip_of_instants_and_amounts(
    tmp_path: Path, temporary: Path, name: str, spacing: float
) -> None:
    """Whatever its name; each file with its own ``number`` and ``expver``."""
    data = era5(spacing)
    version = np.where(PRELIMINARY > HOURS, "0001", "0005")
    amounts = data[["tp"]].assign_coords(expver=("valid_time", version), number=0)
    instants = data.drop_vars("tp").assign_coords(expver=("valid_time", version), number=1)
    pack(tmp_path / name, {INSTANT: instants, ACCUM: amounts})
    assert_reads_as(tmp_path / name, data)
    assert not list(temporary.iterdir())


def test_a_zip_of_one_file_a_variable(tmp_path: Path) -> None:
    """The density of snow lies in another file than its water; coordinates are rounded."""
    data = era5(0.25)
    rounded = data[["rsn"]].assign_coords(
        longitude=data["longitude"].astype("float32"), latitude=data["latitude"].astype("float32")
    )
    files = {f"{name}.nc": data[[name]] for name in ("tp", "t2m", "sd")}
    pack(tmp_path / "era5.zip", {"rsn.nc": rounded, **files})
    assert_reads_as(tmp_path / "era5.zip", data)


def test_a_zip_of_one_file_a_month(tmp_path: Path) -> None:
    """Also the day whose rain ends at 0 UTC of the next file is complete."""
    data = era5(0.25)
    halves = {
        "b.nc": data.isel(valid_time=slice(130, None)),
        "a.nc": data.isel(valid_time=slice(130)),
    }
    pack(tmp_path / "era5.zip", halves)
    assert_reads_as(tmp_path / "era5.zip", data)


def test_a_zip_of_layers(tmp_path: Path) -> None:
    data = era5()
    joined = layers(data, [1, 5], "valid_time")
    pack(tmp_path / "era5.zip", {INSTANT: joined[["t2m", "sde"]], ACCUM: joined[["tp"]]})
    assert_reads_as(tmp_path / "era5.zip", data)


def test_a_zip_of_two_grids(tmp_path: Path) -> None:
    """Each grid is a source of its own."""
    land, coarse = era5(), era5(0.25)
    coarse["t2m"] += 1.0
    files = {"era5.nc": coarse[["t2m", "tp"]], "land.nc": land[["sde"]]}
    pack(tmp_path / "both.zip", files)
    read = read_weather(tmp_path / "both.zip", AT, DATES)
    plain = []
    for name, data in files.items():
        data.to_netcdf(tmp_path / name)
        plain.append(tmp_path / name)
    xr.testing.assert_identical(read, read_weather(plain, AT, DATES))


def test_what_is_no_weather_in_a_zip_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = era5()
    waves = degrees({"swh": (np.ones(HOURS.size), {"units": "m"})}, HOURS, CDS, spacing=0.5)
    orography = data[["t2m"]].rename(t2m="z").isel(valid_time=[0])
    files = {"waves.nc": waves, "z.nc": orography, "readme.txt": b"Licence", "all.nc": data}
    pack(tmp_path / "era5.zip", files)
    with caplog.at_level(logging.WARNING):
        assert_reads_as(tmp_path / "era5.zip", data)
    assert "left out: readme.txt" in caplog.text
    for name in ("waves.nc", "z.nc"):
        assert f"({name}) contains no known weather variable, left out" in caplog.text


def test_no_path_in_a_zip_leads_elsewhere(tmp_path: Path, temporary: Path) -> None:
    data = era5()
    outside = tmp_path / "outside.nc"
    files = {"../../outside.nc": data[["t2m"]], str(outside): data[["tp"]], "a/b/c": data[["sde"]]}
    pack(tmp_path / "era5.zip", files)
    assert_reads_as(tmp_path / "era5.zip", data)
    assert not outside.exists()
    assert not list(temporary.iterdir())


def encrypted(path: Path) -> None:
    pack(path, {"t2m.nc": era5()[["t2m"]]})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption
    content[6] |= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    pack(path, {"t2m.nc": era5()[["t2m"]]})
    path.write_bytes(path.read_bytes()[:-2000])


def garbled(path: Path) -> None:
    pack(path, {"t2m.nc": era5()[["t2m"]]})
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (encrypted, "is an encrypted zip; unzip it"),
        (truncated, "is a damaged zip, fetch it again"),
        (garbled, "is a damaged zip, fetch it again"),
        (lambda p: pack(p, {}), "is a zip without NetCDF files: it contains nothing"),
        (lambda p: pack(p, {"a.grib": b"GRIB"}), r"without NetCDF files: it contains a\.grib; "),
        (lambda p: pack(p, {"a.nc": b"CDF\x01"}), r"zip \(a\.nc\) cannot be read as NetCDF"),
        (lambda p: pack(p, {"a.nc": xr.Dataset({"wind": ("x", [1.0])})}), "no known weather"),
    ],
)
def test_zips_that_cannot_be_read(
    tmp_path: Path, temporary: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "era5.zip")
    with pytest.raises(SarcastError, match=message) as error:
        read_weather(tmp_path / "era5.zip", AT, DATES)
    assert "\n" not in str(error.value)
    assert not list(temporary.iterdir())


def test_zips_that_expand_too_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    pack(tmp_path / "era5.zip", {"a.nc": b"CDF\x01" + bytes(10**7)})
    monkeypatch.setattr(containers, "_LARGE", 10**6)
    with pytest.raises(SarcastError, match=r"expands to .* times its size"):
        read_weather(tmp_path / "era5.zip", AT, DATES)
    monkeypatch.setattr(containers, "_LARGE", 2**30)
    disk = type("Usage", (), {"free": 10**6})
    monkeypatch.setattr(containers.shutil, "disk_usage", lambda _: disk)
    with pytest.raises(SarcastError, match="GiB free; unzip it on another disk"):
        read_weather(tmp_path / "era5.zip", AT, DATES)
    pack(tmp_path / "many.zip", {f"{n}.nc": b"CDF\x01" for n in range(containers.MOST_MEMBERS + 1)})
    with pytest.raises(SarcastError, match="contains 1001 files, expected at most 1000"):
        read_weather(tmp_path / "many.zip", AT, DATES)
    assert not list(temporary.iterdir())
