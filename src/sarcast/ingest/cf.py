"""NetCDF and Zarr opened by the CF conventions, also where their attributes stray from them."""

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
    zarr = place.rstrip("/").endswith(".zarr") or Path(place).is_dir()
    more: dict[str, Any] = {"engine": "zarr"} if zarr else {}
    try:
        try:
            return xr.open_dataset(place, decode_coords="all", **more)
        except AttributeError:  # an attribute such as bounds that holds no names
            return xr.open_dataset(place, **more)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        kind = "Zarr" if zarr else "NetCDF"
        raise SarcastError(f"{place} cannot be read as {kind}: {first}") from error
