"""The bands of a cube: those that it has, and those that hold any data."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import SarcastError
from sarcast.sensor.polarisations import PAIRS

if TYPE_CHECKING:
    import xarray as xr


def bands_of(cube: "xr.Dataset") -> tuple[str, ...]:
    """Give the bands of a cube that hold data on any date, co-polarised first.

    A cube of VV alone has the band VH without data.

    Raises
    ------
    SarcastError
        If it has no band that is a polarisation of Sentinel-1, those of two kinds, or no data.
    """
    if "band" in cube and "band" not in cube.dims:
        raise SarcastError(
            "the cube has no dimension band; select bands as a list, as cube.sel(band=['VV'])"
        )
    names = [str(band) for band in cube["band"].values] if "band" in cube else []
    return bands_with_data(names, partial(_has_data, cube))


def bands_with_data(names: Sequence[str], has_data: Callable[[str], bool]) -> tuple[str, ...]:
    """As ``bands_of``, of bands of which ``has_data`` says whether they hold any."""
    known = [tuple(band for band in pair if band in names) for pair in PAIRS]
    found = [bands for bands in known if bands]
    if len(found) != 1:
        raise SarcastError(
            f"the cube has the bands {', '.join(names) or 'none'}, but expected were VV, VH or "
            f"both, or HH, HV or both; build it from such scenes"
        )
    if len(found[0]) == 1:
        return found[0]
    present = tuple(band for band in found[0] if has_data(band))
    return present or found[0]


def _has_data(cube: "xr.Dataset", band: str) -> bool:
    """Whether a band holds data on any date; by the counts of a built cube, or by its images."""
    if "seen" in cube:
        return bool((cube["seen"].sel(band=band) > 0).any())
    images = cube["backscatter"].sel(band=band)
    return any(np.isfinite(images.isel(time=k).values).any() for k in range(images.sizes["time"]))


def join_names(bands: Sequence[str]) -> str:
    """Join the names of bands, as ``VV and VH``."""
    return " and ".join(bands)
