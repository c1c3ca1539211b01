"""NetCDF and Zarr opened by the CF conventions, also where their attributes deviate from them."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from sarcast.errors import SarcastError


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
        # decode_coords="all" fails on attributes such as bounds that refer to no variable
        data = xr.open_dataset(source, **options)
    except (OSError, ValueError, LookupError, TypeError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "IO backends" in reason:
            reason = _other_format(source)
        kind = "Zarr" if zarr else "NetCDF"
        raise SarcastError(f"{called or source} cannot be read as {kind}: {reason}") from error
    grid_mappings = {str(v.attrs.get("grid_mapping", "")) for v in data.data_vars.values()}
    with_coordinates = data.set_coords([name for name in grid_mappings if name in data])
    with_coordinates.set_close(data.close)
    return with_coordinates


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
