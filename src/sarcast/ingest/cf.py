"""NetCDF and Zarr opened by the CF conventions, also where their attributes stray from them."""

from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from sarcast.errors import SarcastError


def open_cf(place: str) -> xr.Dataset:
    """Open a NetCDF file or a Zarr store, lazily, with grid mappings as coordinates.

    Raises
    ------
    SarcastError
        If it is not there, or cannot be read.
    """
    if "://" not in place and not Path(place).exists():
        raise SarcastError(f"{place} does not exist; name a NetCDF file or a Zarr store")
    if Path(place).is_file() and not Path(place).stat().st_size:
        raise SarcastError(f"{place} is empty; fetch it again")
    zarr = place.rstrip("/").endswith(".zarr") or Path(place).is_dir()
    more: dict[str, Any] = {"engine": "zarr"} if zarr else {}
    try:
        # decode_coords="all" stumbles over attributes such as bounds that name no variable
        data = xr.open_dataset(place, **more)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if "IO backends" in first:
            first = "it is in no format that is known"
        kind = "Zarr" if zarr else "NetCDF"
        raise SarcastError(f"{place} cannot be read as {kind}: {first}") from error
    told = [str(v.attrs.get("grid_mapping", "")) for v in data.data_vars.values()]
    placed = data.set_coords([name for name in set(told) if name in data])
    placed.set_close(data.close)
    return placed


@cache
def registry() -> Any:
    """CF units, as pint's registry."""
    from cf_xarray.units import units  # slow to load

    return units


def unit(word: str, place: str) -> Any:
    """Read a CF unit.

    Raises
    ------
    SarcastError
        If it is none.
    """
    try:
        return registry().Unit(word)
    except Exception as error:  # pint fails in many ways at words that are no units
        raise SarcastError(f"{place} is in {word!r}, which is no unit of CF") from error


def convert(quantity: Any, target: str, place: str) -> Any:
    """Values of a quantity in another unit.

    Raises
    ------
    SarcastError
        If they are those of something else.
    """
    from pint import DimensionalityError

    try:
        return quantity.to(target).magnitude
    except DimensionalityError as error:
        raise SarcastError(
            f"{place} is in {quantity.units}, which cannot be converted to {target}"
        ) from error
