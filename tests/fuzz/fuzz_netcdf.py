"""Mutated weather in NetCDF: bytes of HDF5 and classic files, and files of odd content."""

from pathlib import Path

import cf_xarray.units  # noqa: F401 - takes seconds, so it is imported before workers are forked
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.ingest.weather import read_weather
from sarcast.io.grid import conditions_grid

from .harness import Call, Kind
from .mutate import NASTY_NUMBERS, NASTY_TEXT, Rng, mutate_bytes
from .seeds import GRID

AT: GeoBox = conditions_grid(GRID)
DATES = [np.datetime64("2020-03-05T15:40"), np.datetime64("2020-03-07T05:11")]
DAYS = np.arange("2020-03-01", "2020-03-09", dtype="datetime64[D]")


def dataset() -> xr.Dataset:
    """Weather of eight days on a grid of 3 by 4 cells around the small scenes."""
    shape = (len(DAYS), 3, 4)
    variables = {
        "temperature": (("time", "lat", "lon"), np.full(shape, 5.0, "f4"), {"units": "degC"}),
        "precipitation": (("time", "lat", "lon"), np.ones(shape, "f4"), {"units": "mm day-1"}),
        "snow_depth": (("time", "lat", "lon"), np.full(shape, 12.0, "f4"), {"units": "cm"}),
    }
    coords = {
        "time": DAYS.astype("datetime64[ns]"),
        "lat": ("lat", 62.3 - 0.1 * np.arange(3), {"units": "degrees_north"}),
        "lon": ("lon", 26.9 + 0.1 * np.arange(4), {"units": "degrees_east"}),
    }
    return xr.Dataset(variables, coords)


class NetCdf(Kind):
    """One file of weather."""

    name = "netcdf"

    def prepare(self) -> None:
        dataset().to_netcdf(self.seeds / "hdf5.nc", engine="h5netcdf")
        dataset().to_netcdf(self.seeds / "classic.nc", engine="scipy")
        packed = {name: {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -9999, "zlib": True}
                  for name in dataset().data_vars}  # fmt: skip
        dataset().to_netcdf(self.seeds / "packed.nc", engine="h5netcdf", encoding=packed)

    def case(self, folder: Path, rng: Rng) -> Call:
        path = folder / "weather.nc"
        if rng.integers(4) == 0:
            write_odd(path, rng)
        else:
            source = ("hdf5.nc", "classic.nc", "packed.nc")[rng.integers(3)]
            path.write_bytes(mutate_bytes((self.seeds / source).read_bytes(), rng))
        return lambda: read_weather("weather.nc", AT, DATES)


def write_odd(path: Path, rng: Rng) -> None:
    """Write a file with other dims, attributes or values; one that cannot be written as planned
    is written unchanged."""
    data = dataset()
    try:
        for _ in range(int(rng.integers(1, 3))):
            data = _changed(data, rng)
        data.to_netcdf(path, engine="h5netcdf" if rng.integers(2) else "scipy")
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError, RuntimeError):
        path.unlink(missing_ok=True)
        dataset().to_netcdf(path, engine="scipy")


def _changed(data: xr.Dataset, rng: Rng) -> xr.Dataset:
    names = [str(name) for name in data.variables]
    name, kind = names[rng.integers(len(names))], int(rng.integers(8))
    text = NASTY_TEXT[rng.integers(len(NASTY_TEXT))]
    number = NASTY_NUMBERS[rng.integers(len(NASTY_NUMBERS))]
    if kind == 0:
        return data.drop_vars(name)
    if kind == 1:
        sizes = [str(dim) for dim in data.sizes]
        part = (slice(0, 0), slice(0, 1), slice(None, None, -1))[rng.integers(3)]
        return data.isel({sizes[rng.integers(len(sizes))]: part}) if sizes else data
    if kind == 2:
        keys = ("units", "scale_factor", "add_offset", "_FillValue", "calendar", "grid_mapping",
                "standard_name", "missing_value", "cell_methods", "dtype")  # fmt: skip
        value = text if rng.integers(2) else number
        changed = data.copy()
        changed[name].attrs[keys[rng.integers(len(keys))]] = value
        return changed
    if kind == 3:
        return data.rename(
            {name: ("t2m", "tp", "sd", "x", "valid_time", text[:40])[rng.integers(6)]}
        )
    if kind == 4:
        return data.assign({name: (data[name].dims, np.full(data[name].shape, text[:40]))})
    if kind == 5 and isinstance(number, float):
        return data.assign({name: (data[name].dims, np.full(data[name].shape, number))})
    if kind == 6:
        return data.assign({name: ((), 1.0)})
    return xr.concat([data, data], "time") if "time" in data.sizes else data
