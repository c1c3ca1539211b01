"""NetCDF and Zarr opened by the CF conventions, also where their attributes deviate from them."""

import io
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.errors import SarcastError, first_line
from sarcast.io.hdf5 import check_heaps

MOST_COORDINATE_BYTES = 2**28
"""Largest coordinates of a file together; a century of hours has 7 MB."""
MOST_CHUNK_BYTES = 2**29
"""Largest chunk, all of which is decoded to read one value of it."""
_LONGEST_UNIT = 60
_STEEP = re.compile(r"(\*\*|\^)[-+\s\d.(]*(\d{3,}|(\*\*|\^))|\)\s*(\*\*|\^)")
"""Powers of three digits, of powers or of brackets: they are in no unit, and take for ever."""


def open_cf(source: str, called: str = "") -> xr.Dataset:
    """Open a NetCDF file or a Zarr store lazily, with grid mappings as coordinates.

    Parameters
    ----------
    source
        Path or URL.
    called
        Name in error messages, if another than ``source``.

    Raises
    ------
    SarcastError
        If it does not exist or cannot be read.
    """
    if "://" not in source and not Path(source).exists():
        raise SarcastError(f"{source} does not exist; name a NetCDF file or a Zarr store")
    if Path(source).is_file() and not Path(source).stat().st_size:
        raise SarcastError(f"{source} is empty; fetch it again")
    zarr = source.rstrip("/").endswith(".zarr") or Path(source).is_dir()
    options: dict[str, Any] = {"engine": "zarr"} if zarr else {}
    try:
        if not zarr:
            _check_hdf5(source)
        # decode_coords="all" fails on attributes such as bounds that refer to no variable
        opened = xr.open_dataset(source, create_default_indexes=False, **options)
    except Exception as error:  # engines raise many kinds
        reason = first_line(error)
        if "IO backends" in reason:
            reason = _other_format(source)
        kind = "Zarr" if zarr else "NetCDF"
        raise SarcastError(f"{called or source} cannot be read as {kind}: {reason}") from error
    try:
        data = _with_coordinates(opened, called or source)
    except BaseException:
        opened.close()
        raise
    data.set_close(opened.close)
    grid_mappings = {str(v.attrs.get("grid_mapping", "")) for v in data.data_vars.values()}
    with_coordinates = data.set_coords([name for name in grid_mappings if name in data])
    with_coordinates.set_close(data.close)
    return with_coordinates


def _check_hdf5(source: str) -> None:
    """Visit all that an HDF5 file lists: h5netcdf prints a traceback where this raises an error."""
    path = Path(source)
    if not (path.is_file() and h5py.is_hdf5(path)):
        return
    check_heaps(path)
    with h5py.File(path) as file:
        file.visititems(lambda _, item: len(list(item.attrs.items())))
        list(file.attrs.items())


def _with_coordinates(data: xr.Dataset, source: str) -> xr.Dataset:
    """The dataset with its coordinates loaded and indexed, after a check of their size."""
    small = {name: each for name, each in data.variables.items() if each.ndim < 2}
    small |= {name: each.variable for name, each in data.coords.items()}
    size = sum(each.nbytes for each in small.values())
    if size > MOST_COORDINATE_BYTES:
        raise SarcastError(
            f"{source} states coordinates of {size / 2**30:.3g} GiB, expected at most "
            f"{MOST_COORDINATE_BYTES / 2**30:.3g}; fetch it again, or cut it"
        )
    for name, each in data.data_vars.items():
        chunk = math.prod(each.encoding.get("chunksizes") or ()) * each.dtype.itemsize
        if chunk > MOST_CHUNK_BYTES:
            raise SarcastError(
                f"{name} in {source} is stored in chunks of {chunk / 2**30:.3g} GiB, expected at "
                f"most {MOST_CHUNK_BYTES / 2**30:.3g}; write it in smaller ones (nccopy -c)"
            )
    try:
        dims = {name: data.variables[name] for name in data.dims if name in data.variables}
        loaded = data.assign_coords(dims)
        for name in small:
            loaded[name].load()
    except Exception as error:
        raise damaged(source, error) from error
    return loaded


def load(field: xr.DataArray, source: str) -> npt.NDArray[np.generic]:
    """Values of a field.

    Raises
    ------
    SarcastError
        If they cannot be read.
    """
    try:
        values: npt.NDArray[np.generic] = field.values
    except Exception as error:  # engines and their filters raise many kinds
        raise damaged(f"{field.name} in {source}", error) from error
    return values


def damaged(source: str, error: Exception) -> SarcastError:
    """The error for content that cannot be read, although the file was opened."""
    return SarcastError(f"{source} cannot be read, fetch it again ({first_line(error)})")


def _other_format(source: str) -> str:
    """What a file is that is no NetCDF, by its first bytes, and what to do."""
    path = Path(source)
    with path.open("rb") if path.is_file() else io.BytesIO() as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"grib"):
        return "it is GRIB; request NetCDF, or convert it (grib_to_netcdf, cdo -f nc copy)"
    if start.startswith((b"<html", b"<!doctype", b"<?xml")):
        return "it is a web page, such as that of a login; fetch it again"
    return "its format is not recognised; request NetCDF"


@cache
def registry() -> Any:
    """Pint registry of CF units."""
    from cf_xarray.units import units  # slow to load

    return units


def parse_unit(text: str, source: str) -> Any:
    """Parse a CF unit.

    Parameters
    ----------
    text
        The unit, as ``mm day-1``.
    source
        What is in this unit, for the error message.

    Raises
    ------
    SarcastError
        If it is not a CF unit.
    """
    try:
        if len(text) > _LONGEST_UNIT or _STEEP.search(text):
            raise ValueError("no unit is so long, or has such powers")
        return registry().Unit(text)
    except Exception as error:  # pint raises many kinds of exceptions for invalid units
        raise SarcastError(f"{source} is in {text!r}, which is not a CF unit") from error


def convert(quantity: Any, target: str, source: str) -> Any:
    """Convert a pint quantity to another unit and return its values.

    Raises
    ------
    SarcastError
        If the units are incompatible.
    """
    from pint import DimensionalityError

    try:
        return quantity.to(target).magnitude
    except DimensionalityError as error:
        raise SarcastError(
            f"{source} is in {quantity.units}, which cannot be converted to {target}"
        ) from error
